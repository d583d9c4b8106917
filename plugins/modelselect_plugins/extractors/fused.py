"""Extraction on the CPU without batch normalisation, for runs that ask for it: `select(extractor="fused")`."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from modelselect import hookimpl
from modelselect.candidates.backbone import Backbone, Outputs
from modelselect.extraction.extractor import Extractor
from modelselect_plugins.extractors.cpu import CpuExtractor

if TYPE_CHECKING:
    import torch

LARGEST_DIFFERENCE = 1e-4
"""Between features with and without batch normalisation, relative to the largest one. Usual is 1e-7 to 3e-6."""

_COMPARED = 2  # rows
_NORMALISATIONS = {
    *(f"torch.nn.modules.batchnorm.BatchNorm{n}d" for n in (1, 2, 3)),
    "timm.layers.norm_act.BatchNormAct2d",
}
"""Classes of layers that can be fused. A subclass may compute something else."""

Pair = tuple[Any, Any]
"""A convolution, and the batch normalisation that takes its output."""


class FusedExtractor(CpuExtractor):
    """As `cpu`, but the scale and shift of a batch normalisation become part of the convolution before it.

    Features differ by rounding. The first rows of each candidate are computed both ways, and a candidate whose features
    differ by more than `LARGEST_DIFFERENCE` is computed as it is. So is one without such layers. Weights are restored
    afterwards, to the last bit.
    """

    name = "fused"
    on_request = True

    def __init__(self) -> None:
        super().__init__()
        self._restoring: dict[int, contextlib.ExitStack] = {}  # by id of the module that is in session

    @contextlib.contextmanager
    def session(self, module: torch.nn.Module, device: str) -> Iterator[None]:
        with super().session(module, device), contextlib.ExitStack() as restoring:
            self._restoring[id(module)] = restoring
            try:
                yield
            finally:
                del self._restoring[id(module)]

    def reader(self, backbone: Backbone, compile: bool) -> Callable[[torch.Tensor], Outputs]:
        read, restoring = super().reader(backbone, compile), self._restoring[id(backbone.module)]
        fused = False

        def fuse_and_read(batch: torch.Tensor) -> Outputs:
            nonlocal fused
            if not fused:
                fuse(backbone, batch[:_COMPARED], restoring)
                fused = True
            return read(batch)

        return fuse_and_read


def fuse(backbone: Backbone, rows: torch.Tensor, restoring: contextlib.ExitStack) -> None:
    """Fuses the module's batch normalisations with convolutions, unless its outputs for these rows would change.

    Args:
        backbone: on the device, in evaluation mode.
        rows: prepared rows on the device.
        restoring: undoes the changes when it is closed.
    """
    pairs, expected = _watched(backbone, rows)
    usual = [pair for pair in pairs if type(pair[0]).__module__.startswith("torch.nn.")]
    for chosen in (pairs, usual) if 0 < len(usual) < len(pairs) else (pairs,):
        with contextlib.ExitStack() as changes, contextlib.suppress(Exception):  # a layer that refuses other weights
            for convolution, normalisation in chosen:
                changes.enter_context(_fused(convolution, normalisation))
            if chosen and _equal(backbone.read(backbone.module, rows), expected):
                restoring.push(changes.pop_all())
                return


def _watched(backbone: Backbone, rows: torch.Tensor) -> tuple[list[Pair], Outputs]:
    """The pairs that can be fused, and the module's outputs.

    In every call of its convolution, a normalisation of a pair took the output itself, and it took no other input.
    """
    import torch

    convolutions = torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d
    made: dict[int, tuple[Any, Any]] = {}  # the output is kept, so that its id stays its own
    calls: Counter[Any] = Counter()
    met: Counter[Pair] = Counter()

    def watch(part: Any, given: tuple[Any, ...], output: Any) -> None:
        calls[part] += 1
        if isinstance(part, convolutions):
            made[id(output)] = part, output
        elif given and id(given[0]) in made:
            met[made[id(given[0])][0], part] += 1

    watched = [
        part
        for part in backbone.module.modules()
        if (_has_statistics(part) or (isinstance(part, convolutions) and _has_weights(part)))
    ]
    handles = [part.register_forward_hook(watch) for part in watched]
    try:
        outputs = backbone.read(backbone.module, rows)
    finally:
        for handle in handles:
            handle.remove()
    return [pair for pair, times in met.items() if times == calls[pair[0]] == calls[pair[1]]], outputs


def _has_weights(convolution: Any) -> bool:
    """Whether the weights are parameters: there are layers that compute them in every call."""
    return "weight" in dict(convolution.named_parameters(recurse=False))


def _has_statistics(part: Any) -> bool:
    """Whether it is a batch normalisation that can be fused."""
    return f"{type(part).__module__}.{type(part).__name__}" in _NORMALISATIONS and part.running_mean is not None


@contextlib.contextmanager
def _fused(convolution: Any, normalisation: Any) -> Iterator[None]:
    """The convolution does what both do; the normalisation passes its input on to its activation, if it has one."""
    import torch

    weight, bias = convolution.weight, convolution.bias
    scale = (normalisation.running_var.double() + normalisation.eps).rsqrt()
    shift = -normalisation.running_mean.double() * scale
    if normalisation.weight is not None:
        scale, shift = scale * normalisation.weight.double(), shift * normalisation.weight.double()
    if normalisation.bias is not None:
        shift = shift + normalisation.bias.double()
    if bias is not None:
        shift = shift + bias.double() * scale
    scaled = weight.double() * scale.reshape(-1, *[1] * (weight.dim() - 1))
    try:
        convolution.weight, convolution.bias = (
            torch.nn.Parameter(value.to(weight.dtype), requires_grad=False) for value in (scaled, shift)
        )
        normalisation.forward = _after(normalisation)
        yield
    finally:
        vars(normalisation).pop("forward", None)
        convolution.weight, convolution.bias = weight, bias


def _after(normalisation: Any) -> Callable[[Any], Any]:
    """What a batch normalisation does after it has normalised: timm's has dropout and an activation."""
    if hasattr(normalisation, "act"):
        return lambda rows: normalisation.act(normalisation.drop(rows))
    return lambda rows: rows


def _equal(given: Outputs, expected: Outputs) -> bool:
    """Whether features and logits differ by rounding alone."""
    for own, other in zip(given, expected, strict=True):
        if own is None or other is None:
            continue
        if own.shape != other.shape:
            return False
        if not float((own - other).abs().max()) <= LARGEST_DIFFERENCE * float(other.abs().max()):
            return False
    return True


@hookimpl
def modelselect_register_extractors() -> list[Extractor]:
    return [FusedExtractor()]
