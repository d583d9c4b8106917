"""Token classification: a tag for each word of a sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import modelselect
from modelselect.candidates.backbone import Backbone
from modelselect.probe.probe import Probe
from modelselect.tasks import CountedMeasure, CountedMetric, Task
from modelselect.utils.target_kinds import WORD
from modelselect_plugins.tasks._parts import PART_ACCURACY, Guess, PartCrossEntropy, PartTask
from modelselect_plugins.tasks._words import at_words

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]

_OUTSIDE, _INSIDE, _BEGIN, _END, _SINGLE = range(5)
_PREFIXES = {"B": _BEGIN, "I": _INSIDE, "E": _END, "L": _END, "S": _SINGLE, "U": _SINGLE}
_REGULAR = re.compile(r"(?P<prefix>[BIESLU])-(?P<type>.+)")


@dataclass(frozen=True)
class Spans:
    """Counts the spans of tags in sentences, as seqeval does in its default mode.

    Tags are those of IOB1, IOB2, IOBES or BILOU where each but `O` has such a prefix. Other tags are plain: words next
    to each other with the same tag are a span, and `O` is none.

    Attributes:
        names: of the tags 0, 1, ...; empty: each number is a plain tag.
    """

    names: tuple[str, ...] = ()

    @cached_property
    def _parts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The prefix and the type of each tag; the last entry is for no tag."""
        found = [_REGULAR.fullmatch(name) for name in self.names]
        if not all(match or name == "O" for match, name in zip(found, self.names, strict=True)):
            found = [_REGULAR.fullmatch(f"I-{name}") for name in self.names]
        types = sorted({match["type"] for match in found if match is not None})
        outside = [match is None or name == "O" for match, name in zip(found, self.names, strict=True)]
        prefixes = [
            _OUTSIDE if out or match is None else _PREFIXES[match["prefix"]]
            for match, out in zip(found, outside, strict=True)
        ]
        kinds = [
            -1 if out or match is None else types.index(match["type"])
            for match, out in zip(found, outside, strict=True)
        ]
        return np.array([*prefixes, _OUTSIDE]), np.array([*kinds, -1])

    def __call__(self, targets: Array, predictions: Array) -> Array:
        """(N, 3) for each sentence: right spans, predicted spans, spans that are there.

        Args:
            targets: (N, W) tags; -1 for words that do not count, which are left out of their sentences.
            predictions: (N, W) tags; -1 for none.
        """
        counts = targets >= 0
        sentence = np.nonzero(counts)[0]
        there, said = (self.spans(tags[counts], sentence) for tags in (targets, predictions))
        words, kinds = len(sentence), 1 + max(int(spans[:, 2].max(initial=0)) for spans in (there, said))
        own, found = ((spans[:, 0] * words + spans[:, 1]) * kinds + spans[:, 2] for spans in (there, said))
        both = there[np.isin(own, found)]
        made = [np.bincount(sentence[spans[:, 0]], minlength=len(targets)) for spans in (both, said, there)]
        return np.stack(made, axis=1)

    def spans(self, tags: Array, sentence: Array) -> NDArray[np.int64]:
        """(S, 3) the first word, the last word and the type of each span.

        Args:
            tags: (M,) of words, sentence after sentence.
            sentence: (M,) the sentence of each word.
        """
        if not self.names:
            prefix, kind = np.where(tags < 0, _OUTSIDE, _INSIDE), tags
        else:
            prefix, kind = (part[tags] for part in self._parts)
        ends = np.append(sentence[1:] != sentence[:-1], True)
        after = np.where(ends, _OUTSIDE, np.append(prefix[1:], _OUTSIDE))
        kind_after = np.where(ends, -1, np.append(kind[1:], -1))
        before = np.append(_OUTSIDE, np.where(ends, _OUTSIDE, prefix)[:-1])
        kind_before = np.append(-1, np.where(ends, -1, kind)[:-1])
        is_in = prefix != _OUTSIDE
        closed = (before == _END) | (before == _SINGLE) | (before == _OUTSIDE)
        begins = is_in & ((prefix == _BEGIN) | (prefix == _SINGLE) | closed | (kind_before != kind))
        stops = (after == _BEGIN) | (after == _SINGLE) | (after == _OUTSIDE) | (kind_after != kind)
        last = is_in & ((prefix == _END) | (prefix == _SINGLE) | stops)
        first = np.maximum.accumulate(np.where(begins, np.arange(len(tags)), 0))
        return np.stack([first[last], np.flatnonzero(last), kind[last]], axis=1)


def f1_of(sums: Array) -> float:
    """F1 from right, predicted and present spans; 0 where there are none."""
    right, said, there = sums.tolist()
    return 2 * right / (said + there) if said + there else 0.0


def span_f1(names: tuple[str, ...] = ()) -> CountedMetric:
    """The F1 of spans over all sentences (micro average), equal to seqeval's.

    Args:
        names: of the tags.
    """
    measure = CountedMeasure(Spans(names), f1_of)
    return CountedMetric("span_f1", "span F1", measure, guessing=Guess(measure))


class WordCrossEntropy(PartCrossEntropy):
    """Softmax cross-entropy of the words of a sentence."""

    def aligned(self, outputs: torch.Tensor, targets: torch.Tensor) -> tuple[Any, Any]:
        """The words that have both: sentences may be cut, and those of a batch are filled up to the longest."""
        words = min(outputs.shape[1], targets.shape[1])
        return outputs[:, :words], targets[:, :words]


class TokenClassification(PartTask):
    """A tag for each word of a sentence. A row is a word, and its features are those of its first token.

    Sentences come as lists of words with lists of tags, as columns of a table, or as CoNLL files. All words of a
    sentence are on one side: of the probe, or held out. Fine-tuning trains a linear head at each word, and is judged by
    the F1 of spans.

    Args:
        names: of the tags, which say where spans begin.
    """

    name = "token-classification"
    summary = "A tag for each word of a sentence."
    targets = ("classes",)
    unit = WORD
    modality = "text"
    objective = WordCrossEntropy()

    def __init__(self, names: tuple[str, ...] = ()) -> None:
        self.names = names
        self.metrics = (span_f1(names), PART_ACCURACY)

    @property
    def rows(self) -> str:
        return "sentences as lists of words, with a list of tags for each"

    def of_rows(self, probe: Probe) -> Task:
        super().of_rows(probe)
        return TokenClassification(probe.class_names)

    def reading(self, backbone: Backbone) -> Backbone:
        return at_words(backbone, one=True)

    def training(self, backbone: Backbone) -> Backbone:
        return at_words(backbone, one=False)

    def decoded(self, outputs: Array, targets: Array) -> Array:
        found = np.full(targets.shape, -1)
        words = min(outputs.shape[1], targets.shape[1])
        found[:, :words] = outputs[:, :words].argmax(-1)  # beyond the length of the model there is nothing
        return found


@modelselect.hookimpl
def modelselect_register_tasks() -> Sequence[Task]:
    return [TokenClassification()]
