"""Devices, precisions, and how out-of-memory errors are recognised."""

from __future__ import annotations

import contextlib
import glob
import math
import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from modelselect.errors import InvalidInputError
from modelselect.executor import Needs
from modelselect.utils.system import available_memory

PRECISIONS = ("float32", "bfloat16", "float16")
"""Valid values of `precision`."""

GPU_FILES = ("/dev/nvidia*", "/dev/nvhost*", "/dev/nvgpu*", "/dev/nvmap", "/dev/dxg", "/dev/kfd")
"""Files that the drivers of GPUs make on Linux. Without any of them torch finds no CUDA device and no AMD one."""

WORKING_BYTES = 1_000_000_000
"""Memory of a process with its libraries, and of a batch in it."""

GPU_BATCH_BYTES = 3_000_000_000
"""Memory of a GPU that the layers of a large network take for a batch."""

GPU_STEP = 0.05
"""Shares of a GPU are multiples of it."""


@dataclass(frozen=True, slots=True)
class Compute:
    """How a forward pass is computed.

    Attributes:
        device: such as `"cpu"` or `"cuda:1"`.
        batch_size: rows in a forward pass; None: what suits device and candidate.
        precision: one of `PRECISIONS`.
        compile: whether the module is compiled first.
        extractor: name of the extractor; None for the first that supports candidate and device.
    """

    device: str = "cpu"
    batch_size: int | None = None
    precision: str = "float32"
    compile: bool = False
    extractor: str | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of these names of `Extractor.extract`."""
        return {name: getattr(self, name) for name in ("device", "batch_size", "precision", "compile")}

    @property
    def kind(self) -> str:
        """The device without its number: `"cuda"`."""
        return self.device.split(":")[0]

    @property
    def arithmetic(self) -> str:
        """What decides the last digits of features, apart from the device: precision, and whether compiled."""
        return self.precision + (" compiled" if self.compile else "")


def arithmetic(precision: str, device: str) -> contextlib.AbstractContextManager[Any]:
    """Autocast for less than float32: matrix products and convolutions use it, the rest stays in float32."""
    import torch

    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.split(":")[0], dtype=getattr(torch, precision))


def check_precision(precision: str, device: str) -> None:
    """Raises InvalidInputError if the precision is unknown, or would be emulated on this device."""
    if precision not in PRECISIONS:
        raise InvalidInputError(f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}")
    if precision == "float32":
        return
    import torch

    kind = device.split(":")[0]
    if kind == "cpu" and not (precision == "bfloat16" and _has_bfloat16_instructions()):
        raise InvalidInputError(
            f"precision {precision!r} would only be emulated on this processor, which is slower than float32. Use "
            "precision='float32' (--precision float32), or another device= (--device)."
        )
    if kind == "cuda" and precision == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise InvalidInputError(
            "this GPU has no bfloat16. Use precision='float16' (--precision float16) or precision='float32' "
            "(--precision float32)."
        )


def _has_bfloat16_instructions() -> bool:
    import torch

    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.6 lacks it
    return bool(capabilities.get("avx512_bf16") or capabilities.get("bf16"))


def choose_device(device: str, extractors: Collection[str] = ()) -> str:
    """`"auto"` -> `"cuda"` if torch has a CUDA device, else `"cpu"`; any other device is checked and returned.

    Args:
        device: as the user gave it.
        extractors: names of the registered extractors. A kind of device that torch does not know is accepted if an
            extractor has its name: `"tpu:0"` with an extractor `tpu`. That extractor decides what it can run there.

    Raises:
            InvalidInputError: torch does not have the device here, and no extractor has its name.
    """
    device = str(device)
    if device == "cpu" or (device == "auto" and not _may_have_gpu()):
        return "cpu"
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.device(device)
    except RuntimeError:
        if device.split(":")[0] in extractors:
            return device
    try:
        torch.empty(0, device=device)
    except Exception as error:
        raise InvalidInputError(
            f"device {device!r} cannot be used here ({first_line(error)}). Expected 'auto', 'cpu', 'cuda', 'cuda:N', "
            f"or a device with the name of an extractor (registered: {', '.join(extractors) or 'none'})."
        ) from None
    return device


def _may_have_gpu() -> bool:
    """Whether torch could find a GPU. Only torch knows it, but importing torch takes a second."""
    return "torch" in sys.modules or sys.platform != "linux" or any(map(glob.glob, GPU_FILES))


def free_memory(device: str) -> int | None:
    """Bytes that are free on the device now; None if unknown."""
    if device.split(":")[0] == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    return available_memory() if device == "cpu" else None


def needs_of(device: str, weights: int, *, alone: bool = False) -> Needs:
    """What the work on one candidate takes of a machine.

    Args:
        device: where it is computed.
        weights: bytes of what is kept for the candidate's parameters; 0 if unknown.
        alone: whether nothing else may run on its GPU.

    >>> needs_of("cpu", 100_000_000).memory
    1200000000
    """
    needed = WORKING_BYTES + 2 * weights
    if device.split(":")[0] != "cuda":
        return Needs(needed)
    import torch

    total = torch.cuda.get_device_properties(device).total_memory
    share = math.ceil((needed + GPU_BATCH_BYTES) / total / GPU_STEP) * GPU_STEP
    return Needs(needed, 1.0 if alone or not weights else round(min(1.0, share), 2))


def is_out_of_memory(error: BaseException) -> bool:
    """True for what torch raises if a device, or the machine, has no memory left."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
