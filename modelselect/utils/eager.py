"""Torch without its compiler: where nothing is compiled, neither `torch._dynamo` nor sympy is imported.

Torch marks functions that its compiler has to leave alone: methods of optimizers, dispatch modes, and kernels of the
meta device that are written in Python. The first call of such a function imports `torch._dynamo`, which takes more than
a second in each process, also if the process compiles nothing. Checks of such kernels import sympy, for shapes with
unknown sizes.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_METHODS = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
"""The methods of an optimizer that are marked, besides `step`."""

_KEPT = "__dynamo_disable"
"""Where a marked function keeps the form of it that `torch._dynamo` makes at the first call."""


@functools.cache
def eager(optimizer: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    """The class of the same optimizer with methods that are not marked. Its steps are equal to the last bit.

    >>> import torch
    >>> eager(torch.optim.SGD)([torch.zeros(1)], lr=0.1)
    SGD (
    Parameter Group 0
        dampening: 0
        differentiable: False
        foreach: None
        fused: None
        lr: 0.1
        maximize: False
        momentum: 0
        nesterov: False
        weight_decay: 0
    )
    """
    import torch

    unmarked: dict[str, Any] = {name: inspect.unwrap(getattr(optimizer, name)) for name in _METHODS}
    unmarked["step"] = torch.no_grad()(inspect.unwrap(optimizer.step))
    return type(optimizer.__name__, (optimizer,), unmarked)


@contextlib.contextmanager
def unmarked_kernels() -> Iterator[None]:
    """In this context, kernels of the meta device run as they are, unless `torch._dynamo` is there already.

    A marked function looks for an attribute with the form of it that the compiler leaves alone, and imports
    `torch._dynamo` only if there is none. Here the attribute is the function itself; afterwards it is gone. A check of
    something that is known to be true passes at once.
    """
    import torch

    kernels = () if "torch._dynamo" in sys.modules else _marked_kernels()
    for kernel in kernels:
        setattr(kernel, _KEPT, kernel)
    torch._check_with, checks = _passing_what_is_true(), torch._check_with  # noqa: SLF001 (every public check calls it)
    try:
        yield
    finally:
        if torch._check_with is _passing_what_is_true():  # noqa: SLF001
            torch._check_with = checks  # noqa: SLF001
        for kernel in kernels:
            if getattr(kernel, _KEPT, None) is kernel:
                delattr(kernel, _KEPT)


@functools.cache
def _passing_what_is_true() -> Callable[..., None]:
    """Torch's check, which imports sympy only for what is not simply true."""
    import torch

    check = torch._check_with  # noqa: SLF001

    def passing(error: type[BaseException], condition: Any, message: Any) -> None:
        if condition is not True:
            check(error, condition, message)

    return passing


@functools.cache
def _marked_kernels() -> tuple[Callable[..., Any], ...]:
    """The functions behind the marks, among all kernels that torch has in Python."""
    import torch._refs.nn.functional as functional
    from torch import _refs
    from torch._compile import _disable_dynamo
    from torch._decomp import decomposition_table, meta_table

    named = (*vars(_refs).values(), *vars(functional).values())
    kernels: Iterable[Any] = (*meta_table.values(), *decomposition_table.values(), *named)
    mark = _disable_dynamo(lambda: None).__code__
    found: dict[int, Callable[..., Any]] = {}
    for kernel in kernels:
        while inspect.isfunction(kernel):
            behind: Any = inspect.getclosurevars(kernel).nonlocals.get("fn")
            if kernel.__code__ is mark:
                found[id(behind)] = behind
            kernel = behind
    return tuple(found.values())
