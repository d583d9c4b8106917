"""Which axis of a tensor holds the channels: what the module declares, or what its last layer does, decides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelselect.errors import CandidateError

if TYPE_CHECKING:
    import torch

FIRST, LAST = 1, -1
"""The axis of the channels in (B, D, H, W), and in (B, H, W, D) or (B, T, D)."""

_WIDTHS = ("num_features", "head_hidden_size", "embed_dim", "hidden_size", "hidden_sizes", "feature_dim")


_LAYERS = (
    (("Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"), FIRST, "out_channels"),
    (("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm"), FIRST, "num_features"),
    (("InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"), FIRST, "num_features"),
    (("GroupNorm",), FIRST, "num_channels"),
    (("Linear",), LAST, "out_features"),
    (("Embedding", "EmbeddingBag"), LAST, "embedding_dim"),
)
"""torch's layers by name, the axis of their channels, and the attribute that holds the number of channels."""


@dataclass(frozen=True)
class Layer:
    """The output of one layer: its shape, the axis of its channels, and their number if the layer states it."""

    shape: tuple[int, ...]
    axis: int
    width: int | None


def pool(features: torch.Tensor, axis: int | None = None) -> torch.Tensor:
    """(B, D) by the mean over places of a feature map (B, D, H, W), or over tokens (B, T, D).

    Args:
        features: one row for each input, of at least two dimensions.
        axis: of the channels; by default 1 in a feature map and the last one in tokens.

    >>> import torch
    >>> pool(torch.ones(2, 8, 7, 7)).shape, pool(torch.ones(2, 197, 8)).shape, pool(torch.ones(2, 8)).shape
    (torch.Size([2, 8]), torch.Size([2, 8]), torch.Size([2, 8]))
    >>> pool(torch.ones(2, 7, 7, 8), LAST).shape
    torch.Size([2, 8])
    """
    if features.dim() < 2:
        raise CandidateError(f"features have shape {tuple(features.shape)}; expected one row for each input")
    if features.dim() == 2:
        return features
    axis = (LAST if features.dim() == 3 else FIRST) if axis is None else axis
    channels = axis % features.dim()
    return features.mean([place for place in range(1, features.dim()) if place != channels])


def declared_axis(module: Any, shape: tuple[int, ...]) -> int | None:
    """The axis of the channels as the module declares it: by `output_fmt`, or by the width of its features.

    >>> from types import SimpleNamespace
    >>> declared_axis(SimpleNamespace(num_features=768), (2, 7, 7, 768))
    -1
    """
    if len(shape) == 4 and (stated := stated_axis(module)) is not None:
        return stated
    return axis_of_width(declared_widths(module), shape)


def stated_axis(module: Any) -> int | None:
    """The axis of the channels in a grid by the module's `output_fmt`, as timm's have it; None if it says neither."""
    stated = getattr(module, "output_fmt", None)
    return {"NHWC": LAST, "NCHW": FIRST}.get(str(getattr(stated, "value", stated)).upper())


def declared_widths(module: Any) -> frozenset[int]:
    """The widths of features that a module, or its `config`, declares."""
    found = set()
    for owner in (module, getattr(module, "config", None)):
        for name in _WIDTHS:
            value = getattr(owner, name, None)
            found.add(value[-1] if isinstance(value, list | tuple) and value else value)
    return frozenset(width for width in found if type(width) is int and width > 0)


def axis_of_width(widths: Iterable[int], shape: tuple[int, ...]) -> int | None:
    """The axis that has one of these widths; None if both the first and the last have one, or neither."""
    first, last = (shape[axis] in set(widths) for axis in (FIRST, LAST))
    return None if first == last else FIRST if first else LAST


def axis_after(layer: Layer | None, shape: tuple[int, ...]) -> int | None:
    """The axis of the channels in a tensor that was made from the output of this layer; None if it does not show.

    >>> axis_after(Layer((2, 64, 7, 7), FIRST, 64), (2, 7, 7, 64))
    -1
    """
    if layer is None:
        return None
    if layer.shape == shape:
        return layer.axis
    if layer.width is not None and (axis := axis_of_width([layer.width], shape)) is not None:
        return axis
    if layer.axis == FIRST and layer.shape[2:] == shape[2:]:
        return FIRST
    return LAST if layer.axis == LAST and layer.shape[1:-1] == shape[1:-1] else None


def layer_of(module: torch.nn.Module, output: Any) -> Layer | None:
    """What one of torch's layers does with channels; None for a layer that keeps the layout of its input."""
    from torch import Tensor, nn

    if isinstance(module, nn.RNNBase) and isinstance(output, tuple):
        output = output[0]
    if not isinstance(output, Tensor) or output.dim() < 3:
        return None
    shape = tuple(output.shape)
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        width = module.normalized_shape[-1]
        return Layer(shape, axis_of_width([width], shape) or LAST, width)  # subclasses may take channels first
    for names, axis, attribute in _LAYERS:
        if any(isinstance(module, getattr(nn, name)) for name in names):
            return Layer(shape, axis, getattr(module, attribute))
    if isinstance(module, nn.RNNBase):
        return Layer(shape, LAST, None)
    return Layer(shape, FIRST, None) if type(module).__module__ == "torch.nn.modules.pooling" else None
