"""Counting multiply-accumulates while a module runs on the meta device."""

from __future__ import annotations

import re
import sys
from functools import cache
from math import prod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from modelselect.architectures.twin import tensors_in

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class Counter(Protocol):
    """What has been counted so far.

    Attributes:
        operations: floating-point operations; two are one multiply-accumulate.
    """

    operations: int

    def of_one(self, inputs: Any) -> int:
        """Multiply-accumulates of one input, where the leading axis of `inputs` is the batch."""


def counting() -> AbstractContextManager[Counter]:
    """In this context, the work of convolutions, matrix products and attention is counted.

    The count is that of `torch.utils.flop_counter.FlopCounterMode`, which also keeps it for every module.
    """
    counter: AbstractContextManager[Counter] = _mode()()
    return counter


@cache
def _mode() -> Any:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    shortcuts, formulas = _shortcuts(), _formulas()

    class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
        operations = 0

        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False  # the compiler never sees this mode, and marking it would import torch._dynamo

        def __torch_dispatch__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            named = kwargs or {}
            if not isinstance(func, torch._ops.OpOverload):  # noqa: SLF001 (torch has no public name for operators)
                return NotImplemented
            formula = formulas.get(func) or _formula_of_torch(func)
            shortcut, output = shortcuts.get(func), None
            if shortcut is not None and all(tensor.is_meta for tensor in tensors_in(args)):
                output = shortcut(*args, **named)
            if output is None and formula is None and func is not torch.ops.prim.device.default:
                with self:  # an operator that torch puts together from others
                    parts = func.decompose(*args, **named)
                if parts is not NotImplemented:
                    return parts
            if output is None:
                output = func(*args, **named)
            if formula is not None:
                self.operations += formula(*args, **named, out_val=output)
            return output

        def of_one(self, inputs: Any) -> int:
            batch = next((tensor.shape[0] for tensor in tensors_in(inputs) if tensor.dim()), 1)
            return round(self.operations / 2 / max(batch, 1))

    return Counting


_COUNTED = re.compile("mm|conv|attention")
"""In the names of all operators whose operations torch counts."""


def _formula_of_torch(operator: Any) -> Any:
    """Torch's formula for an operator, or None; the module of formulas imports triton, so most models do without."""
    is_there = "torch.utils.flop_counter" in sys.modules
    if not is_there and _COUNTED.search(operator.overloadpacket.__name__) is None:
        return None
    from torch.utils.flop_counter import flop_registry

    return flop_registry.get(operator.overloadpacket)


def _formulas() -> dict[Any, Any]:
    """Floating-point operations of what most models consist of, by operator: as torch counts them."""
    import torch

    def product(rows: Any, _: Any, *, out_val: Any) -> int:
        return 2 * int(out_val.numel() * rows.shape[-1])

    def linear(_: Any, rows: Any, *__: Any, out_val: Any, **___: Any) -> int:
        return 2 * int(out_val.numel() * rows.shape[-1])

    def convolution(rows: Any, weight: Any, *how: Any, out_val: Any) -> int:
        places = rows if how[4] else out_val  # a transposed one moves over its input
        return 2 * int(rows.shape[0] * prod(places.shape[2:]) * weight.numel())

    aten = torch.ops.aten
    return {
        aten.mm.default: product,
        aten.bmm.default: product,
        aten.addmm.default: linear,
        aten.convolution.default: convolution,
    }


