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
            output = func(*args, **named)
            if formula is not None:
                self.operations += formula(*args, **named, out_val=output)
            return output

        def of_one(self, inputs: Any) -> int:
            batch = next((tensor.shape[0] for tensor in tensors_in(inputs) if tensor.dim()), 1)
            return round(self.operations / 2 / max(batch, 1))

    return Counting
