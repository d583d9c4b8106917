"""Which reader suits a module: what the module says of itself decides, and what a forward pass shows."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from modelselect.candidates.backbone import Reader
from modelselect.candidates.calling import call, is_encoder, one_tensor, pooling
from modelselect.candidates.classifier import (
    HEADS,
    are_same,
    classifier,
    ends_with,
    has_classes,
    makes_output,
    one_row_each,
)
from modelselect.candidates.layouts import FIRST, LAST, Layer, axis_after, axis_of_width, declared_axis, pool
from modelselect.candidates.readers import EncoderOutput, FeatureMethod, HeadInput, PreLogits, WholeOutput, Within
from modelselect.candidates.watching import Seen, encoder_outputs, submodules, watch
from modelselect.errors import CandidateError

if TYPE_CHECKING:
    import torch

READING = "what the module says"
"""How features are found in a module. Changed where modules are read in another way, so that stored numbers of the
earlier way are not used for them."""

_FEATURES = "module.forward_features(batch)"

_TOWERS = ("encode_image", "encode_text")

_CLASS_TOKENS = ("cls_token", "class_embedding", "class_token")


def reader_for(module: Any, example: Any, widths: Iterable[int] = ()) -> Reader:
    """The reader of any module; what the module says of itself decides.

    - A module with `forward_features` and `forward_head(..., pre_logits=True)`, as timm's: the pre-logits.
    - A module with a `config`, as transformers': the classifier's input, else the encoder's pooled output.
    - A module with `encode_image` and `encode_text`, as open_clip's: the result of the one that takes the example.
    - A module with `forward_features`: its result.
    - Others: see `reader_for_module`.

    Args:
        module: in evaluation mode.
        example: a batch of at least two different inputs.
        widths: of the features, where another source than the module knows them.

    Raises:
        CandidateError: the module does not show what its features are; the message says how to settle it.
    """
    import torch

    with torch.no_grad():
        if (base := _adapted(module)) is not None:
            return Within(base, reader_for(module.get_submodule(base), example, widths))
        if _has_pre_logits(module):
            reader = PreLogits.of(module)
            try:
                _check_length(reader(module, example).features, example)
                return reader
            except TypeError:  # a head that was replaced takes no `pre_logits`
                pass
        if is_encoder(module):
            return _reader_for_encoder(module, example)
        if all(callable(getattr(module, name, None)) for name in _TOWERS):
            return _reader_for_tower(module, example, widths)
        if hasattr(module, "forward_features"):
            return reader_for_feature_method(module, example, widths)
        seen = _watched(module, lambda batch: call(module, batch), example)
        for name, part in reversed(seen.parts.items()):  # the outermost first
            inner = module.get_submodule(name)
            if part.alone is not None and _speaks(inner) and makes_output(part, seen.output):
                return Within(name, reader_for(inner, part.alone, widths))
        return _by_output(module, seen, example, widths)


def reader_for_feature_method(module: Any, example: torch.Tensor, widths: Iterable[int] = ()) -> Reader:
    """The one-pass reader of a module that has `forward_features` and returns source logits when called.

    Finds the submodule whose input equals the features on `example`, and hooks it. Without such a submodule, the reader
    takes two passes. It reads features alone if calling the module fails, or gives the features themselves. If
    `forward_features` gives tokens (B, T, D) and there is a classifier, the features are the classifier's input.

    Args:
        module: in evaluation mode.
        example: a batch of at least two different inputs; noise is best, since it makes chance agreement unlikely.
        widths: of the features, where another source than the module knows them.

    Raises:
        CandidateError: nothing shows which axis of the features holds the channels.
    """
    import torch

    found: dict[bool, str] = {}  # by whether the agreement is exact
    with torch.no_grad():
        body = _watched(module, module.forward_features, example)
        raw = body.output
        if not isinstance(raw, torch.Tensor):  # several tensors by name: what the module itself returns is one
            return reader_for_module(module, example, widths)
        axis = _axis(module, raw, body.last, widths, _FEATURES)
        features = pool(raw, axis)

        def compare(name: str, given: torch.Tensor | None) -> None:
            if given is None or given.dim() < 2 or True in found:
                return
            pooled = pool(given, axis if given.dim() == raw.dim() else None)
            if pooled.shape == features.shape and torch.allclose(pooled, features, rtol=1e-4, atol=1e-5):
                found.setdefault(torch.equal(pooled, features), name)

        try:
            seen = _watched(module, lambda batch: call(module, batch), example, compare)
            logits = one_row_each(one_tensor(seen.output, module))
        except Exception:  # a backbone without a head: only its features can be read
            return FeatureMethod(has_logits=False, axis=axis)
    if raw.dim() > 2 and logits is not None:
        head = classifier(module, seen, logits)
        if head is not None and (raw.dim() == 3 or not head.has_logits):
            return head
        if not has_classes(module):
            return WholeOutput()
    has_logits = logits is not None and logits.shape[1] > 1 and has_classes(module) and not are_same(logits, features)
    if found:
        return HeadInput(found.get(True) or found[False], has_logits, axis)
    return FeatureMethod(has_logits, axis)


def reader_of_features(module: Any, example: torch.Tensor, widths: Iterable[int] = ()) -> FeatureMethod:
    """The reader of a module that has `forward_features` and no source classes.

    Args:
        module: in evaluation mode.
        example: a batch of at least two different inputs.
        widths: of the features, where another source than the module knows them.

    Raises:
        CandidateError: nothing shows which axis of the features holds the channels.
    """
    import torch

    with torch.no_grad():
        seen = _watched(module, module.forward_features, example)
    return FeatureMethod(has_logits=False, axis=_axis(module, seen.output, seen.last, widths, _FEATURES))


def reader_for_module(module: Any, example: Any, widths: Iterable[int] = ()) -> HeadInput | WholeOutput:
    """The reader of any module: the last linear layer or convolution is the classifier if its output is the module's.

    A submodule with the name of a classifier is one, too, if its output is the module's. If that is an identity, or a
    projection by its name, there are no source classes. Otherwise the module's own output counts as features, without
    source classes. (Another encoder that ends in a linear layer looks like a classifier.)

    Args:
        module: in evaluation mode; returns a tensor, or an object with `logits` like transformers' models.
        example: a batch of at least two different inputs: a tensor, or a mapping of keyword arguments.
        widths: of the features, where another source than the module knows them.

    Raises:
        CandidateError: the module returns neither, or nothing shows which axis holds the channels.
    """
    import torch

    with torch.no_grad():
        seen = _watched(module, lambda batch: call(module, batch), example)
    return _by_output(module, seen, example, widths)


def _reader_for_encoder(module: Any, example: Any) -> Reader:
    """The reader of a model of transformers: see `reader_for`."""
    import torch

    with encoder_outputs(module) as base:
        seen = _watched(module, lambda batch: call(module, batch), example)
    logits = getattr(seen.output, "logits", None)
    has_logits = False
    if isinstance(logits, torch.Tensor) and logits.dim() == 2 and _classifies(module, logits.shape[1]):
        problem = getattr(module.config, "problem_type", None)
        has_logits = logits.shape[1] > 1 and problem not in ("regression", "multi_label_classification")
        if (head := classifier(module, seen, logits)) is not None:
            return HeadInput(head.head, has_logits, head.axis)
    tokens = any(name.rsplit(".", 1)[-1] in _CLASS_TOKENS for name, _ in module.named_parameters())
    first = next(iter(example.values())) if isinstance(example, Mapping) else example
    encoded = base[-1] if base else seen.output
    encoder = EncoderOutput(
        pooled=first.is_floating_point() or not _has_pooler(module),
        class_token=tokens,
        has_logits=has_logits,
        last=_is_causal(module, example, encoded),
    )
    _check_length(encoder.outputs_of(module, example, encoded, seen.output).features, example)
    return encoder


def _reader_for_tower(module: Any, example: Any, widths: Iterable[int]) -> FeatureMethod:
    """The reader of a model of images and texts that has a method for each: for token ids the text's."""
    image, text = _TOWERS
    method = image if example.is_floating_point() else text
    seen = _watched(module, getattr(module, method), example)
    output = one_tensor(seen.output, module)
    _check_length(output, example)
    return FeatureMethod(False, _axis(module, output, seen.last, widths, f"module.{method}(batch)"), method)


