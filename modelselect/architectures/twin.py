"""A copy of a module that can be traced, without weights on the meta device."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from modelselect.errors import CandidateError

if TYPE_CHECKING:
    import torch


def make_twin(module: torch.nn.Module, device: str, *, requires_grad: bool) -> torch.nn.Module:
    """A copy in evaluation mode with every tensor on `device`; on the meta device without values."""
    import torch

    memo: dict[int, Any] = {}

    def twin_of(tensor: torch.Tensor) -> torch.Tensor:
        is_parameter = isinstance(tensor, torch.nn.Parameter)
        if device == "meta" or tensor.is_meta:
            twin = torch.zeros_like(tensor, device=device, requires_grad=False)
        else:  # parameters may share memory with the original: no forward pass writes to them
            twin = tensor.detach().to(device, copy=not is_parameter or tensor.is_inference())
        return torch.nn.Parameter(twin, requires_grad and twin.is_floating_point()) if is_parameter else twin

    try:
        # deepcopy copies no weights, because the memo holds all tensors. Ties between parameters are kept.
        with torch.inference_mode(False):
            for part in module.modules():
                for tensor in tensors_in(list(vars(part).values())):
                    if id(tensor) not in memo:
                        memo[id(tensor)] = twin_of(tensor)
            twin = copy.deepcopy(module, memo).eval()
    except Exception as error:  # copying runs the module's code, which may raise anything
        raise CandidateError(
            f"{type(module).__name__} cannot be copied to the {device} device to be traced "
            f"({type(error).__name__}: {error}). Lazy modules need one forward pass first."
        ) from error
    level_backends(twin)
    return twin


def level_backends(twin: torch.nn.Module) -> None:
    """Makes layers that backends split in different ways do the same everywhere."""
    import torch

    for part in twin.modules():
        if isinstance(part, torch.nn.Linear):
            # Product and sum are one operation only for a contiguous input, and backends differ in what is contiguous.
            part.register_forward_pre_hook(lambda _, given: (given[0].contiguous(), *given[1:]) if given else None)
        elif isinstance(part, torch.nn.RNNBase):
            part.forward = _as_one_operation(part)


def _as_one_operation(recurrence: torch.nn.RNNBase) -> Callable[..., Any]:
    """The layer's forward pass as one autograd node: unrolled, it would be as large as the input is long."""
    import torch

    forward = recurrence.forward

    def one(given: Any, state: Any = None) -> Any:
        if not isinstance(given, torch.Tensor):  # a packed sequence
            return forward(given, state)

        def run(_: Any, *__: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(tensors_in(forward(given, state)))

        function: Any = type(type(recurrence).__name__, (torch.autograd.Function,), {"forward": staticmethod(run)})
        output, *last = function.apply(given, *tensors_in(state))
        return output, tuple(last) if len(last) > 1 else last[0]

    return one


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor in nested mappings, sequences and dataclasses, in order."""
    import dataclasses

    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from tensors_in(getattr(value, field.name))
