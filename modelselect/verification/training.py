"""One training run: a copy of a backbone with a new linear head, epoch by epoch, resumable."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import CandidateError, DatasetError
from modelselect.verification.checkpoint import Checkpoint
from modelselect.verification.job import Ahead, Epoch, Job, Report, Rows, Trained
from modelselect.verification.memory import even_part_count, part_count, within_memory
from modelselect.verification.network import make_optimizer, trainable_network, training_batch, training_mode
from modelselect.verification.processes import (
    accelerated,
    prepared,
    reproducible,
    share_buffers,
    summed_over_processes,
    unwrapped,
)
from modelselect.verification.recipe import Rates

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator


def train_in_memory(
    job: Job, rates: Rates, part: int, checkpoint: Checkpoint | None = None, report: Report | None = None
) -> Trained:
    """`train` with as many rows at a time as fit on the device: `part`, halved until it fits.

    Raises:
        OutOfMemoryError: not even two rows fit.
        CandidateError: the loss is not finite.
    """

    def attempt(size: int) -> Trained:
        return train(job, rates, size, checkpoint, report)

    def forget() -> None:
        if checkpoint:  # starts again, so that all steps use the smaller part
            checkpoint.discard()

    held = checkpoint.load() if checkpoint else None
    return within_memory(attempt, part if held is None else held["part"], job.device, forget)[0]


def train(
    job: Job, rates: Rates, part: int, checkpoint: Checkpoint | None = None, report: Report | None = None
) -> Trained:
    """Trains from the last epoch in the checkpoint, or from the start.

    The checkpoint is written after the last epoch, and after each one at whose end it is due. Several processes write
    it after each, since their clocks differ.

    The result depends only on the arguments, not on earlier runs or on kills. `report` is called for every epoch, also
    for those before the checkpoint; an exception that it raises ends the training.
    """
    import torch

    settings, count = job.settings, len(job.training.places)
    batches = part_count(count, settings.batch_size)
    steps = settings.epochs * batches
    counted = _batches_ahead(job, batches)
    ahead = Ahead(sum(len(part) for part in np.array_split(np.arange(count), batches)[counted.start : counted.stop]))
    with reproducible(job.seed, job.device), accelerated(job.device, settings.precision) as accelerator:
        network = trainable_network(job, accelerator.device)
        if accelerator.process_index:
            torch.manual_seed(
                job.seed + accelerator.process_index
            )  # different dropout; the weights are the first process's
        optimizer = make_optimizer(network, settings, rates)
        peaks = [group["lr"] for group in optimizer.param_groups]
        trained, optimizer = prepared(network, optimizer, accelerator)
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
            training_mode(network, job.method)
            total, right, counted_right = 0.0, 0.0, 0.0
            for number, batch in enumerate(np.array_split(order.permutation(count), batches)):
                factor = settings.learning_rate_factor(len(progress.history) * batches + number, steps)
                _set_rates(optimizer, [factor * peak for peak in peaks])
                optimizer.zero_grad()
                for loss, correct in _steps(trained, job, batch, part, accelerator):
                    total += loss
                    right += correct
                    counted_right += correct if number in counted else 0
                if not math.isfinite(total):
                    raise CandidateError(
                        f"the loss became {total} in epoch {len(progress.history) + 1} of fine-tuning. Lower the "
                        f"learning rates (backbone {rates.backbone:g}, head {rates.head:g})."
                    )
                optimizer.step()
            share_buffers(network, accelerator)
            loss = summed_over_processes(total, accelerator) / count
            ahead = ahead._replace(correct=summed_over_processes(counted_right, accelerator))
            epoch = Epoch(loss, training_accuracy=summed_over_processes(right, accelerator) / count)
            progress.add(_validated(epoch, network, job, part, accelerator), network)
            if checkpoint and (accelerator.num_processes > 1 or progress.finished or checkpoint.is_due):
                _save(checkpoint, progress.state(network, optimizer, accelerator), accelerator)
            if job.watch:
                job.watch(network)
            if report:
                report(len(progress.history), progress.history[-1])
        progress.restore_best(network)
        network.merge()
        kept = unwrapped(trained, accelerator)
        if accelerator.device.type != "cpu":
            accelerator.free_memory()
    return Trained(kept.eval(), progress.history, progress.kept, part, ahead)


def _set_rates(optimizer: Any, rates: Sequence[float]) -> None:
    """Sets the learning rate of each group of parameters."""
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def _batches_ahead(job: Job, batches: int) -> range:
    """The batches of a brief training whose predictions are counted: the second half.

    The network has not trained on a row of the first epoch when it predicts the row.

    Raises:
        DatasetError: there is only one batch, so that nothing would be trained before it.
    """
    if not job.brief or job.validation is not None:
        return range(0)
    if batches < 2:
        raise DatasetError(
            f"training has {len(job.training.places)} labelled rows, which make one batch. The accuracy after one "
            "epoch is measured on rows that the network has not trained on yet, so there must be two batches. Lower "
            "FineTuning(batch_size=...), give more rows, or leave out tune= (--tune)."
        )
    return range(batches // 2, batches)


def _steps(
    network: Any, job: Job, batch: NDArray[np.intp], part: int, accelerator: Accelerator
) -> Iterator[tuple[float, float]]:
    """Accumulates the gradients of a batch in parts that fit into memory.

    Yields the summed loss of each part, and how many of its rows were predicted correctly before the step.
    """
    import torch

    shares = np.array_split(batch, accelerator.num_processes)
    parts = np.array_split(shares[accelerator.process_index], even_part_count(shares, part))
    for index, places in enumerate(parts):
        waits = accelerator.no_sync(network) if index + 1 < len(parts) else contextlib.nullcontext()
        with waits:
            logits = network(training_batch(job, job.training, places, accelerator.device))
            targets = torch.from_numpy(job.training.targets[places]).to(accelerator.device)
            loss = job.objective.loss(logits, targets)
            # Gradients are averaged over the processes, each of which has a share of the batch.
            accelerator.backward(loss * accelerator.num_processes / len(batch))
        yield float(loss.item()), float(job.objective.credit(logits.detach(), targets))


def _validated(epoch: Epoch, network: Any, job: Job, part: int, accelerator: Accelerator) -> Epoch:
    """The epoch with accuracy and loss on the validation split, if there is one."""
    if job.validation is None:
        return epoch
    right, cost = _evaluate(network, job, job.validation, part, accelerator)
    count = len(job.validation.places)
    return epoch._replace(accuracy=right / count, validation_loss=cost / count)


def _save(checkpoint: Checkpoint, state: Mapping[str, Any], accelerator: Accelerator) -> None:
    """Writes the state in the first process; all processes must have made it together."""
    if accelerator.is_main_process:
        checkpoint.save(state)


def outputs_of(network: Any, job: Job, rows: Rows, part: int) -> NDArray[np.float32]:
    """(N, K) what the head gives for each row; (N, ..., K) of the parts of each row, filled up with zeros."""
    import torch

    with reproducible(job.seed, job.device), accelerated(job.device, job.settings.precision) as accelerator:
        network.eval()
        found = []
        with torch.no_grad(), accelerator.autocast():
            for places in np.array_split(np.arange(len(rows.places)), -(-len(rows.places) // part)):
                found.append(network(training_batch(job, rows, places, accelerator.device)).float().cpu().numpy())
    return filled_up(found)


def filled_up(batches: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The rows of batches, (B, ...) each, one after the other; zeros follow where rows have fewer parts than others."""
    widest = np.max([batch.shape[1:] for batch in batches], axis=0).tolist()
    if all(list(batch.shape[1:]) == widest for batch in batches):
        return np.concatenate(batches)
    found = np.zeros((sum(map(len, batches)), *widest), np.float32)
    done = 0
    for batch in batches:
        found[(slice(done, done + len(batch)), *(slice(side) for side in batch.shape[1:]))] = batch
        done += len(batch)
    return found


