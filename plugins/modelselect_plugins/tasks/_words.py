"""How words of sentences are read from text models: the features of a word are those of its first token."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from modelselect.candidates.backbone import Backbone, Outputs, Together
from modelselect.candidates.preprocessing import PADDING, TextPreprocessing
from modelselect.errors import CandidateError
from modelselect.utils.words import Sentence, Word
from modelselect.verification.parts import PartLogits

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class WordPreprocessing:
    """Token ids of a sentence, and the places of its words' first tokens; of a `Word` only its own place.

    Attributes:
        text: of the model.
    """

    text: TextPreprocessing

    @property
    def length(self) -> int:
        """Of every row, in tokens."""
        return self.text.length

    @property
    def key(self) -> str:
        return f"words:{self.text.key}"

    def prepare(self, item: Any) -> torch.Tensor:
        """(2, length) int32: token ids, and the places of first tokens; both end with `PADDING`.

        Of a sentence that is too long for the model, a `Word` at the end is read without the words at the beginning. In
        a `Sentence`, the words at the end have the place of the last token.
        """
        import torch

        assert self.text.encode_words is not None
        if not isinstance(item, Word | Sentence):
            raise CandidateError(f"the task needs sentences as words, but the probe's rows are {type(item).__name__}")
        words = item.words
        ids, places = self.text.encode_words(words)
        if isinstance(item, Word):
            at = item.place
            while places[at] is None and at:
                skipped = (at + 1) // 2
                words, at = words[skipped:], at - skipped
                ids, places = self.text.encode_words(words)
            places = [places[at] or 0]
        row = torch.full((2, self.length), PADDING, dtype=torch.int32)
        found = [len(ids) - 1 if place is None else place for place in places[: self.length]]
        row[0, : len(ids)] = torch.tensor(ids, dtype=torch.int32)
        row[1, : len(found)] = torch.tensor(found, dtype=torch.int32)
        return row

    def finish(self, batch: torch.Tensor) -> torch.Tensor:
        """(B, 2, length) int32 -> (B, 2, longest sentence) int64."""
        longest = int((batch != PADDING).sum(2).max())
        return batch[:, :, :longest].long()


@dataclass(frozen=True)
class AtWords:
    """The features of words: of one word of each row, (B, D), or of all, (B, W, D) with zeros after the last one.

    A sentence is read once, even if several rows of a batch are words of it.

    Attributes:
        read: gives the features of each token.
        one: whether each row is one word.
    """

    read: Any
    one: bool = True

    @property
    def pooling(self) -> str:
        """That of the reader of tokens."""
        return str(self.read.pooling)

    def __call__(self, module: Any, batch: torch.Tensor) -> Outputs:
        import torch

        ids, places = batch[:, 0], batch[:, 1]
        if self.one:
            sentences, row = torch.unique(ids, dim=0, return_inverse=True)
            return Outputs(self.read(module, sentences).features[row, places[:, 0]], None)
        tokens = self.read(module, ids).features
        places = places[:, : int((places != PADDING).sum(1).max())]
        rows = torch.arange(len(places), device=places.device)[:, None]
        found = tokens[rows, places.clamp(min=0)]
        return Outputs(found * (places != PADDING)[..., None].to(found.dtype), None)


def at_words(backbone: Backbone, *, one: bool) -> Backbone:
    """The backbone, read at words.

    Raises:
        CandidateError: it gives no features of tokens.
    """
    preprocessing = backbone.preprocessing
    if isinstance(preprocessing, WordPreprocessing):
        if isinstance(backbone.read, PartLogits):
            raise CandidateError("the candidate was fine-tuned for words already. Give the model that it comes from")
        return replace(backbone, read=_told(backbone.read, one))
    if not isinstance(preprocessing, TextPreprocessing) or preprocessing.encode_words is None:
        raise CandidateError(
            "the task needs the features of each word, and the candidate takes no sentences as words. Text models of "
            "transformers (hub:, dir:) do"
        )
    preprocessing.encode_words(("a", "word"))  # raises if the tokenizer cannot
    together = backbone.together
    return replace(
        backbone,
        preprocessing=WordPreprocessing(preprocessing),
        read=_at(backbone.read, one),
        together=None if together is None else _Together(together),
    )


@dataclass(frozen=True)
class _Together:
    """Layers of one model in one pass, read at words."""

    given: Any

    def __call__(self) -> Together:
        found: Together = self.given()
        parts: Sequence[Backbone] = found.parts
        return Together(at_words(replace(found.backbone, together=None), one=True), _at(found.read, True), tuple(parts))


def _at(read: Any, one: bool) -> Any:
    """The reader that reads words where the given one pools tokens; also inside a reader of layers."""
    if hasattr(read, "each_token"):
        return AtWords(read.each_token(), one)
    if dataclasses.is_dataclass(read) and hasattr(read, "read"):
        return dataclasses.replace(read, read=_at(read.read, one))  # type: ignore[type-var]
    raise CandidateError("the task needs the features of each word, and the candidate gives those of whole texts alone")


def _told(read: Any, one: bool) -> Any:
    """The reader of words, told whether each row is one word."""
    if isinstance(read, AtWords):
        return replace(read, one=one)
    return dataclasses.replace(read, read=_told(read.read, one))
