"""`verify()`: fine-tunes a candidate and reports its accuracy on held-out rows."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.candidates.backbone import Backbone
from modelselect.errors import CandidateError, InvalidInputError, ModelSelectError
from modelselect.extraction.inputs import InputCache
from modelselect.probe.probe import Probe
from modelselect.tasks.task import Task
from modelselect.utils.process_state import unchanged
from modelselect.utils.target_kinds import CLASSES, RELEVANCE
from modelselect.verification.assignment import Assignment
from modelselect.verification.checkpoint import Checkpoint
from modelselect.verification.dynamics import TrainingDynamics
from modelselect.verification.head_alone import Scaling, as_features, passing_on
from modelselect.verification.job import Epoch, Job, Trained
from modelselect.verification.judging import judged
from modelselect.verification.material import Material
from modelselect.verification.memory import within_memory
from modelselect.verification.network import training_batch
from modelselect.verification.processes import is_first_process, launched_together
from modelselect.verification.recipe import FineTuning, Rates
from modelselect.verification.results import Brief, Verified
from modelselect.verification.search import first_trial, search
from modelselect.verification.signature import Signature
from modelselect.verification.training import outputs_of, train_in_memory

EpochProgress = Callable[[int, int, Epoch], None]
"""Called with the number of finished epochs, the number of all epochs, and the results of the last one."""

Keep = Callable[[Mapping[str, NDArray[Any]], Mapping[str, Any]], None]
"""Called with the fine-tuned weights by name, and with their metadata as plain data."""


@unchanged(imports=True)
def verify(  # noqa: PLR0913 (the public way to fine-tune)
    backbone: Backbone,
    training: Probe,
    holdout: Probe,
    settings: FineTuning | None = None,
    *,
    method: str = "full",
    seed: int = 0,
    device: str = "cpu",
    spool: InputCache | None = None,
    folder: Path | None = None,
    keep: Keep | None = None,
    progress: EpochProgress | None = None,
    watch: TrainingDynamics | str | Sequence[str] | None = None,
    task: Task | None = None,
) -> Verified:
    """Fine-tunes a copy of the backbone with a new linear head, and measures it on held-out rows.

    The given backbone is left unchanged. The result depends only on the arguments, not on earlier runs or on kills; the
    random state of the process is restored. (On CUDA, except for operations without a deterministic form.) A class
    without rows in `training` can never be predicted: its held-out rows count as errors.

    All threads share torch's random numbers. So no other thread of this process fine-tunes, searches, loads or scores
    before this returns.

    Started by `accelerate launch` or torchrun, every process calls this with the same arguments (and the same folder,
    if any): together they train one model, each on its share of every batch.

    Args:
        backbone: any; its `read` gives the features that the head gets.
        training: labelled rows; rows labelled -1 are left out.
        holdout: other rows with the same `class_names`.
        settings: the recipe; by default `FineTuning()`.
        method: what is trained, one of `METHODS`: `"full"`, `"head"` or `"lora"`.
        seed: of the validation split, the head's weights, the order of rows, and dropout.
        device: `"cpu"`, `"cuda"`, `"cuda:1"`, ...
        spool: where prepared inputs are shared between candidates; None prepares them for this call only.
        folder: for what a killed run continues from: used for these arguments only, and removed by the caller once the
            result is safe. None: nothing is kept.
        keep: called with the fine-tuned weights, `head.weight` (classes, D), `head.bias` and, unless only the head was
            trained, the backbone's with the prefix `body.`; and with `class_names` (those in training), `method`, and
            what a `Signature` describes.
        progress: called after every epoch.
        watch: measures of the features after each epoch: names such as `("persistence", "nc")`, or a
            `TrainingDynamics`, which collects them. They are in `Verified.dynamics`. The training is the same without
            it, but for one thing: it begins anew where it was killed. Only for one training in one process, and for
            classes.
        task: what is predicted and how it is judged; None for the task that the training rows suit.

    Raises:
        DatasetError: there are fewer than two classes to train on or no rows to measure on, or class names differ.
        InvalidInputError: the method does not exist, the device does not have the precision, or `watch` is given for a
            search or for several processes.
        CandidateError: the loss is not finite, the forward pass fails, or LoRA does not apply.
        OutOfMemoryError: not even two rows fit.
    """
    asked = Assignment.of(
        backbone, training, holdout, settings, method=method, seed=seed, device=device, spool=spool, task=task
    )
    dynamics = _watched(watch, asked)
    started = time.perf_counter()
    material = Material.of(asked)
    scaling: Scaling | None = None
    with _as_candidate_errors():
        job, part = material.job(asked), asked.settings.batch_size
        if method == "head":
            (material, scaling), part = within_memory(partial(as_features, job, material), part, device)
            job = replace(
                job, backbone=passing_on(job.backbone), training=material.training, validation=material.validation
            )
        if dynamics is not None:
            job, folder = replace(job, watch=partial(_watch, dynamics, job)), None
        trained, rates, trials = _trained(job, part, folder, progress)
        held = material.holdout
        assert held is not None
        outputs, _ = within_memory(lambda size: outputs_of(trained.network, job, held, size), trained.part, device)
    verified = Verified(
        **judged(asked, material, held, outputs),
        training_rows=len(material.training.places),
        training_loss=trained.history[-1].loss,
        largest_part=trained.part,
        seconds=time.perf_counter() - started,
        method=method,
        epochs=len(trained.history),
        kept_epoch=trained.kept,
        trials=trials,
        validation_rows=0 if material.validation is None else len(material.validation.places),
        validation_accuracy=trained.history[trained.kept - 1].accuracy,
        backbone_learning_rate=rates.backbone,
        head_learning_rate=rates.head,
        weight_decay=rates.weight_decay,
        curve=tuple((epoch.loss, epoch.accuracy) for epoch in trained.history),
        dynamics=() if dynamics is None else tuple(dynamics.epochs),
    )
    if keep and is_first_process():
        known = _described(asked, material, outputs.shape[1])
        keep(_weights(trained.network, method, scaling, material.units), known)
    return verified


@unchanged(imports=True)
def tune_briefly(  # noqa: PLR0913 (what `verify` takes)
    backbone: Backbone,
    training: Probe,
    settings: FineTuning,
    *,
    method: str = "full",
    seed: int = 0,
    device: str = "cpu",
    spool: InputCache | None = None,
    folder: Path | None = None,
    task: Task | None = None,
) -> Brief:
    """Fine-tunes a copy of the backbone for one epoch, and measures its accuracy without held-out rows.

    The epoch is the first one of what `verify` trains with the same arguments: the same rows, order and learning rates,
    of a search the first trial. `verify` continues from its checkpoint if both get the same folder, and its result is
    the same as without it.

    The accuracy is measured on training rows that the network has not trained on. If the recipe has a validation
    split, these are its rows, after the epoch. Else they are the rows of the second half of the epoch: the forward pass
    that precedes the training on a batch predicts its classes (A. Blum, A. Kalai and J. Langford: Beating the hold-out,
    COLT 1999). That pass is in training mode, with dropout and the batch's own statistics.

    Args:
        backbone: as for `verify`, like the following arguments.
        training: labelled rows; rows labelled -1 are left out.
        settings: the recipe, with the number of epochs that `verify` trains.
        method: what is trained, `"full"` or `"lora"`.
        seed: of the validation split, the head's weights, the order of rows, and dropout.
        device: `"cpu"`, `"cuda"`, `"cuda:1"`, ...
        spool: where prepared inputs are shared between candidates; None prepares them for this call only.
        folder: the one that `verify` gets; None keeps no checkpoint.
        task: what is predicted; None for the task that the training rows suit.

    Raises:
        DatasetError: there are fewer than two classes, or only one batch.
        InvalidInputError: the method does not exist or trains only the head, or the device does not have the precision.
        CandidateError, OutOfMemoryError: as `verify`.
    """
    if method == "head":
        raise InvalidInputError("method is 'head'; expected 'full' or 'lora': a head alone trains in seconds")
    started = time.perf_counter()
    asked = Assignment.of(
        backbone, training, None, settings, method=method, seed=seed, device=device, spool=spool, task=task
    )
    material = Material.of(asked)
    job = replace(material.job(asked), brief=True)
    checkpoint = None if folder is None else _first_checkpoint(folder, settings)
    if checkpoint is not None and material.validation is None and checkpoint.path.exists():
        checkpoint = None  # it is past the rows to be measured; this training leaves it as it is
    with _as_candidate_errors():
        trained = train_in_memory(job, settings.grid[0], settings.batch_size, checkpoint)
    epoch, ahead = trained.history[0], trained.ahead
    return Brief(
        accuracy=ahead.correct / ahead.rows if epoch.accuracy is None else epoch.accuracy,
        rows=ahead.rows if material.validation is None else len(material.validation.places),
        training_loss=epoch.loss,
        largest_part=trained.part,
        seconds=time.perf_counter() - started,
    )


@unchanged(imports=True)
def training_seconds(
    backbone: Backbone,
    training: Probe,
    settings: FineTuning,
    *,
    method: str = "full",
    seed: int = 0,
    device: str = "cpu",
    spool: InputCache | None = None,
    task: Task | None = None,
) -> float:
    """Seconds that training takes for a row: a batch is trained on three times, and the first time does not count.

    Args:
        backbone: as for `verify`, like the following arguments; it is left unchanged.
        training: labelled rows.
        settings: the recipe.
        method: what is trained, `"full"` or `"lora"`.
        seed: of the head's weights, and dropout.
        device: `"cpu"`, `"cuda"`, `"cuda:1"`, ...
        spool: where prepared inputs are shared between candidates.
        task: as for `verify`.

    Raises:
        DatasetError, InvalidInputError, CandidateError, OutOfMemoryError: as `verify`.
    """
    asked = Assignment.of(
        backbone, training, None, settings, method=method, seed=seed, device=device, spool=spool, task=task
    )
    material = Material.of(asked)
    batch = material.training.take(slice(settings.batch_size))
    thrice = replace(settings, epochs=3, patience=None)
    ended: list[float] = []
    with _as_candidate_errors():
        job = replace(material.job(asked), settings=thrice, training=batch, validation=None)
        train_in_memory(job, settings.grid[0], settings.batch_size, report=lambda *_: ended.append(time.perf_counter()))
    return float(np.diff(ended).min()) / len(batch.places)


def _trained(job: Job, part: int, folder: Path | None, progress: EpochProgress | None) -> tuple[Trained, Rates, int]:
    """The training that is kept, its rates, and the number of trainings."""
    settings = job.settings

    def report(number: int, epoch: Epoch) -> None:
        if progress and is_first_process():
            progress(number, settings.trainings * settings.epochs, epoch)

    if settings.trainings > 1:
        if launched_together():
            raise InvalidInputError(
                "a search over learning rates runs in one process, but several processes were started. Give one value "
                "of each rate and trials=1 (--trials 1), or start one process."
            )
        with contextlib.ExitStack() as stack:
            place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            return search(job, part, place, report)
    (rates,) = settings.grid
    checkpoint = None if folder is None else _first_checkpoint(folder, settings)
    return train_in_memory(job, rates, part, checkpoint, report), rates, 1


def _first_checkpoint(folder: Path, settings: FineTuning) -> Checkpoint:
    """Where the first training keeps its state: the only one, or the first trial of a search."""
    return first_trial(folder) if settings.trainings > 1 else Checkpoint(folder / "training.pt")


def _watched(watch: TrainingDynamics | str | Sequence[str] | None, asked: Assignment) -> TrainingDynamics | None:
    if watch is None:
        return None
    if asked.training.target_kind != CLASSES:
        raise InvalidInputError("watch= measures how classes come apart, and the targets are no classes; leave it out")
    if asked.settings.trainings > 1 or launched_together():
        raise InvalidInputError(
            "watch= follows one training in one process; give one value of each learning rate and trials=1 "
            "(--trials 1), and start one process"
        )
    return watch if isinstance(watch, TrainingDynamics) else TrainingDynamics(watch)


def _watch(dynamics: TrainingDynamics, job: Job, network: Any) -> None:
    """Adds an epoch to the dynamics, from the training rows."""
    import torch

    rows = job.training
    chosen = dynamics.sample(rows.targets)
    device = next(network.parameters()).device
    network.eval()
    found = []
    with torch.no_grad():
        for part in np.array_split(chosen, max(1, -(-len(chosen) // job.settings.batch_size))):
            found.append(network.features(training_batch(job, rows, part, device)).float().cpu())
    head = [tensor.detach().float().cpu().numpy() for tensor in (network.head.weight, network.head.bias)]
    dynamics.record(torch.cat(found).numpy(), rows.targets[chosen], *head)


# --- what is kept ----------------------------------------------------------------------------------------------------


def _described(asked: Assignment, material: Material, width: int) -> dict[str, Any]:
    """The metadata of the fine-tuned weights; `width` is the number of outputs of the network."""
    probe = asked.training
    if material.pairs is None:
        names = [str(probe.target_names[label]) for label in material.classes]
        signature = Signature.of_probe(probe, material.classes.tolist())
    else:
        names = [str(number) for number in range(width)]
        signature = Signature(tuple(names), probe.modality, probe.reading, RELEVANCE)
    return {"class_names": names, "method": asked.method, **signature.described}


def _weights(
    network: Any,
    method: str,
    scaling: Scaling | None,
    units: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> dict[str, NDArray[Any]]:
    """The fine-tuned weights by name; the scaling of features and of targets becomes a part of the head."""
    import torch

    head = {name: tensor.detach().cpu() for name, tensor in network.head.state_dict().items()}
    if scaling is not None:
        head["weight"] = head["weight"] / scaling.deviation
        head["bias"] = head["bias"] - head["weight"] @ scaling.mean
    if units is not None:
        mean, deviation = (torch.from_numpy(each).float() for each in units)
        head = {"weight": head["weight"] * deviation[:, None], "bias": head["bias"] * deviation + mean}
    body = {} if method == "head" else network.body.state_dict()
    named = {f"head.{name}": tensor for name, tensor in head.items()}
    named |= {f"body.{name}": tensor.detach().cpu() for name, tensor in body.items()}
    return {
        name: (t.float() if t.dtype.itemsize == 2 and t.is_floating_point() else t).contiguous().numpy()
        for name, t in named.items()
    }


@contextlib.contextmanager
def _as_candidate_errors() -> Iterator[None]:
    """Turns what fine-tuning raises into an error of this candidate only."""
    try:
        yield
    except ModelSelectError:
        raise
    except Exception as error:
        raise CandidateError(f"fine-tuning raised {type(error).__name__}: {error}") from error
