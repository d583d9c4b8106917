"""One training run: a copy of a backbone under a fresh linear head, epoch by epoch, resumable after each."""

from __future__ import annotations

import contextlib
import copy
import gc
import math
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import CandidateError, InvalidInputError, OutOfMemoryError
from modelselect.extraction import is_out_of_memory
from modelselect.store import explained
from modelselect.verification.recipe import FineTuning, Rates

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

    from modelselect.backbone import Backbone
    from modelselect.spool import Inputs

T = TypeVar("T")

LEAST_PART = 2
"""Rows that have to fit onto the device at once: batch normalisation cannot train on one."""

_MIXED_PRECISION = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
"""What accelerate calls the precisions."""


class Rows(NamedTuple):
    """Labelled rows: where they are among the prepared `inputs`, and their classes, counted from 0."""

    inputs: Inputs
    places: NDArray[np.int64]
    targets: NDArray[np.int64]


class Epoch(NamedTuple):
    """What is known after an epoch.

    Attributes:
        loss: mean cross-entropy over the training rows, while they were trained on.
        accuracy: on the validation split; None where there is none.
        validation_loss: mean cross-entropy there.
    """

    loss: float
    accuracy: float | None = None
    validation_loss: float | None = None


Report = Callable[[int, Epoch], None]
"""Called with the number of an epoch, from 1, and what is known after it; may raise to end the training."""


@dataclass(frozen=True)
class Job:
    """What is trained, on what, and where: all but the rates.

    Attributes:
        backbone: what is fine-tuned; it stays as it was.
        method: `full`, `lora`, or `head`, for which the backbone passes on the features that it is given.
        classes: number of classes.
        training: rows to train on.
        validation: rows that tell the best epoch; None keeps the last.
    """

    backbone: Backbone
    method: str
    classes: int
    training: Rows
    validation: Rows | None
    settings: FineTuning
    seed: int
    device: str


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
        network: `Network` with the kept epoch's weights, on the device, in evaluation mode, adapters merged.
        history: of all its epochs.
        kept: number of the epoch whose weights it has, from 1.
        part: rows that were on the device at once.
    """

    network: Any
    history: list[Epoch]
    kept: int
    part: int


class Checkpoint:
    """What a killed training goes on from: one file, replaced as a whole after every epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, state: Mapping[str, Any]) -> None:
        import torch

        partial = self.path.with_suffix(".partial")
        with explained(f"the checkpoint {self.path}", "written"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                torch.save(dict(state), file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path)

    def load(self) -> dict[str, Any] | None:
        """What was saved last; None if nothing was, or nothing that can be read."""
        import torch

        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile):
            return None
        return state

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)


def train_in_memory(
    job: Job, rates: Rates, part: int, checkpoint: Checkpoint | None = None, report: Report | None = None
) -> Trained:
    """`train` with as many rows on the device at once as fit: from `part` on, halved until they do.

    Raises:
        OutOfMemoryError: not even two rows fit.
        CandidateError: the loss is not finite.
    """

    def attempt(size: int) -> Trained:
        return train(job, rates, size, checkpoint, report)

    def forget() -> None:
        if checkpoint:  # from the start, so that the result is that of the smaller part
            checkpoint.discard()

    held = checkpoint.load() if checkpoint else None
    return within_memory(attempt, part if held is None else held["part"], job.device, forget)[0]