def _by_output(module: Any, seen: Seen, example: Any, widths: Iterable[int]) -> HeadInput | WholeOutput:
    """See `reader_for_module`."""
    import torch

    output = one_tensor(seen.output, module)
    rows = one_row_each(output)
    if rows is None or len(rows) != _length(example):
        _check_length(output, example)
        return WholeOutput(_axis(module, output, seen.last, widths, "module(batch)"))
    hidden = isinstance(module, torch.jit.ScriptModule) or (not seen.ran and any(True for _ in module.children()))
    if hidden and ends_with(module, rows.shape[1]):
        raise CandidateError(
            f"the module is scripted or exported ({type(module).__name__}), which hides the input of its last layer, "
            f"so its {rows.shape[1]} outputs may be logits or features. Give the module as it was before that. If they "
            "are features, give the candidate as (module, transform, read) with read = lambda module, batch: "
            "module(batch)"
        )
    if (head := classifier(module, seen, rows)) is not None:
        return head
    return WholeOutput(LAST if output.dim() > 3 and output.shape[LAST] == rows.shape[1] > 1 else None)


# --- what a module says of itself ------------------------------------------------------------------------------------


def _has_pre_logits(module: Any) -> bool:
    head = getattr(module, "forward_head", None)
    if head is None or not hasattr(module, "forward_features"):
        return False
    try:
        return "pre_logits" in inspect.signature(head).parameters
    except (TypeError, ValueError):  # a method of a scripted module
        return "pre_logits" in str(getattr(head, "schema", ""))


