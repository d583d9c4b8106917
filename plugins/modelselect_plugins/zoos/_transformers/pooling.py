"""Features of texts: the last layer pooled over the tokens of each text, or the input of the classifier.

The pooler of a checkpoint (`pooler_output`) is never read, since it may have no trained weights; only SigLIP's has.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelselect.candidates.backbone import Outputs, Reader
from modelselect.candidates.inspection import reader_for_module
from modelselect.candidates.preprocessing import PADDING, TextPreprocessing
from modelselect.candidates.readers import HeadInput
from modelselect.errors import CandidateError
from modelselect_plugins.zoos._support import one_line, required
from modelselect_plugins.zoos._transformers.texts import (
    POOLINGS,
    TEXT_TOWERS,
    TextSettings,
    is_classifier,
    stated_pooling,
    tells_classes_apart,
)
from modelselect_plugins.zoos._transformers.tokenizing import EXAMPLES, SEGMENT

if TYPE_CHECKING:
    import torch

LEAST_TOKENS = 1024
"""Number of tokens in a group before a new group for shorter texts may begin: fewer would leave the device idle."""

LEAST_SHARE = 0.8
"""Minimum length of texts in a group of `LEAST_TOKENS`, relative to the longest."""

_TRAINED_POOLERS = frozenset({"siglip_text_model", "siglip2_text_model"})


def reader(module: Any, prepared: TextPreprocessing, path: Path, settings: TextSettings) -> Reader:
    """How to read features from a ready module, and logits if it has a trained classifier of several classes.

    Raises:
        CandidateError: the pooling does not fit the model, the forward pass fails, or the model reads padding.
    """
    import torch

    configuration = module.config
    classifier = is_classifier(configuration) and not configuration.is_encoder_decoder
    has_logits = classifier and tells_classes_apart(configuration.num_labels, configuration.problem_type)
    padding_id = configuration.pad_token_id
    rows = torch.stack([prepared.prepare(text) for text in EXAMPLES])
    batch = prepared.finish(rows)
    try:
        head = None
        if classifier:
            located = reader_for_module(module, arguments(batch, padding_id))
            head = located.head if isinstance(located, HeadInput) else None
        pooling = settings.pooling or stated_pooling(path) or _usual_pooling(configuration, head)
        _check_pooling(pooling, head, prepared, configuration)
        found = PooledTokens(pooling, padding_id, token_types(module), head, has_logits)
        with torch.no_grad():
            padded, alone = found(module, batch), found(module, prepared.finish(rows[:1]))
        _check_padding(padded, alone)
    except CandidateError:
        raise
    except Exception as error:
        raise CandidateError(f"the model cannot be read as a text encoder with features ({one_line(error)})") from error
    return found


@dataclass(frozen=True)
class PooledTokens:
    """Features pooled over each text's own tokens; texts of similar length are batched together, for little padding.

    Attributes:
        pooling: one of `POOLINGS`.
        padding_id: fills the rest of a row after the end of a text.
        types: number of token types that the module knows; see `arguments`.
        head: name of the classifier's submodule; None without one.
        has_logits: True if the module's output has logits of source classes.
    """

    pooling: str
    padding_id: int
    types: int = 0
    head: str | None = None
    has_logits: bool = False

    def __call__(self, module: Any, batch: torch.Tensor) -> Outputs:
        import torch

        lengths = (batch != PADDING).sum(1).tolist()
        groups = list(of_like_length(lengths))
        parts = [self._read(module, batch[group, : lengths[group[0]]]) for group in groups]
        places = torch.tensor([row for group in groups for row in group], device=batch.device).argsort()
        logits = [part.logits for part in parts if part.logits is not None]
        return Outputs(
            torch.cat([part.features for part in parts])[places], torch.cat(logits)[places] if logits else None
        )

    def each_token(self) -> EachToken:
        """The reader of all tokens, where this one pools them."""
        return EachToken(self.padding_id, self.pooling)

    def _read(self, module: Any, batch: torch.Tensor) -> Outputs:
        named = arguments(batch, self.padding_id, self.types)
        if self.pooling == "head":
            assert self.head is not None
            return HeadInput(self.head, self.has_logits)(module, named)
        if self.pooling == "pooler":
            return Outputs(_trained_pooler(module, named["input_ids"]), None)
        seen: list[Any] = []
        handle = module.base_model.register_forward_hook(lambda _module, _arguments, output: seen.append(output))
        try:
            output = module(**named, output_hidden_states=self.pooling == "layer-mean")
        finally:
            handle.remove()
        encoded = seen[-1] if seen else output  # without a head, the model itself is the base, and its hook may not run
        return Outputs(
            _pooled(encoded, named["attention_mask"], self.pooling), output.logits if self.has_logits else None
        )


@dataclass(frozen=True)
class EachToken:
    """The last layer at each token, not pooled: features (B, T, D), which mean nothing at padding.

    Attributes:
        padding_id: fills the rest of a row after the end of a text.
        pooling: of the reader that this one stands for.
    """

    padding_id: int
    pooling: str = "mean"

    def __call__(self, module: Any, batch: torch.Tensor) -> Outputs:
        lengths = (batch != PADDING).sum(1).tolist()
        found: torch.Tensor | None = None
        for group in of_like_length(lengths):
            longest = lengths[group[0]]
            hidden = self._hidden(module, batch[group, :longest])
            if found is None:
                found = hidden.new_zeros((*batch.shape, hidden.shape[-1]))
            found[group, :longest] = hidden
        assert found is not None
        return Outputs(found, None)

    def _hidden(self, module: Any, batch: torch.Tensor) -> torch.Tensor:
        seen: list[Any] = []
        handle = module.base_model.register_forward_hook(lambda _module, _arguments, output: seen.append(output))
        try:
            output = module(**arguments(batch, self.padding_id))
        finally:
            handle.remove()
        hidden: torch.Tensor = (seen[-1] if seen else output).last_hidden_state
        return hidden


def of_like_length(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of texts in groups of similar length, longest first.

    >>> list(of_like_length([10, 500, 490, 510, 500, 505]))
    [[3, 5, 1, 4, 2], [0]]
    """
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        longest = lengths[group[0]] if group else 0
        if len(group) * longest >= LEAST_TOKENS and lengths[index] < LEAST_SHARE * longest:
            yield group
            group = []
        group.append(index)
    yield group


