"""The `layer` zoo: models of other zoos, read at one of their layers, such as `timm:vit_small_patch16_224?layer=7`.

`?layer=7` is a setting in a candidate's name, `?layer=*` stands for each layer as a candidate of its own, and
`?layer=best` for the one that suits a dataset best, the end of the network included. All of them work with every zoo.
`layer:timm:vit_small_patch16_224.augreg_in1k?layer=7` is the id of such a candidate: whatever it is asked is passed on
to the zoo of the model, and only the place is another where features are read. Layers that a run reads together share
one forward pass.

A layer is a block of the network: a stage of a convolutional network, or a layer of a transformer; see `blocks_of`.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelselect import Candidate, Zoo, hookimpl
from modelselect.candidates.backbone import TOGETHER, Backbone, Outputs, Reader, Together
from modelselect.candidates.calling import call
from modelselect.candidates.classifier import HEADS
from modelselect.candidates.expression import BEST, Expression
from modelselect.candidates.layouts import LAST, axis_after, pool, stated_axis
from modelselect.candidates.preprocessing import SoundPreprocessing, TextPreprocessing, example_batch
from modelselect.candidates.watching import first_tensor, watch
from modelselect.errors import CandidateError, ExpressionError
from modelselect.host.host import get_host
from modelselect_plugins.zoos._support import split_settings, with_settings

if TYPE_CHECKING:
    import torch

SETTING = "layer"

ALL = "*"
"""The value of the setting that stands for every layer."""

ALIKE = 3
"""Parts of one kind next to each other that make a sequence of layers; in a list of modules, two are enough."""

TEXT_POOLINGS = ("mean", "cls", "last", "max")
"""The ways to pool the tokens of a text that apply to any layer."""

_CLASS_TOKENS = ("cls_token", "class_token", "class_embedding")
_PATTERN = re.compile(r"(?P<model>.+?\?[^@?]*?\blayer=[^@?]*)(@(?P<revision>[^@?]+))?", re.DOTALL)


class LayerZoo(Zoo):
    """Models of other zoos, read at one of their layers."""

    name = "layer"

    def search(self, pattern: str) -> Iterable[Candidate]:
        match = _PATTERN.fullmatch(pattern)
        model, settings = split_settings(pattern if match is None else match["model"])
        layer = settings.pop(SETTING, None)
        if layer is None or not (layer in (ALL, BEST) or (layer.isascii() and layer.isdigit() and int(layer) > 0)):
            raise ExpressionError(
                f"{pattern!r} names no layer; expected a number from 1, or * for all layers, or best for the one that "
                "suits the data, as in 'timm:vit_small_patch16_224?layer=7'"
            )
        revision = "" if match is None or match["revision"] is None else f"@{match['revision']}"
        expression = Expression.parse(with_settings(model, settings) + revision)
        zoo = get_host().zoo(expression.zoo)
        return [each for found in zoo.search(expression.pattern) for each in _layered(zoo, found, layer)]

    def for_modality(self, candidate: Candidate, modality: str) -> Candidate:
        zoo, inner, layer = _taken_apart(candidate)
        return _at_layer(zoo.for_modality(inner, modality), layer, together=TOGETHER in candidate.metadata)

    def behind(self, candidate: Candidate) -> Zoo:
        zoo, inner, _ = _taken_apart(candidate)
        return zoo.behind(inner)

    def is_here(self, candidate: Candidate) -> bool:
        zoo, inner, _ = _taken_apart(candidate)
        return not zoo.downloads or zoo.is_here(inner)

    def choices(self, candidate: Candidate, *, trust_remote_code: bool = False) -> Sequence[Candidate]:
        """The layers of the model, and the model itself, which is read at its end; that alone if it has no layers."""
        zoo, inner, layer = _taken_apart(candidate)
        if layer != BEST:
            return ()
        module = zoo.skeleton(inner, trust_remote_code=trust_remote_code)
        if module is None:
            module = zoo.load(inner, trust_remote_code=trust_remote_code).module
        try:
            names = blocks_of(module)
        except CandidateError:
            return (inner,)
        return (*(_at_layer(inner, number, together=True) for number in range(1, len(names) + 1)), inner)

    def load(self, candidate: Candidate, *, trust_remote_code: bool = False) -> Backbone:
        zoo, inner, layer = _taken_apart(candidate)
        if layer == BEST:
            raise CandidateError(
                f"layer={BEST} is not one layer: select() chooses the layer for a dataset. Name a layer by its number, "
                "such as ?layer=2"
            )
        whole = zoo.load(inner, trust_remote_code=trust_remote_code)
        names = blocks_of(whole.module)
        if int(layer) > len(names):
            raise CandidateError(f"layer={layer} is not there: the model has {len(names)} layers, from 1")
        backbone = _read_at(whole, candidate, names[int(layer) - 1])
        if TOGETHER not in candidate.metadata:
            return backbone
        return dataclasses.replace(backbone, together=lambda: _all_read(whole, names))

    def skeleton(self, candidate: Candidate, *, trust_remote_code: bool = False) -> Any:
        """The model without weights, up to the layer: what lies behind it has weights, and no operations."""
        zoo, inner, layer = _taken_apart(candidate)
        module = zoo.skeleton(inner, trust_remote_code=trust_remote_code)
        if module is None or layer == BEST or candidate.metadata.get("modality") in ("text", "audio"):
            return module
        return _up_to(module, blocks_of(module)[int(layer) - 1])

    def bundle(self, backbone: Backbone, folder: Path) -> str | None:
        return None  # the folder's model would be read at its end


def blocks_of(module: Any) -> list[str]:
    """The names of a module's layers, in their order.

    The search begins at the module and goes on in the part with the most weights, without classifiers. It ends at a
    list or sequence of parts of one kind, whose parts with weights are the layers; or at a part with at least `ALIKE`
    parts of one kind that have parts themselves, which are the layers then: the stages of a ResNet.

    Raises:
        CandidateError: there is no such sequence.

    >>> import torch
    >>> block = lambda: torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU())
    >>> trunk = torch.nn.Sequential(block(), block())
    >>> blocks_of(torch.nn.ModuleDict({"stem": block(), "trunk": trunk, "head": block()}))
    ['trunk.0', 'trunk.1']
    """
    import torch

    place, part = "", module
    while True:
        children = [
            (name, child, sum(parameter.numel() for parameter in child.parameters()))
            for name, child in part.named_children()
            if name not in HEADS and any(True for _ in child.parameters())
        ]
        in_order = isinstance(part, torch.nn.Sequential | torch.nn.ModuleList)
        layers = children if in_order else [each for each in children if any(True for _ in each[1].children())]
        alike = max(Counter(type(child) for _, child, _ in layers).values(), default=0)
        if alike >= (2 if in_order else ALIKE):
            return [f"{place}{name}" for name, _, _ in layers]
        if not children:
            raise CandidateError(
                f"{type(module).__name__} has no sequence of layers that can be found by its parts; leave out layer="
            )
        name, part, _ = max(children, key=lambda each: each[2])
        place = f"{place}{name}."


@dataclasses.dataclass(frozen=True)
class AtLayer:
    """Features are the output of a module that ends at a layer; there are no logits.

    Attributes:
        axis: of the channels in a map; see `pool`.
        first: whether the first token stands for the whole input; else tokens are averaged.
        skipped: number of tokens at the beginning that the average leaves out.
    """

    axis: int | None = None
    first: bool = False
    skipped: int = 0

    def __call__(self, module: Any, batch: Any) -> Outputs:
        return Outputs(self.pooled(module(batch)), None)

    def pooled(self, hidden: torch.Tensor) -> torch.Tensor:
        """(B, D) features from what the layer gives."""
        if hidden.dim() == 3 and self.axis in (None, LAST):
            return hidden[:, 0] if self.first else hidden[:, self.skipped :].mean(1)
        return pool(hidden, self.axis)


@dataclasses.dataclass(frozen=True)
class TextAtLayer:
    """Features of texts at a layer, pooled over tokens as at the end of the model.

    Attributes:
        layer: name of the submodule.
        read: the reader at the end, which gets the layer's output in the place of the last one.
    """

    layer: str
    read: Reader

    @property
    def pooling(self) -> str:
        """How tokens are pooled."""
        return str(getattr(self.read, "pooling", ""))

    def __call__(self, module: Any, batch: Any) -> Outputs:
        return _texts_at(self.read, module, [self.layer], batch)[0]


@dataclasses.dataclass(frozen=True)
class AtLayers:
    """Outputs at several layers and at the end of a module, in one forward pass.

    Attributes:
        layers: the name of each layer, and how its output is pooled.
        read: the reader at the end, whose logits are kept.
    """

    layers: tuple[tuple[str, AtLayer], ...]
    read: Reader

    def __call__(self, module: Any, batch: Any) -> list[Outputs]:
        seen: dict[str, torch.Tensor] = {}

        def keep(layer: str, at: AtLayer) -> Any:
            def pooled(_: Any, __: Any, output: Any) -> None:  # at once: what follows may work in place
                if layer not in seen:  # some readers run a module twice
                    seen[layer] = at.pooled(_first(output)).clone()

            return module.get_submodule(layer).register_forward_hook(pooled)

        handles = [keep(layer, at) for layer, at in self.layers]
        try:
            end = self.read(module, batch)
        finally:
            for handle in handles:
                handle.remove()
        for layer, _ in self.layers:
            if layer not in seen:
                raise CandidateError(f"the forward pass never reached the layer {layer!r}")
        return [*(Outputs(seen[layer], None) for layer, _ in self.layers), end]


@dataclasses.dataclass(frozen=True)
class TextAtLayers:
    """Outputs for texts at several layers, and perhaps at the end of the encoder, in one forward pass.

    Attributes:
        layers: names of the layers.
        read: the reader at the end.
        end: whether the outputs at the end are given, too.
    """

    layers: tuple[str, ...]
    read: Reader
    end: bool

    def __call__(self, module: Any, batch: Any) -> list[Outputs]:
        return _texts_at(self.read, module, self.layers, batch, end=self.end)


@dataclasses.dataclass(frozen=True)
class SoundAtLayers:
    """Outputs for sounds at several layers and at the end, in one forward pass; or at one layer alone.

    Attributes:
        layers: names of the layers.
        read: the reader at the end, which can read layers with `at`.
        alone: whether only the outputs at the first layer are given.
    """

    layers: tuple[str, ...]
    read: Any
    alone: bool = False

    def __call__(self, module: Any, batch: Any) -> Any:
        found = self.read.at(module, self.layers, batch)
        return found[0] if self.alone else found


def _texts_at(read: Any, module: Any, layers: Sequence[str], batch: Any, *, end: bool = False) -> list[Outputs]:
    """Features of texts at layers, and at the end if asked for, pooled over the tokens as the reader does at the end.

    The encoder runs once, without its head. Then the reader pools what each layer gave, as if the encoder ended there.
    """
    read = dataclasses.replace(read, has_logits=False) if getattr(read, "has_logits", False) else read
    encoder = module.base_model
    seen: dict[str, list[Any]] = {layer: [] for layer in layers}  # a reader may call the encoder more than once
    outputs: list[Any] = []

    def keep(layer: str) -> Any:
        return module.get_submodule(layer).register_forward_hook(
            lambda _, __, output: seen[layer].append(_first(output))
        )

    handles = [keep(layer) for layer in layers]
    handles.append(encoder.register_forward_hook(lambda _, __, output: outputs.append(output)))
    try:
        last = read(encoder, batch)
    finally:
        for handle in handles:
            handle.remove()
    at = [Outputs(read(_replay(outputs, seen.pop(layer)), batch).features, None) for layer in layers]
    return [*at, Outputs(last.features, None)] if end else at


def _replay(outputs: Sequence[Any], hidden: Sequence[torch.Tensor]) -> torch.nn.Module:
    """A module that gives the outputs of an encoder again, call by call, with these hidden states at the end."""
    import torch

    given = iter(zip(outputs, hidden, strict=True))

    class Replay(torch.nn.Module):
        @property
        def base_model(self) -> torch.nn.Module:
            return self

        def forward(self, *_: Any, **__: Any) -> Any:
            output, states = next(given)
            return type(output)({**output, "last_hidden_state": states})

    return Replay()


def _layered(zoo: Zoo, candidate: Candidate, layer: str) -> Iterator[Candidate]:
    """The candidate at a layer, or at each of its layers."""
    if layer != ALL:
        yield _at_layer(candidate, layer if layer == BEST else int(layer))
        return
    module = zoo.skeleton(candidate)
    if module is None:
        raise ExpressionError(
            f"{candidate.unversioned_id!r} cannot be built without its weights, so its layers are not known before it "
            "is loaded. Name one by its number, such as ?layer=2"
        )
    for number in range(1, len(blocks_of(module)) + 1):
        yield _at_layer(candidate, number, together=True)


def _at_layer(candidate: Candidate, layer: int | str, *, together: bool = False) -> Candidate:
    """The candidate at a layer; `together` if other layers of it are read by the same run."""
    model, settings = split_settings(candidate.unversioned_id)
    known = {name: value for name, value in candidate.metadata.items() if name not in ("feature_dim", TOGETHER)}
    if together:
        known[TOGETHER] = candidate.id
    if layer != BEST:
        known["source_classes"] = 0
    name = with_settings(model, {**settings, SETTING: str(layer)})
    return Candidate(LayerZoo.name, name, candidate.revision, known)


def _taken_apart(candidate: Candidate) -> tuple[Zoo, Candidate, str]:
    """The zoo of the model, the model as a candidate of it, and the number of the layer, or `best`."""
    model, settings = split_settings(candidate.name)
    layer = settings.pop(SETTING, "")
    if layer != BEST and not layer.isdigit():
        raise CandidateError(f"{candidate.name!r} names no layer; expected a number, as in ?layer=7")
    expression = Expression.parse(with_settings(model, settings))
    zoo = get_host().zoo(expression.zoo)
    known = {name: value for name, value in candidate.metadata.items() if name != TOGETHER}
    return zoo, Candidate(zoo.name, expression.pattern, candidate.revision, known), layer


def _read_at(whole: Backbone, candidate: Candidate, layer: str) -> Backbone:
    """A loaded model as a candidate that is read at this layer of it."""
    number = split_settings(candidate.name)[1][SETTING]
    key = f"{whole.weights_key}:{SETTING}={number}"
    backbone = dataclasses.replace(whole, candidate=candidate, weights_key=key)
    if isinstance(whole.preprocessing, TextPreprocessing):
        return dataclasses.replace(backbone, read=_text_reader(whole, layer))
    if isinstance(whole.preprocessing, SoundPreprocessing):
        return dataclasses.replace(backbone, read=SoundAtLayers((layer,), whole.read, alone=True))
    cut = _up_to(whole.module, layer)
    return dataclasses.replace(backbone, module=cut, read=_reader(whole, cut))


def _all_read(whole: Backbone, layers: Sequence[str]) -> Together:
    """All layers of a loaded model in one forward pass, and its end, if that has no head of a text encoder."""
    names = [_at_layer(whole.candidate, number) for number in range(1, len(layers) + 1)]
    parts = [
        dataclasses.replace(whole, candidate=name, weights_key=f"{whole.weights_key}:{SETTING}={number}")
        for number, name in enumerate(names, 1)
    ]
    if isinstance(whole.preprocessing, SoundPreprocessing):
        return Together(whole, SoundAtLayers(tuple(layers), whole.read), (*parts, whole))
    if not isinstance(whole.preprocessing, TextPreprocessing):
        at = AtLayers(tuple((each, _reader(whole, _up_to(whole.module, each))) for each in layers), whole.read)
        return Together(whole, at, (*parts, whole))
    read = _text_reader(whole, layers[0]).read
    end = not getattr(read, "has_logits", False)  # the head does not run, so there are no logits
    return Together(whole, TextAtLayers(tuple(layers), read, end), (*parts, *((whole,) if end else ())))


def _text_reader(backbone: Backbone, layer: str) -> TextAtLayer:
    """How features of texts are read at a layer.

    Raises:
        CandidateError: the zoo pools tokens in a way that does not apply to other layers.
    """
    pooling = getattr(backbone.read, "pooling", None)
    if pooling not in TEXT_POOLINGS or not hasattr(backbone.module, "base_model"):
        raise CandidateError(
            f"the model is read with the pooling {pooling!r}, which applies to its end only. Give another one with the "
            f"layer: ?pooling= with {', '.join(TEXT_POOLINGS)}"
        )
    return TextAtLayer(layer, backbone.read)


def _reader(backbone: Backbone, cut: torch.nn.Module) -> AtLayer:
    """How features are read from a module that ends at a layer of the backbone, pooled as the zoo pools its end."""
    import torch

    module: Any = backbone.module
    with torch.no_grad():
        example = example_batch(backbone.preprocessing)
        seen = watch(cut, lambda: cut(example), lambda _name, _part: False)
    shape = tuple(seen.output.shape)
    if len(shape) != 3:
        axis = stated_axis(module) if len(shape) == 4 else None
        return AtLayer(axis_after(seen.last, shape) if axis is None and len(shape) > 2 else axis)
    pools = getattr(module, "global_pool", None)
    skipped = getattr(module, "num_prefix_tokens", 0)
    tokens = any(name.rsplit(".", 1)[-1] in _CLASS_TOKENS for name, _ in module.named_parameters())
    first = pools == "token" if isinstance(pools, str) else getattr(backbone.read, "class_token", tokens)
    return AtLayer(None, bool(first), skipped if isinstance(skipped, int) else 0)


class _Reached(Exception):  # noqa: N818 - no error
    """Ends a forward pass at a layer."""


def _first(output: Any) -> Any:
    """The first tensor of an output, which may be a tensor, a tuple, or named."""
    import torch

    if isinstance(output, torch.Tensor):
        return output
    found = first_tensor(tuple(output.values()) if isinstance(output, Mapping) else tuple(output), {})
    if found is None:
        raise CandidateError(f"the layer returns {type(output).__name__}; expected a tensor")
    return found


def _run(module: Any, batch: Any) -> Any:
    """A forward pass: without the classifier, where the module has a method for that."""
    return module.forward_features(batch) if hasattr(module, "forward_features") else call(module, batch)


def _up_to(module: Any, layer: str) -> torch.nn.Module:
    """A module whose output is that of a layer of another; what lies behind the layer does not run."""
    import torch

    class UpTo(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, batch: Any) -> torch.Tensor:
            reached: list[torch.Tensor] = []

            def stop(_: Any, __: Any, output: Any) -> None:
                reached.append(_first(output))
                raise _Reached

            handle = self.module.get_submodule(layer).register_forward_hook(stop)
            try:
                _run(self.module, batch)
            except _Reached:
                return reached[-1]
            finally:
                handle.remove()
            raise CandidateError(f"the forward pass never reached the layer {layer!r}")

    return UpTo().eval()


@hookimpl
def modelselect_register_zoos() -> list[Zoo]:
    return [LayerZoo()]