def _speaks(module: Any) -> bool:
    """True if the module says by itself how it is read."""
    return _has_pre_logits(module) or is_encoder(module)


def _adapted(module: Any) -> str | None:
    """The name of the model inside a wrapper of peft, if the adapters are a part of its layers."""
    base = getattr(module, "get_base_model", None)
    if not callable(base) or getattr(getattr(module, "active_peft_config", None), "is_prompt_learning", False):
        return None
    inner = base()
    return next((name for name, part in submodules(module) if part is inner), None)


def _classifies(module: Any, outputs: int) -> bool:
    """True for a model of transformers whose outputs are its labels."""
    return "Classification" in type(module).__name__ and getattr(module.config, "num_labels", 0) == outputs


def _has_pooler(module: Any) -> bool:
    """True if the encoder of texts has layers for its pooled output, which may have no trained weights."""
    poolers = (part for name, part in submodules(module) if name.rsplit(".", 1)[-1] == "pooler")
    return any(True for part in poolers for _ in part.parameters())


def _is_causal(module: Any, example: Any, encoded: Any) -> bool:
    """True if token ids (B, T) are read in order: another last token changes nothing before it."""
    ids = example.get("input_ids") if isinstance(example, Mapping) else example
    hidden = getattr(encoded, "last_hidden_state", None)
    if ids is None or ids.is_floating_point() or ids.dim() != 2 or ids.shape[1] < 2:
        return False
    if hidden is None or hidden.dim() != 3:
        return False
    other = ids.clone()
    other[:, -1] = ids[:, 0]  # an id that the model knows
    if (other == ids).all():
        return False
    batch = {**example, "input_ids": other} if isinstance(example, Mapping) else other
    changed = call(module.base_model, batch).last_hidden_state
    return bool((changed[:, :-1] - hidden[:, :-1]).abs().max() <= 1e-5 * hidden.abs().max())


# --- what the forward pass shows -------------------------------------------------------------------------------------


def _watched(
    module: torch.nn.Module,
    run: Callable[[Any], Any],
    example: Any,
    compare: Callable[[str, torch.Tensor | None], None] | None = None,
) -> Seen:
    """What one forward pass on the example shows."""

    def is_kept(name: str, part: torch.nn.Module) -> bool:
        return not HEADS.isdisjoint(name.split(".")) or _speaks(part)

    return watch(module, lambda: run(example), is_kept, compare)


def _axis(module: Any, output: torch.Tensor, last: Layer | None, widths: Iterable[int], expression: str) -> int | None:
    """The axis of the channels in an output; None for (B, D).

    Raises:
        CandidateError: nothing shows the axis.
    """
    if output.dim() <= 2:
        return None
    shape = tuple(output.shape)
    made = last.axis if last is not None and last.shape == shape and last.width is not None else None
    for axis in (axis_of_width(widths, shape), made, declared_axis(module, shape), axis_after(last, shape)):
        if axis is not None:
            return axis
    raise CandidateError(
        f"{expression} has the shape {shape}, and neither the module nor its layers show which axis holds the "
        "features. Give the candidate as (module, transform, read) with read = lambda module, batch: "
        f"{pooling(expression, len(shape), LAST)} if it is the last one, or "
        f"{pooling(expression, len(shape), FIRST)} if it is the first one after the batch"
    )


def _check_length(features: torch.Tensor, example: Any) -> None:
    """Raises CandidateError if there is not one row for each input of the example."""
    if len(features) != _length(example):
        raise CandidateError(
            f"the module returns the shape {tuple(features.shape)} for {_length(example)} inputs; expected one row for "
            "each input. Give a module that returns the batch first."
        )


def _length(example: Any) -> int:
    return len(next(iter(example.values())) if isinstance(example, Mapping) else example)