def _shortcuts() -> dict[Any, Any]:
    """What frequent operators give on the meta device, by operator; None to leave a case to torch.

    Torch's own kernels for them are written in Python, put many together from others, and import sympy: they take more
    than half of the time of a run, and 0.4 s once in each process. Shapes, types and layouts are the same here.
    """
    import torch

    def same(rows: Any, *more: Any, **_: Any) -> Any:
        """Of activations, which keep the shape and the order of the axes in memory."""
        if not rows.is_floating_point() or any(isinstance(each, complex) for each in more):
            return None
        if rows.is_contiguous():
            return rows.new_empty(rows.shape)
        order = sorted(range(rows.dim()), key=rows.stride)
        if len(set(rows.stride())) < len(order) or 0 in rows.stride():
            return None
        sides = [rows.shape[axis] for axis in order]
        strides = dict(zip(order, np.cumprod([1, *sides[:-1]]).tolist(), strict=True))
        return torch.empty_strided(
            rows.shape, [strides[axis] for axis in range(len(order))], dtype=rows.dtype, device="meta"
        )

    def in_place(rows: Any, *_: Any, **__: Any) -> Any:
        return rows if rows.is_floating_point() else None

    def of_two(rows: Any, other: Any, **_: Any) -> Any:
        if not isinstance(other, torch.Tensor) or other.dtype != rows.dtype:
            return None
        shape = np.broadcast_shapes(rows.shape, other.shape)
        if rows.shape == shape:
            return same(rows)
        both = rows.is_floating_point() and rows.is_contiguous() and other.is_contiguous()
        return rows.new_empty(shape) if both else None

    def softmax(rows: Any, axis: int, dtype: Any = None) -> Any:
        return same(rows) if dtype is None else None

    def mean(rows: Any, axes: Any, keepdim: bool = False, *, dtype: Any = None) -> Any:
        if dtype is not None or not axes or not rows.is_floating_point():
            return None
        gone = {axis % rows.dim() for axis in axes}
        sides = [1 if axis in gone else size for axis, size in enumerate(rows.shape) if keepdim or axis not in gone]
        return rows.new_empty(sides) if rows.is_contiguous() else None

    def product(rows: Any, others: Any) -> Any:
        fits = rows.dim() == others.dim() and rows.shape[:-2] == others.shape[:-2] and rows.dtype == others.dtype
        return (
            rows.new_empty((*rows.shape[:-1], others.shape[-1]))
            if fits and rows.shape[-1] == others.shape[-2]
            else None
        )

    def linear(bias: Any, rows: Any, weight: Any, **_: Any) -> Any:
        return product(rows, weight) if bias.shape == weight.shape[1:] and bias.dtype == rows.dtype else None

    def batch_norm(rows: Any, *_: Any) -> Any:
        normalised = same(rows)
        return None if normalised is None else (normalised, rows.new_empty(0), rows.new_empty(0))

    def layer_norm(rows: Any, shape: Any, *_: Any) -> tuple[Any, Any, Any]:
        kept = (*rows.shape[: rows.dim() - len(shape)], *(1 for _ in shape))
        return rows.new_empty(rows.shape), rows.new_empty(kept), rows.new_empty(kept)

    def convolution(rows: Any, weight: Any, bias: Any, *how: Any) -> Any:
        stride, padding, dilation, transposed, _, groups = how
        sides = _window(rows, weight.shape[2:], stride, padding, dilation)
        if transposed or sides is None or weight.shape[1] * groups != rows.shape[1]:
            return None
        return rows.new_empty((rows.shape[0], weight.shape[0], *sides))

    def max_pool(
        rows: Any, kernel: Any, stride: Any = (), padding: Any = (0, 0), dilation: Any = (1, 1), up: bool = False
    ) -> Any:
        pooled = average_pool(rows, kernel, stride, padding, up, dilation=dilation)
        return None if pooled is None else (pooled, rows.new_empty(pooled.shape, dtype=torch.int64))

    def average_pool(
        rows: Any, kernel: Any, stride: Any = (), padding: Any = (0, 0), up: bool = False, *_: Any, **more: Any
    ) -> Any:
        sides = _window(rows, kernel, stride or kernel, padding, more.get("dilation", (1, 1)), up=up)
        return rows.new_empty((*rows.shape[:2], *sides)) if sides is not None and rows.is_contiguous() else None

    def joined(parts: Any, axis: int = 0) -> Any:
        first = parts[0]
        if not all(part.is_contiguous() and part.dim() == first.dim() and part.dtype == first.dtype for part in parts):
            return None
        sides = [*first.shape[: axis % first.dim()], sum(part.shape[axis] for part in parts)]
        sides += first.shape[len(sides) :]
        fits = all(part.shape[at] == sides[at] for part in parts for at in range(len(sides)) if at != axis % len(sides))
        return first.new_empty(sides) if fits else None

    aten = torch.ops.aten
    activations = ("relu", "hardtanh", "clamp", "gelu", "silu", "hardswish", "hardsigmoid", "sigmoid", "tanh")
    return {
        **{getattr(aten, name).default: same for name in activations},
        **{getattr(aten, f"{name}_").default: in_place for name in activations},
        aten.add.Tensor: of_two,
        aten.mul.Tensor: of_two,
        aten.mul.Scalar: same,
        aten._safe_softmax.default: softmax,  # noqa: SLF001 (the operator's name)
        aten.mean.dim: mean,
        aten.mm.default: product,
        aten.bmm.default: product,
        aten.addmm.default: linear,
        aten.convolution.default: convolution,
        aten.max_pool2d_with_indices.default: max_pool,
        aten.avg_pool2d.default: average_pool,
        aten.cat.default: joined,
        aten._native_batch_norm_legit_no_training.default: batch_norm,  # noqa: SLF001 (the operator's name)
        aten.native_layer_norm.default: layer_norm,
    }


def _window(
    rows: Any, kernel: Any, stride: Any, padding: Any, dilation: Any = (1, 1), *, up: bool = False
) -> list[int] | None:
    """The sides of what a window that moves over `rows` gives. `up`: it may leave the rows at their end."""
    given, sides = (kernel, stride, padding, dilation), list[int]()
    if any(len(each) != rows.dim() - 2 for each in given) or not rows.shape[1]:
        return None
    for size, taken, step, more, spread in zip(rows.shape[2:], *given, strict=True):
        room = size + 2 * more - spread * (taken - 1) - 1
        side = -(-room // step) if up else room // step
        sides.append(side + (not up or side * step < size + more))
    return sides if min(sides) > 0 else None
