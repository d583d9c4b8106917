"""torch modules: their mode, their device, and a digest of their weights."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from modelselect.utils.code import tensor_bytes

if TYPE_CHECKING:
    import torch

_CALLING = threading.Lock()
_CALLED: WeakKeyDictionary[torch.nn.Module, Any] = WeakKeyDictionary()
"""By module, what its calls wait for; `_CALLING` guards it."""

_EVALUATING = threading.Lock()
_EVALUATED: WeakKeyDictionary[torch.nn.Module, tuple[int, bool]] = WeakKeyDictionary()
"""By submodule, the contexts that need it in evaluation mode, and its earlier mode; `_EVALUATING` guards it."""


def device_of(module: torch.nn.Module) -> torch.device | None:
    """The device of the module's first parameter or buffer; None if the module has neither."""
    return next((tensor.device for tensor in chain(module.parameters(), module.buffers())), None)


def half_or_double(module: torch.nn.Module) -> torch.dtype | None:
    """The dtype of the module's first floating-point parameter, if that is not float32; else None."""
    import torch

    dtype = next((parameter.dtype for parameter in module.parameters() if parameter.is_floating_point()), torch.float32)
    return dtype if dtype in (torch.float16, torch.bfloat16, torch.float64) else None


@contextlib.contextmanager
def alone_with(module: torch.nn.Module) -> Iterator[None]:
    """No other thread is in such a context of this module: the hooks of one would see what the other passes forward.

    What runs in it must not wait for a thread that needs the module, too.
    """
    with _CALLING:
        lock = _CALLED.setdefault(module, threading.RLock())
    with lock:
        yield


@contextlib.contextmanager
def in_evaluation_mode(*modules: torch.nn.Module) -> Iterator[None]:
    """Puts the modules into evaluation mode.

    A submodule is back in its earlier mode when the last thread has left its context.
    """
    parts = [submodule for module in modules for submodule in module.modules()]
    with _EVALUATING:
        for part in parts:
            threads, earlier = _EVALUATED.get(part, (0, part.training))
            _EVALUATED[part] = threads + 1, earlier
    try:
        for module in modules:
            module.eval()
        yield
    finally:
        with _EVALUATING:
            for part in parts:
                threads, earlier = _EVALUATED.pop(part)
                if threads > 1:
                    _EVALUATED[part] = threads - 1, earlier
                else:
                    part.training = earlier


def weights_digest(module: torch.nn.Module, *more: str) -> str:
    """SHA-256 over the module's parameters and buffers by name, and over `more`, which else identifies the module.

    >>> import torch
    >>> weights_digest(torch.nn.Identity()) == weights_digest(torch.nn.Identity(), "other code")
    False
    """
    digest = hashlib.sha256("\0".join(more).encode())
    for name, tensor in sorted(chain(module.named_parameters(), module.named_buffers())):
        digest.update(f"{name}:{tuple(tensor.shape)}:{tensor.dtype}".encode())
        digest.update(tensor_bytes(tensor))
    for part_name, part in sorted(module.named_modules(), key=lambda named: named[0]):
        if is_quantized(part):
            for name, value in sorted(part.state_dict().items()):
                digest.update(f"{part_name}.{name}".encode())
                for tensor in value if isinstance(value, tuple) else (value,):
                    is_tensor = hasattr(tensor, "dequantize")
                    digest.update(tensor_bytes(dequantized(tensor)) if is_tensor else str(tensor).encode())
    return digest.hexdigest()


def is_quantized(part: torch.nn.Module) -> bool:
    """True for torch's quantised layers, whose weights are no parameters."""
    return type(part).__module__.startswith("torch.ao.nn")


def dequantized(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in floating point if it is quantised, else as it is."""
    return tensor.dequantize() if tensor.is_quantized else tensor
