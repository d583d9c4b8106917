"""How features and logits are read from a module: what the module says of itself decides."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelselect.candidates.backbone import Outputs, Reader
from modelselect.candidates.layouts import (
    FIRST,
    LAST,
    Layer,
    axis_after,
    axis_of_width,
    declared_axis,
    pool,
    stated_axis,
)
from modelselect.candidates.metadata import source_classes
from modelselect.candidates.modules import dequantized
from modelselect.candidates.watching import Part, Seen, first_tensor, sole_input, submodules, watch
from modelselect.errors import CandidateError

if TYPE_CHECKING:
    import torch

READING = "what the module says"
"""How features are found in a module. Changed where modules are read in another way, so that stored numbers of the
earlier way are not used for them."""

HEADS = frozenset({"fc", "head", "heads", "classifier", "last_linear"})
"""Names of a classifier's submodule, in timm, torchvision and transformers."""

_PROJECTIONS = ("proj", "embed", "latent")
"""What the name of a last layer contains if the layer makes an embedding, not logits."""

_FEATURES = "module.forward_features(batch)"

_TOWERS = ("encode_image", "encode_text")

_CLASS_TOKENS = ("cls_token", "class_embedding", "class_token")


@dataclass(frozen=True)
class HeadInput:
    """Features are the classifier's input; logits are the module's output. One forward pass.

    Attributes:
        head: name of the classifier's submodule.
        has_logits: False if the head is an identity or not a classifier of source classes.
        axis: of the channels in the classifier's input, if that is not one row for each input; see `pool`.
        makes_logits: True if the logits are the head's own output, because the module makes probabilities of them.

    >>> import torch
    >>> module = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Linear(4, 10)).eval()
    >>> features, logits = HeadInput("1")(module, torch.zeros(2, 8))
    >>> features.shape, logits.shape
    (torch.Size([2, 4]), torch.Size([2, 10]))
    """

    head: str
    has_logits: bool = True
    axis: int | None = None
    makes_logits: bool = False

    def __call__(self, module: torch.nn.Module, batch: Any) -> Outputs:
        captured: list[torch.Tensor] = []
        made: list[torch.Tensor] = []

        def capture(_: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            given = first_tensor(arguments, named)
            if given is not None:  # a copy, because the head may work in place
                captured.append(pool(dequantized(given), self.axis).clone())

        head = module.get_submodule(self.head)
        handles = [head.register_forward_pre_hook(capture, with_kwargs=True)]
        if self.makes_logits:  # a copy, because the activation may work in place
            handles.append(head.register_forward_hook(lambda _head, _given, output: made.append(output.clone())))
        try:
            output = call(module, batch)
        finally:
            for handle in handles:
                handle.remove()
        if not captured:
            raise CandidateError(f"the forward pass never reached the classifier {self.head!r}")
        if not self.has_logits:
            return Outputs(captured[-1], None)
        return Outputs(captured[-1], pool(dequantized(made[-1]) if made else one_tensor(output, module)))


@dataclass(frozen=True)
class FeatureMethod:
    """Features from a method of the module, logits from calling the module: two forward passes.

    Attributes:
        has_logits: False if the module has no classifier.
        axis: of the channels in the result of the method; see `pool`.
        method: name of the method.
    """

    has_logits: bool = True
    axis: int | None = None
    method: str = "forward_features"

    def __call__(self, module: torch.nn.Module, batch: torch.Tensor) -> Outputs:
        features = pool(one_tensor(getattr(module, self.method)(batch), module), self.axis)
        return Outputs(features, pool(one_tensor(module(batch), module)) if self.has_logits else None)


@dataclass(frozen=True)
class WholeOutput:
    """Features are the module's output; there are no source classes.

    Attributes:
        axis: of the channels in the output; see `pool`.
    """

    axis: int | None = None

    def __call__(self, module: torch.nn.Module, batch: Any) -> Outputs:
        return Outputs(pool(one_tensor(call(module, batch), module), self.axis), None)


@dataclass(frozen=True)
class OwnFeatures:
    """Features are the module's output as it is; there are no source classes."""

    def __call__(self, module: torch.nn.Module, batch: Any) -> Outputs:
        return Outputs(module(batch), None)


@dataclass(frozen=True)
class PreLogits:
    """Features are the pre-logits; logits are computed from the same pass through the body.

    `HeadInput` does not suffice: some heads have several classifiers, or normalise between pre-logits and logits.

    Attributes:
        has_logits: False if the module has no classifier of source classes.
        axis: of the channels in pre-logits that the module does not pool; see `pool`.
    """

    has_logits: bool = True
    axis: int | None = None

    @classmethod
    def of(cls, module: Any) -> PreLogits:
        """As the module's own facts say: its number of classes, its classifier, its tag, its output format."""
        classes = getattr(module, "num_classes", None)
        tag = (getattr(module, "pretrained_cfg", None) or {}).get("tag")
        known = classes is None or source_classes(tag, classes) > 1
        return cls(known and not _has_identity(module), LAST if stated_axis(module) == LAST else None)

    def __call__(self, module: Any, batch: torch.Tensor) -> Outputs:
        body = module.forward_features(batch)
        features = pool(module.forward_head(body, pre_logits=True), self.axis)
        return Outputs(features, pool(module.forward_head(body), self.axis) if self.has_logits else None)


@dataclass(frozen=True)
class EncoderOutput:
    """Features from the output of the encoder below the head: its pooled output, else its class token, else the mean.

    Of token ids, the features are the mean over the tokens that are not padding. If each token sees only those before
    it, they are the last one's.

    Attributes:
        pooled: False if the encoder's pooler has no trained weights, or is not to be read.
        class_token: True if the first token represents the image.
        has_logits: True if the module's output has logits of source classes.
        last: True if the last token represents the text.
    """

    pooled: bool
    class_token: bool
    has_logits: bool
    last: bool = False

    def __call__(self, module: Any, batch: Any) -> Outputs:
        seen: list[Any] = []
        handle = module.base_model.register_forward_hook(lambda _module, _arguments, output: seen.append(output))
        try:
            output = call(module, batch)
        finally:
            handle.remove()
        return self.outputs_of(module, batch, seen[-1] if seen else output, output)

    def outputs_of(self, module: Any, batch: Any, encoded: Any, output: Any) -> Outputs:
        """From the encoder's output and the module's."""
        return Outputs(self._features(module, encoded, batch), pool(output.logits) if self.has_logits else None)

    def _features(self, module: Any, output: Any, batch: Any) -> torch.Tensor:
        import torch

        pooled = getattr(output, "pooler_output", None)
        if self.pooled and pooled is not None:
            return pool(pooled)
        hidden = getattr(output, "last_hidden_state", None)
        if hidden is None:
            hidden = one_tensor(getattr(output, "feature_maps", output), module)
        if self.class_token and hidden.dim() == 3:
            return hidden[:, 0]
        mask = batch.get("attention_mask") if isinstance(batch, Mapping) else _token_mask(module, batch)
        if self.last and hidden.dim() == 3:
            places = torch.arange(hidden.shape[1], device=hidden.device).expand(hidden.shape[:2])
            places = places if mask is None else places * mask
            return hidden[torch.arange(len(hidden), device=hidden.device), places.amax(1)]
        if mask is not None and hidden.shape[:2] == mask.shape:
            weights = mask[..., None].to(hidden.dtype)
            return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
        return pool(hidden, declared_axis(module, tuple(hidden.shape)))


@dataclass(frozen=True)
class Within:
    """What another reader gets from a submodule whose output is the module's output.

    Attributes:
        part: name of the submodule.
        read: the reader of the submodule.
    """

    part: str
    read: Reader

    def __call__(self, module: torch.nn.Module, batch: Any) -> Outputs:
        inner, given = module.get_submodule(self.part), []

        def stop(_: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            given.append(sole_input(inner, arguments, named))
            raise _Reached

        handle = inner.register_forward_pre_hook(stop, with_kwargs=True)
        try:
            call(module, batch)
        except _Reached:
            pass
        finally:
            handle.remove()
        if not given:
            raise CandidateError(f"the forward pass never reached the submodule {self.part!r}")
        return self.read(inner, given[-1])


class _Reached(Exception):  # noqa: N818 - no error
    """Ends a forward pass where the input of a submodule is known."""


@dataclass(frozen=True)
class OwnReader:
    """The caller's own function of a module and a batch: it returns (B, D) features, or these and (B, S) logits."""

    function: Callable[[Any, Any], Any]

    def __call__(self, module: torch.nn.Module, batch: Any) -> Outputs:
        import torch

        given = self.function(module, batch)
        features, logits = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
        for what, tensor in (("features", features), ("logits", logits)):
            if tensor is None and what == "logits":
                continue
            if not isinstance(tensor, torch.Tensor) or tensor.dim() != 2 or len(tensor) != len(batch):
                raise CandidateError(
                    f"`read` returns {what} as {_described(tensor)}; expected a tensor with one row of numbers for "
                    f"each of the {len(batch)} inputs"
                )
        return Outputs(features, logits)


def call(module: Any, batch: Any) -> Any:
    """The module's output for a batch: a tensor, or a mapping of keyword arguments.

    Token ids of an encoder whose `config` names the padding come with a mask of the padding. An encoder whose `config`
    asks for tuples is asked for named outputs.
    """
    named = {} if getattr(getattr(module, "config", None), "return_dict", True) else {"return_dict": True}
    if isinstance(batch, Mapping):
        return module(**batch, **named)
    mask = _token_mask(module, batch)
    return module(batch, **named) if mask is None else module(batch, attention_mask=mask, **named)


def without_head(module: torch.nn.Module, method: str = "forward_features") -> torch.nn.Module:
    """A module whose forward pass is this method of the module: what runs if there is no head."""
    import torch

    class Body(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return getattr(self.module, method)(batch)  # type: ignore[no-any-return]

    return Body()


def one_tensor(output: Any, module: Any) -> torch.Tensor:
    """The tensor that a module returns: alone, in a sequence of one, as `logits`, or as the only (B, D) tensor.

    Also the one value of a mapping, if the module is a graph that was cut to return intermediate features by name.

    Raises:
        CandidateError: there is another number of tensors; the message says how to choose one.
    """
    import torch

    logits = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    output = output if logits is None else logits
    if isinstance(output, list | tuple) and len(output) == 1:
        (output,) = output
    if isinstance(output, Mapping) and len(output) == 1 and isinstance(module, torch.fx.GraphModule):
        (output,) = output.values()
    if isinstance(output, torch.Tensor):
        return output
    pairs = _parts(output)
    if len(pairs) == 1 and pairs[0][1].dim() == 2:
        return pairs[0][1]
    if not pairs:
        raise CandidateError(
            f"the module returns {_described(output)}; expected one tensor of features or logits. Give a module that "
            "returns features, such as the backbone inside it"
        )
    listed = ", ".join(f"{place} of shape {tuple(tensor.shape)}" for place, tensor in pairs)
    # most likely rows, and more numbers than there are classes
    place, tensor = max(reversed(pairs), key=lambda pair: (pair[1].dim() == 2, pair[1].dim() == 2 and pair[1].shape[1]))
    raise CandidateError(
        f"the module returns {type(output).__name__}; expected one tensor, but there are {listed}. Say which one holds "
        "the features: give the candidate as (module, transform, read), for example with read = lambda module, batch: "
        f"{_pooling(f'module(batch){place}', tensor.dim())}"
        + (" (or .mean((1, 2)) where the channels come last)" if tensor.dim() == 4 else "")
    )


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
        if _is_encoder(module):
            return _reader_for_encoder(module, example)
        if all(callable(getattr(module, name, None)) for name in _TOWERS):
            return _reader_for_tower(module, example, widths)
        if hasattr(module, "forward_features"):
            return reader_for_feature_method(module, example, widths)
        seen = _watched(module, lambda batch: call(module, batch), example)
        for name, part in reversed(seen.parts.items()):  # the outermost first
            inner = module.get_submodule(name)
            if part.alone is not None and _speaks(inner) and _makes_output(part, seen.output):
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
            logits = _rows(one_tensor(seen.output, module))
        except Exception:  # a backbone without a head: only its features can be read
            return FeatureMethod(has_logits=False, axis=axis)
    if raw.dim() > 2 and logits is not None:
        head = _classifier(module, seen, logits)
        if head is not None and (raw.dim() == 3 or not head.has_logits):
            return head
        if not _has_classes(module):
            return WholeOutput()
    has_logits = logits is not None and logits.shape[1] > 1 and _has_classes(module) and not _same(logits, features)
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


# --- what a module says of itself ------------------------------------------------------------------------------------


def _has_pre_logits(module: Any) -> bool:
    head = getattr(module, "forward_head", None)
    if head is None or not hasattr(module, "forward_features"):
        return False
    try:
        return "pre_logits" in inspect.signature(head).parameters
    except (TypeError, ValueError):  # a method of a scripted module
        return "pre_logits" in str(getattr(head, "schema", ""))


def _is_encoder(module: Any) -> bool:
    """True for a model of transformers, by the facts that each of them has."""
    return isinstance(getattr(module, "base_model_prefix", None), str) and hasattr(module, "config")


def _speaks(module: Any) -> bool:
    """True if the module says by itself how it is read."""
    return _has_pre_logits(module) or _is_encoder(module)


def _has_classes(module: Any) -> bool:
    return getattr(module, "num_classes", None) != 0


def _has_identity(module: Any) -> bool:
    """True if the classifier of the module is an identity."""
    import torch

    try:
        heads = module.get_classifier()
    except Exception:  # there is none, or the caller has replaced its place
        return False
    return any(isinstance(head, torch.nn.Identity) for head in (heads if isinstance(heads, tuple) else (heads,)))


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


def _reader_for_encoder(module: Any, example: Any) -> Reader:
    """The reader of a model of transformers: see `reader_for`."""
    import torch

    base: list[Any] = []
    handle = module.base_model.register_forward_hook(lambda _module, _arguments, output: base.append(output))
    try:
        seen = _watched(module, lambda batch: call(module, batch), example)
    finally:
        handle.remove()
    logits = getattr(seen.output, "logits", None)
    has_logits = False
    if isinstance(logits, torch.Tensor) and logits.dim() == 2 and _classifies(module, logits.shape[1]):
        problem = getattr(module.config, "problem_type", None)
        has_logits = logits.shape[1] > 1 and problem not in ("regression", "multi_label_classification")
        if (head := _classifier(module, seen, logits)) is not None:
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
    rows = _rows(output)
    if rows is None or len(rows) != _length(example):
        _check_length(output, example)
        return WholeOutput(_axis(module, output, seen.last, widths, "module(batch)"))
    hidden = isinstance(module, torch.jit.ScriptModule) or (not seen.ran and any(True for _ in module.children()))
    if hidden and _ends_with(module, rows.shape[1]):
        raise CandidateError(
            f"the module is scripted or exported ({type(module).__name__}), which hides the input of its last layer, "
            f"so its {rows.shape[1]} outputs may be logits or features. Give the module as it was before that. If they "
            "are features, give the candidate as (module, transform, read) with read = lambda module, batch: "
            "module(batch)"
        )
    if (head := _classifier(module, seen, rows)) is not None:
        return head
    return WholeOutput(LAST if output.dim() > 3 and output.shape[LAST] == rows.shape[1] > 1 else None)


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


def _classifier(module: torch.nn.Module, seen: Seen, rows: torch.Tensor) -> HeadInput | None:
    """The reader by the classifier that makes the module's output; None if nothing shows one."""
    import torch

    layer = next((name for name, (output, _) in reversed(seen.layers.items()) if _same(output, rows)), None)
    heads = {name: part for name, part in seen.parts.items() if not HEADS.isdisjoint(name.split("."))}
    for name, part in heads.items():
        replaced = isinstance(module.get_submodule(name), torch.nn.Identity) and _makes(part, rows)
        if replaced and (layer is None or _head_of(layer) != _head_of(name)):
            return HeadInput(name, has_logits=False)
    several = _has_classes(module) and rows.shape[1] > 1
    if layer is not None:
        return HeadInput(layer, several and not _is_projection(layer), seen.layers[layer][1])
    for name, (output, axis) in reversed(seen.layers.items()):
        activation = None if _is_projection(name) else _activation(output, rows)
        if activation is not None:
            return HeadInput(name, several and activation != "sigmoid", axis, makes_logits=activation == "softmax")
    for name, part in reversed(heads.items()):  # the outermost first
        last = next((module.get_submodule(n) for n in reversed(seen.layers) if n.startswith(f"{name}.")), None)
        if part.given is not None and isinstance(last, torch.nn.Conv2d) and _makes(part, rows):  # it pools afterwards
            shape = tuple(part.given.shape)
            axis = axis_after(part.before, shape) if len(shape) > 3 else None
            return HeadInput(name, several, axis)
    return None


def _makes_output(part: Part, output: Any) -> bool:
    """True if a submodule's output is the module's, or the logits of which the module makes probabilities."""
    if _same(part.output, output):
        return True
    return _activation(_tensor_of(part.output), _tensor_of(output)) in ("softmax", "log_softmax")


def _activation(logits: Any, rows: Any) -> str | None:
    """The last step without weights from a layer's outputs (B, S) to a module's; None if it is none of these."""
    import torch

    both = isinstance(logits, torch.Tensor) and isinstance(rows, torch.Tensor)
    if not both or logits.shape != rows.shape or rows.dim() != 2 or rows.shape[1] < 2:
        return None
    steps = {
        "softmax": logits.softmax(1),
        "log_softmax": logits.log_softmax(1),
        "sigmoid": logits.sigmoid(),
        "temperature": logits * (rows.norm() / logits.norm()),
    }
    return next((name for name, made in steps.items() if torch.allclose(made, rows, rtol=1e-4, atol=1e-6)), None)


def _makes(part: Part, rows: torch.Tensor) -> bool:
    import torch

    output = part.output
    return isinstance(output, torch.Tensor) and output.dim() > 1 and _same(_rows(output), rows)


def _head_of(name: str) -> str:
    """The outermost part of a name that is a classifier's; the name itself without one."""
    parts = name.split(".")
    place = next((number for number, part in enumerate(parts) if part in HEADS), len(parts) - 1)
    return ".".join(parts[: place + 1])


def _is_projection(name: str) -> bool:
    parts = name.split(".")
    classifies = any(part in HEADS or part.startswith("class") for part in parts)
    return not classifies and any(word in part for part in parts for word in _PROJECTIONS)


def _ends_with(module: torch.nn.Module, width: int) -> bool:
    """True if the last matrix of the module makes this many numbers."""
    matrices = [parameter for parameter in module.parameters() if parameter.dim() == 2]
    return bool(matrices) and matrices[-1].shape[0] == width


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
        f"{_pooling(expression, len(shape), LAST)} if it is the last one, or "
        f"{_pooling(expression, len(shape), FIRST)} if it is the first one after the batch"
    )


def _pooling(expression: str, dimensions: int, axis: int | None = None) -> str:
    """The expression for the mean over all axes but the batch's and the channels'; for the default axis, see `pool`."""
    axis = (LAST if dimensions == 3 else FIRST) if axis is None else axis
    places = tuple(place for place in range(1, dimensions) if place != axis % dimensions)
    return f"{expression}.mean({places if len(places) > 1 else places[0]})" if places else expression


def _rows(output: torch.Tensor) -> torch.Tensor | None:
    """(B, D) from an output with one axis besides the batch that is longer than 1; None for maps and tokens."""
    if output.dim() < 2:
        raise CandidateError(f"the module returns the shape {tuple(output.shape)}; expected one row for each input")
    return output.flatten(1) if sum(side > 1 for side in output.shape[1:]) <= 1 else None


def _same(one: Any, other: Any) -> bool:
    """True for the same object, and for equal tensors or logits."""
    import torch

    if one is other:
        return True
    one, other = _tensor_of(one), _tensor_of(other)
    both = isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)
    return both and one.shape == other.shape and torch.equal(one, other)


def _tensor_of(output: Any) -> Any:
    """The logits of a named output; else the output itself."""
    return output.get("logits", output) if isinstance(output, Mapping) else getattr(output, "logits", output)


def _check_length(features: torch.Tensor, example: Any) -> None:
    """Raises CandidateError if there is not one row for each input of the example."""
    if len(features) != _length(example):
        raise CandidateError(
            f"the module returns the shape {tuple(features.shape)} for {_length(example)} inputs; expected one row for "
            "each input. Give a module that returns the batch first."
        )


def _length(example: Any) -> int:
    return len(next(iter(example.values())) if isinstance(example, Mapping) else example)


def _token_mask(module: Any, batch: Any) -> torch.Tensor | None:
    """True for token ids (B, T) that are not padding, if the module says which id that is and takes a mask."""
    import torch

    padding = getattr(getattr(module, "config", None), "pad_token_id", None)
    if not isinstance(batch, torch.Tensor) or batch.is_floating_point() or batch.dim() != 2 or type(padding) is not int:
        return None
    if not _is_encoder(module) or "attention_mask" not in inspect.signature(module.forward).parameters:
        return None
    return (batch != padding).long()


def _parts(output: Any) -> list[tuple[str, torch.Tensor]]:
    """The tensors in an output, each with the Python code that gets it."""
    import torch

    if isinstance(output, Mapping):
        named = [(f"[{key!r}]", value) for key, value in output.items()]
    elif isinstance(output, list | tuple):
        named = [(f"[{number}]", value) for number, value in enumerate(output)]
    else:
        named = [(f".{name}", value) for name, value in vars(output).items()] if hasattr(output, "__dict__") else []
    return [(place, value) for place, value in named if isinstance(value, torch.Tensor) and value.dim() > 0]


def _described(output: Any) -> str:
    shape = getattr(output, "shape", None)
    if shape is not None:
        return f"a tensor of shape {tuple(shape)}"
    inner = f" of {type(output[0]).__name__}" if isinstance(output, list | tuple) and output else ""
    return f"{type(output).__name__}{inner}"