def arguments(batch: torch.Tensor, padding_id: int, types: int = 0) -> dict[str, torch.Tensor]:
    """The module's arguments for a batch of token ids with `PADDING` after the end of each text.

    Args:
        batch: (B, T); the tokens of second texts of pairs are `SEGMENT` higher.
        padding_id: fills the rest of a row.
        types: number of token types that the module knows. Below 2, it is not given any.
    """
    mask = batch != PADDING
    ids = batch.masked_fill(~mask, padding_id)
    named = {"input_ids": ids % SEGMENT, "attention_mask": mask.long()}
    if types > 1 and int(ids.max()) >= SEGMENT:
        named["token_type_ids"] = ids // SEGMENT
    return named


def token_types(module: Any) -> int:
    """How many token types a module knows, if it takes any: the first and the second text of a pair are two."""
    takes = "token_type_ids" in inspect.signature(module.forward).parameters
    known = getattr(module.config, "type_vocab_size", None)
    return (known if isinstance(known, int) else 2) if takes else 0


def _pooled(output: Any, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """(B, D) from the encoder's output for (B, T) tokens."""
    import torch

    hidden: torch.Tensor = output.last_hidden_state
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]
    if pooling == "max":
        return hidden.masked_fill(mask[..., None] == 0, -torch.inf).amax(1)
    if pooling == "layer-mean":
        hidden = torch.stack(output.hidden_states[1:]).mean(0)
    weights = mask[..., None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


def _trained_pooler(module: Any, ids: torch.Tensor) -> torch.Tensor:
    """(B, D) from (B, T) token ids: the tower was trained on texts padded to one length, and without a mask."""
    import torch

    missing = module.config.max_position_embeddings - ids.shape[1]
    pooled: torch.Tensor = module(
        input_ids=torch.nn.functional.pad(ids, (0, missing), value=module.config.pad_token_id)
    ).pooler_output
    return pooled


def _check_pooling(pooling: str, head: str | None, prepared: TextPreprocessing, configuration: Any) -> None:
    if pooling not in POOLINGS:
        raise CandidateError(
            f"the modules.json asks for the pooling {pooling!r}, which is not supported. Give another one: "
            f"?pooling= with {', '.join(POOLINGS)}"
        )
    if pooling == "head" and head is None:
        raise CandidateError("pooling=head needs a trained classifier, which the model does not have; try pooling=mean")
    if pooling == "pooler" and configuration.model_type not in _TRAINED_POOLERS:
        raise CandidateError("pooling=pooler is only for the text towers of SigLIP; try pooling=mean")
    if pooling == "cls" and len({int(prepared.prepare(text)[0]) for text in ("One", "text", "2")}) > 1:
        raise CandidateError(
            "pooling=cls needs a token before the text, which the tokenizer does not add; try pooling=mean"
        )


def _check_padding(padded: Outputs, alone: Outputs) -> None:
    """A text must have the same outputs in a batch with a longer one as alone; XLNet's classifier reads the padding."""
    for among, own in zip(padded, alone, strict=True):
        if among is not None and own is not None and (among[:1] - own).abs().max() > 1e-3 * own.abs().max():
            raise CandidateError(
                "the outputs for a text change with the padding after the text, so no score could be repeated"
            )


def _usual_pooling(configuration: Any, head: str | None) -> str:
    transformers = required("transformers")
    if head is not None:
        return "head"
    kind = type(configuration)
    family = str(configuration.model_type).removesuffix("_text_model")
    if family in TEXT_TOWERS:  # a text tower in a folder of its own
        return TEXT_TOWERS[family]
    writes = kind in transformers.MODEL_FOR_CAUSAL_LM_MAPPING and kind not in transformers.MODEL_FOR_MASKED_LM_MAPPING
    return "last" if writes else "mean"