def within_memory(
    attempt: Callable[[int], T], part: int, device: str, between: Callable[[], None] | None = None
) -> tuple[T, int]:
    """What `attempt` gives for so many rows at once, halved each time that memory runs out, and for how many it did.

    Raises:
        OutOfMemoryError: not even two rows fit; or one of several processes ran out, whose others cannot follow.
    """
    import torch

    while True:
        try:
            return attempt(part), part
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if part <= LEAST_PART:
                raise OutOfMemoryError(
                    f"fine-tuning does not fit into memory on {device!r}, even with two rows at a time. Use a device "
                    "with more memory, a smaller input size, or a smaller candidate."
                ) from None
            if launched_together():
                raise OutOfMemoryError(
                    f"fine-tuning with {part} rows at a time does not fit into memory on {device!r}, and of several "
                    "processes one cannot take less by itself. Lower FineTuning(batch_size=...)."
                ) from None
        part = max(LEAST_PART, part // 2)
        if between:
            between()
        if torch.device(device).type == "cuda":
            gc.collect()  # what failed may hold itself in cycles
            torch.cuda.empty_cache()


def train(
    job: Job, rates: Rates, part: int, checkpoint: Checkpoint | None = None, report: Report | None = None
) -> Trained:
    """Trains from the last epoch that the checkpoint holds, or from the start.

    The result depends on the arguments alone: not on what ran before, and not on where it was killed in between.
    `report` hears of every epoch, also of those before the checkpoint; what it raises ends the training.
    """
    import torch
    from torch.nn.functional import cross_entropy

    settings, count = job.settings, len(job.training.places)
    batches = part_count(count, settings.batch_size)
    steps = settings.epochs * batches
    with reproducible(job.seed, job.device), accelerated(job.device, settings.precision) as accelerator:
        network = _network(job, accelerator.device)
        if accelerator.process_index:
            torch.manual_seed(job.seed + accelerator.process_index)  # dropout is to differ; weights come from the first
        optimizer = _optimizer(network, settings, rates)
        peaks = [group["lr"] for group in optimizer.param_groups]
        prepared, optimizer = accelerator.prepare(network, optimizer)
        progress = _Progress(job, part)
        order = np.random.default_rng(job.seed)
        held = checkpoint.load() if checkpoint else None
        if held is not None:
            progress.resume(held, network, optimizer, accelerator)
        for number, epoch in enumerate(progress.history, 1):
            order.permutation(count)
            if report:
                report(number, epoch)
        while not progress.finished:
            _training_mode(network, job.method)
            total = 0.0
            for number, batch in enumerate(np.array_split(order.permutation(count), batches)):
                factor = settings.learning_rate_factor(len(progress.history) * batches + number, steps)
                for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                    group["lr"] = peak * factor
                optimizer.zero_grad()
                shares = np.array_split(batch, accelerator.num_processes)
                parts = np.array_split(shares[accelerator.process_index], _even_part_count(shares, part))
                for index, places in enumerate(parts):
                    waits = accelerator.no_sync(prepared) if index + 1 < len(parts) else contextlib.nullcontext()
                    with waits:
                        logits = prepared(_batch(job, job.training, places, accelerator.device))
                        targets = torch.from_numpy(job.training.targets[places]).to(accelerator.device)
                        loss = cross_entropy(logits, targets, reduction="sum")
                        # Gradients are averaged over processes, of which each has but a share of the batch.
                        accelerator.backward(loss * accelerator.num_processes / len(batch))
                    total += loss.item()
                if not math.isfinite(total):
                    raise CandidateError(
                        f"the loss became {total} in epoch {len(progress.history) + 1} of fine-tuning. Lower the "
                        f"learning rates (backbone {rates.backbone:g}, head {rates.head:g})."
                    )
                optimizer.step()
            _share_buffers(network, accelerator)
            known = Epoch(_summed(total, accelerator) / count)
            if job.validation is not None:
                right, cost = _evaluate(network, job, job.validation, part, accelerator)
                known = known._replace(
                    accuracy=right / len(job.validation.places), validation_loss=cost / len(job.validation.places)
                )
            progress.add(known, network)
            if checkpoint:
                state = progress.state(network, optimizer, accelerator)
                if accelerator.is_main_process:
                    checkpoint.save(state)
            if report:
                report(len(progress.history), known)
        if progress.best is not None:
            network.load_state_dict(progress.best)
        network.merge()
        kept = accelerator.unwrap_model(prepared)
        if accelerator.device.type != "cpu":
            accelerator.free_memory()
    return Trained(kept.eval(), progress.history, progress.kept, part)


def predict(network: Any, job: Job, rows: Rows, part: int) -> NDArray[np.int64]:
    """The class that the network takes each row for, counted from 0."""
    import torch

    with reproducible(job.seed, job.device), accelerated(job.device, job.settings.precision) as accelerator:
        network.eval()
        found = []
        with torch.no_grad(), accelerator.autocast():
            for places in np.array_split(np.arange(len(rows.places)), -(-len(rows.places) // part)):
                found.append(network(_batch(job, rows, places, accelerator.device)).argmax(1).cpu().numpy())
    return np.concatenate(found)


def launched_together() -> bool:
    """True if this is one of several processes that `accelerate launch` or torchrun have started for one training."""
    return int(os.environ.get("WORLD_SIZE", 1)) > 1 and "RANK" in os.environ


def is_first_process() -> bool:
    """True but in the second, third, ... of several processes that train together."""
    return not launched_together() or os.environ["RANK"] == "0"


def part_count(rows: int, largest: int) -> int:
    """How many parts of nearly equal size to split rows into: none larger than wanted, and none of a single row.

    Batch normalisation cannot train on one row; so three rows in parts of two are one part of three.
    """
    return max(1, min(-(-rows // largest), rows // 2))


def _even_part_count(shares: list[NDArray[np.int64]], largest: int) -> int:
    """`part_count`, the same in every process: shares of a batch differ by one row."""
    if len(shares) == 1:
        return part_count(len(shares[0]), largest)
    if len(shares[-1]) < LEAST_PART:
        raise InvalidInputError(
            f"a batch of {sum(map(len, shares))} rows is too small for {len(shares)} processes: each needs two. Raise "
            "FineTuning(batch_size=...), or start fewer processes."
        )
    return max(1, min(-(-len(shares[0]) // largest), len(shares[-1]) // 2))


# --- the network -----------------------------------------------------------------------------------------------------


def _network(job: Job, device: torch.device) -> Any:
    """A copy of the backbone under a fresh head, on the device."""
    import torch

    class Network(torch.nn.Module):
        """Logits (B, classes), float32, from a batch as the backbone's module takes it."""

        def __init__(self, body: torch.nn.Module, head: torch.nn.Linear, adapters: Any) -> None:
            super().__init__()
            self.body, self.head = body, head
            self._adapters = [adapters]  # in a list, so that it is no submodule: the body is in it

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.head(job.backbone.read(self.body, batch).features.float())
            return logits

        def merge(self) -> None:
            """Adds the adapters to the weights that they adapt."""
            (adapters,) = self._adapters
            if adapters is not None:
                self.body = adapters.merge_and_unload()
                self._adapters = [None]

    body = copy.deepcopy(job.backbone.module).to(device).eval()
    example = _batch(job, job.training, np.arange(2), device)
    with torch.no_grad():
        width = job.backbone.read(body, example).features.shape[1]
    adapters = None
    if job.method == "lora":
        adapters = _adapters(job, body, example)
    elif job.method == "full":
        for parameter in body.parameters():
            if parameter.is_floating_point():
                parameter.requires_grad_()
    return Network(body, torch.nn.Linear(width, job.classes).to(device), adapters)


def _adapters(job: Job, body: torch.nn.Module, example: torch.Tensor) -> Any:
    """LoRA adapters, put into the linear layers that features depend on; into convolutions where there are none.

    Raises:
        CandidateError: peft has no adapter for any layer of it.
    """
    import torch
    from peft import LoraConfig, LoraModel

    for parameter in body.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    job.backbone.read(body, example).features.float().sum().backward()  # type: ignore[no-untyped-call]
    linear, convolutions = [], []
    for name, layer in body.named_modules():
        if getattr(getattr(layer, "weight", None), "grad", None) is None:
            continue  # the source classifier, say, on which no feature depends
        if type(layer) is torch.nn.Linear:
            linear.append(name)
        elif type(layer) is torch.nn.Conv2d and layer.groups == 1:
            convolutions.append(name)
    body.zero_grad(set_to_none=True)
    names = linear or convolutions
    if not names:
        raise CandidateError(
            "verify='lora' does not apply to it: it has neither linear layers nor plain convolutions for adapters. Use "
            "verify='full' or 'head'."
        )
    rank = job.settings.lora_rank
    pattern = "|".join(name.replace(".", r"\.") for name in names)
    try:
        return LoraModel(body, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=pattern), "default")
    except ValueError as error:
        raise CandidateError(
            f"peft cannot put LoRA adapters into it ({error}). Use verify='full' or 'head'."
        ) from error


def _optimizer(network: Any, settings: FineTuning, rates: Rates) -> torch.optim.Optimizer:
    import torch

    groups = []
    for module, rate in ((network.body, rates.backbone), (network.head, rates.head)):
        tensors = [parameter for parameter in module.parameters() if parameter.requires_grad]
        for decayed in (True, False):
            chosen = [tensor for tensor in tensors if (tensor.dim() > 1) == decayed]
            if chosen:
                groups.append({"params": chosen, "lr": rate, "weight_decay": rates.weight_decay if decayed else 0.0})
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=settings.momentum, nesterov=settings.momentum > 0)
    return torch.optim.AdamW(groups)


def _training_mode(network: Any, method: str) -> None:
    """All of it for full fine-tuning; with adapters, the statistics of batch normalisation stay with the weights."""
    from torch.nn.modules.batchnorm import _BatchNorm

    network.train()
    if method == "lora":
        for module in network.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def _batch(job: Job, rows: Rows, places: NDArray[np.int64], device: torch.device) -> torch.Tensor:
    import torch

    prepared = rows.inputs[torch.from_numpy(rows.places[places])]
    return job.backbone.preprocessing.finish(prepared.to(device))


def _evaluate(network: Any, job: Job, rows: Rows, part: int, accelerator: Accelerator) -> tuple[int, float]:
    """How many rows are classified rightly, and the sum of their cross-entropies; over all processes."""
    import torch
    from torch.nn.functional import cross_entropy

    network.eval()
    right, cost = 0, 0.0
    share = np.array_split(np.arange(len(rows.places)), accelerator.num_processes)[accelerator.process_index]
    with torch.no_grad():
        for places in np.array_split(share, max(1, -(-len(share) // part))):
            if len(places):
                logits = network(_batch(job, rows, places, accelerator.device))
                targets = torch.from_numpy(rows.targets[places]).to(accelerator.device)
                right += int((logits.argmax(1) == targets).sum())
                cost += float(cross_entropy(logits, targets, reduction="sum"))
    return int(_summed(right, accelerator)), _summed(cost, accelerator)


# --- what a training has come to -------------------------------------------------------------------------------------


class _Progress:
    """The epochs so far, and the weights of the best of them where there is a validation split to tell it by."""

    def __init__(self, job: Job, part: int) -> None:
        self.epochs, self.patience = job.settings.epochs, job.settings.patience
        self.part = part
        self.history: list[Epoch] = []
        self.kept = 0
        self.best: dict[str, torch.Tensor] | None = None

    @property
    def finished(self) -> bool:
        """True after the last epoch, or where patience has run out."""
        waited = len(self.history) - self.kept
        return len(self.history) == self.epochs or (self.patience is not None and waited >= self.patience)

    def add(self, epoch: Epoch, network: Any) -> None:
        """Takes note of an epoch, and of its weights if it is the best so far: by accuracy, then by loss."""
        self.history.append(epoch)
        if epoch.accuracy is None:
            self.kept = len(self.history)
            return
        if self.kept == 0 or _quality(epoch) > _quality(self.history[self.kept - 1]):
            self.kept = len(self.history)
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}

    def state(self, network: Any, optimizer: Any, accelerator: Accelerator) -> dict[str, Any]:
        """All that the epochs to come depend on, and what is known of those before; of every process."""
        import torch
        from accelerate.utils import gather_object

        random = [torch.get_rng_state()]
        if accelerator.device.type == "cuda":
            random.append(torch.cuda.get_rng_state(accelerator.device))
        return {
            "network": network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scaler": accelerator.scaler.state_dict() if accelerator.scaler else None,
            "random": gather_object([random]),
            "history": [tuple(epoch) for epoch in self.history],
            "kept": self.kept,
            "best": self.best,
            "part": self.part,
        }

    def resume(self, state: Mapping[str, Any], network: Any, optimizer: Any, accelerator: Accelerator) -> None:
        import torch

        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        if accelerator.scaler and state["scaler"]:
            accelerator.scaler.load_state_dict(state["scaler"])
        random = state["random"][accelerator.process_index]
        torch.set_rng_state(random[0])
        if len(random) > 1 and accelerator.device.type == "cuda":
            torch.cuda.set_rng_state(random[1], accelerator.device)
        self.history = [Epoch(*epoch) for epoch in state["history"]]
        self.kept, self.best = state["kept"], state["best"]


def _quality(epoch: Epoch) -> tuple[float, float]:
    return epoch.accuracy or 0.0, -(epoch.validation_loss or 0.0)


# --- the device ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def accelerated(device: str, precision: str) -> Iterator[Accelerator]:
    """An accelerator of this device and precision; the caller's own, which would share its state, is untouched."""
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState, GradientState, PartialState

    shared = [kind._shared_state for kind in (AcceleratorState, PartialState, GradientState)]
    before = [dict(state) for state in shared]
    asked = os.environ.get("ACCELERATE_TORCH_DEVICE")
    for state in shared:
        state.clear()
    try:
        if not launched_together():  # else each process has a device of its own
            os.environ["ACCELERATE_TORCH_DEVICE"] = device
        accelerator = Accelerator(
            cpu=device == "cpu",
            mixed_precision=_MIXED_PRECISION[precision],
            # No feature depends on the source classifier, which stays in its place.
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        _restore_environment(asked)
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


def _share_buffers(network: Any, accelerator: Accelerator) -> None:
    """The first process's statistics of batch normalisation in all of them."""
    if accelerator.num_processes > 1:
        from accelerate.utils import broadcast

        for buffer in network.buffers():
            buffer.copy_(broadcast(buffer))


def _summed(value: float, accelerator: Accelerator) -> float:
    """The sum over all processes."""
    import torch

    if accelerator.num_processes == 1:
        return value
    there = torch.tensor(value, dtype=torch.float64, device=accelerator.device)
    return float(accelerator.reduce(there, "sum"))


@contextlib.contextmanager
def reproducible(seed: int, device: str) -> Iterator[None]:
    """Everything random from the seed, full float32 precision, deterministic kernels; as before afterwards."""
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
