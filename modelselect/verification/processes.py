"""Training in several processes: which one is first, and what they share."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelselect.extraction.processor import ready_processor

if TYPE_CHECKING:
    from accelerate import Accelerator

_MIXED_PRECISION = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
"""accelerate's names of the precisions."""


def launched_together() -> bool:
    """True if this is one of several processes that `accelerate launch` or torchrun started for one training."""
    return int(os.environ.get("WORLD_SIZE", 1)) > 1 and "RANK" in os.environ


def is_first_process() -> bool:
    """False in the second, third, ... of several processes that train together; else True."""
    return not launched_together() or os.environ["RANK"] == "0"


@contextlib.contextmanager
def accelerated(device: str, precision: str, **more: Any) -> Iterator[Accelerator]:
    """An accelerator of this device and precision. It does not touch a user's own, which would share its state.

    On the CPU, memory and threads are set as for a forward pass; see `ready_processor`.

    Args:
        device: such as `"cuda:1"`.
        precision: one of `PRECISIONS`.
        more: further arguments of `Accelerator`.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState, GradientState, PartialState

    shared = [kind._shared_state for kind in (AcceleratorState, PartialState, GradientState)]  # noqa: SLF001 (none is public)
    before = [dict(state) for state in shared]
    asked = os.environ.get("ACCELERATE_TORCH_DEVICE")
    for state in shared:
        state.clear()
    try:
        if not launched_together():  # several processes have one device each
            os.environ["ACCELERATE_TORCH_DEVICE"] = device
        accelerator = Accelerator(
            cpu=device == "cpu",
            mixed_precision=_MIXED_PRECISION[precision],
            # The source classifier stays in the module, though no feature depends on it.
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
            **more,
        )
        _restore_environment(asked)
        with ready_processor() if device == "cpu" else contextlib.nullcontext():
            yield accelerator
    finally:
        _restore_environment(asked)
        for state, values in zip(shared, before, strict=True):
            state.clear()
            state.update(values)


def _restore_environment(device: str | None) -> None:
    if device is None:
        os.environ.pop("ACCELERATE_TORCH_DEVICE", None)
    else:
        os.environ["ACCELERATE_TORCH_DEVICE"] = device


def prepared(network: Any, optimizer: Any, accelerator: Accelerator) -> tuple[Any, Any]:
    """What accelerate trains in place of both.

    One process without mixed precision trains them as they are. To find that out, accelerate imports torch's
    distributed tensors, for a third of a second.
    """
    if _is_plain(accelerator):
        return network, optimizer
    both: tuple[Any, Any] = accelerator.prepare(network, optimizer)
    return both


def unwrapped(network: Any, accelerator: Accelerator) -> Any:
    """The network that `prepared` was given. To unwrap, accelerate imports torch's compiler, for a second."""
    return network if _is_plain(accelerator) else accelerator.unwrap_model(network)


def _is_plain(accelerator: Accelerator) -> bool:
    return bool(accelerator.num_processes == 1 and accelerator.mixed_precision == "no")


def share_buffers(network: Any, accelerator: Accelerator) -> None:
    """Copies the first process's statistics of batch normalisation to all processes."""
    if accelerator.num_processes > 1:
        from accelerate.utils import broadcast

        for buffer in network.buffers():
            buffer.copy_(broadcast(buffer))


def summed_over_processes(value: float, accelerator: Accelerator) -> float:
    """The sum over all processes."""
    import torch

    if accelerator.num_processes == 1:
        return value
    there = torch.tensor(value, dtype=torch.float64, device=accelerator.device)
    return float(accelerator.reduce(there, "sum"))


@contextlib.contextmanager
def reproducible(seed: int, device: str) -> Iterator[None]:
    """Random numbers from the seed, full float32 precision, deterministic kernels; all restored afterwards."""
    import torch

    kind = torch.device(device)
    with contextlib.ExitStack() as stack:
        if kind.type == "cuda":
            index = torch.cuda.current_device() if kind.index is None else kind.index
            stack.enter_context(torch.random.fork_rng(devices=[index]))
            stack.enter_context(torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False))
        else:
            stack.enter_context(torch.random.fork_rng(devices=[]))
        torch.manual_seed(seed)
        yield
