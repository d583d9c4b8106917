"""Counting multiply-accumulates while a module runs on the meta device."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

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
    """In this context, the work of convolutions, matrix products and attention is counted, by torch's own formulas.

    The count is that of `torch.utils.flop_counter.FlopCounterMode`, which also keeps it for every module.
    """
    counter: AbstractContextManager[Counter] = _mode()()
    return counter


@cache
def _mode() -> Any:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    shortcuts = _shortcuts()

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
            formula: Any = flop_registry.get(func.overloadpacket)
            if formula is None and func is not torch.ops.prim.device.default:
                with self:  # an operator that torch puts together from others
                    parts = func.decompose(*args, **named)
                if parts is not NotImplemented:
                    return parts
            shortcut = shortcuts.get(func) if args and getattr(args[0], "is_meta", False) else None
            output = func(*args, **named) if shortcut is None else shortcut(*args)
            if formula is not None:
                self.operations += formula(*args, **named, out_val=output)
            return output

        def of_one(self, inputs: Any) -> int:
            batch = next((tensor.shape[0] for tensor in tensors_in(inputs) if tensor.dim()), 1)
            return round(self.operations / 2 / max(batch, 1))

    return Counting


def _shortcuts() -> dict[Any, Any]:
    """What normalisations give on the meta device, by operator.

    Torch puts them together there from a dozen operations in Python: half of the time of a run. Shapes and layouts of
    the results are the same.
    """
    import torch

    def batch_norm(rows: Any, *_: Any) -> tuple[Any, Any, Any]:
        return torch.empty_like(rows), rows.new_empty(0), rows.new_empty(0)

    def layer_norm(rows: Any, shape: Any, *_: Any) -> tuple[Any, Any, Any]:
        kept = (*rows.shape[: rows.dim() - len(shape)], *(1 for _ in shape))
        same = torch.empty_like(rows, memory_format=torch.contiguous_format)
        return same, rows.new_empty(kept), rows.new_empty(kept)

    aten = torch.ops.aten
    return {
        aten._native_batch_norm_legit_no_training.default: batch_norm,  # noqa: SLF001 (the operator's name)
        aten.native_layer_norm.default: layer_norm,
    }