def _evaluate(network: Any, job: Job, rows: Rows, part: int, accelerator: Accelerator) -> tuple[float, float]:
    """The credit of all rows (of classes, how many are right) and the sum of their losses, over all processes."""
    import torch

    network.eval()
    right, cost = 0.0, 0.0
    share = np.array_split(np.arange(len(rows.places)), accelerator.num_processes)[accelerator.process_index]
    with torch.no_grad():
        for places in np.array_split(share, max(1, -(-len(share) // part))):
            if len(places):
                logits = network(training_batch(job, rows, places, accelerator.device))
                targets = torch.from_numpy(rows.targets[places]).to(accelerator.device)
                right += float(job.objective.credit(logits, targets))
                cost += float(job.objective.loss(logits, targets))
    return summed_over_processes(right, accelerator), summed_over_processes(cost, accelerator)


class _Progress:
    """The epochs so far and, with a validation split, the weights of the best of them."""

    def __init__(self, job: Job, part: int) -> None:
        self.epochs, self.patience = 1 if job.brief else job.settings.epochs, job.settings.patience
        self.part = part
        self.history: list[Epoch] = []
        self.kept = 0
        self.best: dict[str, torch.Tensor] | None = None

    @property
    def finished(self) -> bool:
        """True after the last epoch, or when patience has run out."""
        waited = len(self.history) - self.kept
        return len(self.history) >= self.epochs or (self.patience is not None and waited >= self.patience)

    def restore_best(self, network: Any) -> None:
        """Loads the weights of the best epoch, if there is a validation split."""
        if self.best is not None:
            network.load_state_dict(self.best)

    def add(self, epoch: Epoch, network: Any) -> None:
        """Records an epoch, and its weights if it is the best so far by accuracy and then by loss."""
        self.history.append(epoch)
        if epoch.accuracy is None:
            self.kept = len(self.history)
            return
        if self.kept == 0 or _quality(epoch) > _quality(self.history[self.kept - 1]):
            self.kept = len(self.history)
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}

    def state(self, network: Any, optimizer: Any, accelerator: Accelerator) -> dict[str, Any]:
        """Everything that later epochs depend on, and the results so far; of every process."""
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
