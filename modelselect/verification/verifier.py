"""`verify()`: fine-tunes a candidate and reports its accuracy on held-out rows."""

from __future__ import annotations

import contextlib
import copy
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelselect.candidates.backbone import Backbone
from modelselect.candidates.preprocessing import CallablePreprocessing
from modelselect.candidates.readers import OwnFeatures
from modelselect.errors import CandidateError, DatasetError, InvalidInputError, ModelSelectError
from modelselect.extraction.devices import check_precision
from modelselect.extraction.inputs import InputCache
from modelselect.host.defaults import AUTO
from modelselect.host.host import get_host
from modelselect.host.lookup import task_of
from modelselect.probe.grouped import Wholes
from modelselect.probe.probe import Probe
from modelselect.tasks.metrics import ACCURACY, Metric
from modelselect.tasks.objectives import Objective
from modelselect.tasks.task import Task
from modelselect.utils.relevance import Relevance
from modelselect.utils.target_kinds import CLASSES, RELEVANCE
from modelselect.verification.checkpoint import Checkpoint
from modelselect.verification.dynamics import TrainingDynamics
from modelselect.verification.job import Epoch, Job, Rows, Trained
from modelselect.verification.memory import within_memory
from modelselect.verification.network import training_batch
from modelselect.verification.pairs import Embedded, Pairs
from modelselect.verification.processes import accelerated, is_first_process, launched_together, reproducible
from modelselect.verification.recipe import FineTuning, Rates, check_method
from modelselect.verification.search import first_trial, search
from modelselect.verification.signature import Signature
from modelselect.verification.training import filled_up, outputs_of, train_in_memory

if TYPE_CHECKING:
    import torch

EpochProgress = Callable[[int, int, Epoch], None]
"""Called with the number of finished epochs, the number of all epochs, and the results of the last one."""

Keep = Callable[[Mapping[str, NDArray[Any]], Mapping[str, Any]], None]
"""Called with the fine-tuned weights by name, and with their metadata as plain data."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of fine-tuning one candidate.

    Attributes:
        accuracy: share of the held-out rows that are classified correctly, from 0 to 1. Of other tasks, their metric on
            these rows: R² of numbers, which may be below 0, or mAP of sets of labels.
        interval: its 95% interval: Wilson's of an accuracy, else by bootstrap. It covers the sampling of the held-out
            rows, not the variance of training.
        correct: number of held-out rows that are classified correctly; 0 for other tasks.
        rows: number of labelled held-out rows; for retrieval, of held-out queries.
        training_rows: number of labelled rows that were trained on, without the validation split; for retrieval, of
            pairs of a query and a relevant document.
        training_loss: mean loss of the last epoch.
        largest_part: number of rows on the device at a time; below the batch size if memory was short.
        seconds: wall time of everything.
        method: what was trained, one of `METHODS`.
        epochs: number of epochs of the training that was kept.
        kept_epoch: number of the epoch whose weights were measured, from 1.
        trials: number of trainings, including those that were stopped early.
        validation_rows: number of rows that epochs and trials were compared on; 0 without a comparison.
        validation_accuracy: accuracy on these rows at `kept_epoch`, optimistic as the best of several; None without.
        backbone_learning_rate, head_learning_rate, weight_decay: peak rates and decay of the training that was kept.
        curve: for each epoch of that training, the mean cross-entropy while it trained, and the accuracy on the
            validation rows; None without these.
        class_rows: number of labelled held-out rows of each class.
        mistakes: (row, class, predicted class) of each held-out row that is classified wrongly; the row is its number
            in the holdout.
        dynamics: for each epoch of a training that was watched, the measures by name.
        metrics: every metric of the task on the held-out rows, by name; empty for classification.
    """

    accuracy: float
    interval: tuple[float, float]
    correct: int
    rows: int
    training_rows: int
    training_loss: float
    largest_part: int
    seconds: float
    method: str = "full"
    epochs: int = 0
    kept_epoch: int = 0
    trials: int = 1
    validation_rows: int = 0
    validation_accuracy: float | None = None
    backbone_learning_rate: float = 0.0
    head_learning_rate: float = 0.0
    weight_decay: float = 0.0
    curve: tuple[tuple[float, float | None], ...] = ()
    class_rows: tuple[int, ...] = ()
    mistakes: tuple[tuple[int, int, int], ...] = ()
    dynamics: tuple[Mapping[str, float], ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Brief:
    """The result of fine-tuning one candidate for one epoch.

    Attributes:
        accuracy: share of the measured rows that are classified correctly, from 0 to 1.
        rows: number of rows that were measured. They are training rows, and none is held out.
        training_loss: mean cross-entropy of the epoch.
        largest_part: number of rows on the device at a time; below the batch size if memory was short.
        seconds: wall time of everything.
    """

    accuracy: float
    rows: int
    training_loss: float
    largest_part: int
    seconds: float


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
    settings = settings or FineTuning()
    check_method(method)
    check_precision(settings.precision, device)
    task = task or task_of(get_host(), AUTO, training)
    dynamics = _watched(watch, settings, training)
    started = time.perf_counter()
    backbone = task.training(backbone)
    material = _Material.of(backbone, training, holdout, spool or InputCache(None), settings, seed, task.objective)
    part = settings.batch_size
    scaling: _Scaling | None = None
    with _as_candidate_errors():
        job = material.job(backbone, method, settings, seed, device)
        if method == "head":
            (material, scaling), part = within_memory(partial(_as_features, job, material), part, device)
            job = replace(
                job, backbone=_passing_on(backbone), training=material.training, validation=material.validation
            )
        if dynamics is not None:
            job, folder = replace(job, watch=partial(_watch, dynamics, job)), None
        trained, rates, trials = _trained(job, part, folder, progress)
        held = material.holdout
        assert held is not None
        outputs, _ = within_memory(lambda size: outputs_of(trained.network, job, held, size), trained.part, device)
    if held.targets.ndim > 1 and material.is_of_classes:
        judged = _judged_wholes(material, task, held, outputs, seed)
    elif material.is_of_classes:
        judged = _judged_classes(material, held, outputs, holdout)
        judged |= _judged_by_another_metric(material, task, held, outputs, seed)
    else:
        judged = _judged(material, task, held, outputs, seed)
    verified = Verified(
        **{"rows": len(held.places), **judged},
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
        if material.pairs is None:
            names = [str(training.target_names[label]) for label in material.classes]
            signature = Signature.of_probe(training, material.classes.tolist())
        else:
            names = [str(number) for number in range(outputs.shape[1])]
            signature = Signature(tuple(names), training.modality, training.reading, RELEVANCE)
        known = {"class_names": names, "method": method, **signature.described}
        keep(_weights(trained.network, method, scaling, material.units), known)
    return verified


def _judged_classes(material: _Material, held: Rows, outputs: NDArray[Any], holdout: Probe) -> dict[str, Any]:
    """What a `Verified` says of classes: accuracy, its interval, and each mistake."""
    named = material.classes[outputs.argmax(1)]
    wrong = np.flatnonzero(named != held.targets)
    rows = len(held.places)
    correct = rows - len(wrong)
    return {
        "accuracy": correct / rows,
        "interval": wilson_interval(correct, rows),
        "correct": correct,
        "class_rows": tuple(np.bincount(held.targets, minlength=len(holdout.class_names)).tolist()),
        "mistakes": tuple(zip(*(each[wrong].tolist() for each in (held.places, held.targets, named)), strict=True)),
    }


def _judged_by_another_metric(
    material: _Material, task: Task, held: Rows, outputs: NDArray[Any], seed: int
) -> dict[str, Any]:
    """What a `Verified` says of a task of classes whose first metric is not accuracy; nothing of others.

    Raises:
        CandidateError: the metric is not defined for the held-out rows.
    """
    if task.metric.name == ACCURACY.name:
        return {}
    named = material.classes[outputs.argmax(1)]
    found = {metric.name: metric.measure(held.targets, named) for metric in task.metrics}
    decisive = found[task.metric.name]
    if not math.isfinite(decisive):
        raise CandidateError(
            f"{task.metric.title} is {decisive} for the {len(held.places)} held-out rows; expected a number. Give more "
            "rows."
        )
    return {
        "accuracy": decisive,
        "interval": task.metric.interval(held.targets, named, seed),
        "metrics": {name: value for name, value in found.items() if math.isfinite(value)},
    }


def _judged_wholes(material: _Material, task: Task, held: Rows, outputs: NDArray[Any], seed: int) -> dict[str, Any]:
    """What a `Verified` says of the parts of sentences or images: the metrics of the task, resampled by wholes.

    Raises:
        CandidateError: the metric is not defined for the held-out rows.
    """
    decoded = task.decoded(outputs, held.targets)
    named = np.where(decoded >= 0, material.classes[decoded], -1)

    def predicted(metric: Metric) -> NDArray[Any]:
        return _scores(outputs, material.classes, held.targets) if metric.of_scores else named

    found = {metric.name: metric.measure(held.targets, predicted(metric)) for metric in task.metrics}
    if not math.isfinite(found[task.metric.name]):
        raise CandidateError(
            f"{task.metric.title} cannot be computed for the {len(held.places)} held-out rows. Give more rows."
        )
    return {
        "accuracy": found[task.metric.name],
        "interval": task.metric.interval(held.targets, predicted(task.metric), seed),
        "correct": 0,
        "metrics": {name: value for name, value in found.items() if math.isfinite(value)},
    }


def _scores(outputs: NDArray[Any], classes: NDArray[np.int64], targets: NDArray[Any]) -> NDArray[np.float64]:
    """(G, ..., C) the probability of each class; 0 for a class that was not trained on."""
    raised = np.exp(outputs - outputs.max(axis=-1, keepdims=True), dtype=np.float64)
    found = np.zeros((*outputs.shape[:-1], 1 + max(int(classes.max()), int(targets.max()))))
    found[..., classes] = raised / raised.sum(axis=-1, keepdims=True)
    return found


def _judged(material: _Material, task: Task, held: Rows, outputs: NDArray[Any], seed: int) -> dict[str, Any]:
    """What a `Verified` says of numbers and of sets of labels: the metrics of the task.

    Raises:
        CandidateError: the metric is not defined for the held-out rows: their targets, or the predictions, are all
            the same.
    """
    predicted = material.in_own_units(outputs.astype(np.float64))
    found = {metric.name: metric.measure(held.targets, predicted) for metric in task.metrics}
    decisive = found[task.metric.name]
    if not math.isfinite(decisive):
        rows = f"the {len(held.places)} held-out rows"
        if (np.ptp(held.targets, axis=0) > 0).all() and not (np.ptp(predicted, axis=0) > 0).all():
            raise CandidateError(
                f"{task.metric.title} cannot be computed, since the predictions for {rows} do not differ: the training "
                "has learned nothing. Train for more epochs, or with another learning rate."
            )
        raise CandidateError(
            f"{task.metric.title} cannot be computed, since the targets of {rows} do not differ. Give more rows."
        )
    return {
        "accuracy": decisive,
        "interval": task.metric.interval(held.targets, predicted, seed),
        "correct": 0,
        "metrics": {name: value for name, value in found.items() if math.isfinite(value)},
        **({"rows": len(Relevance.of(held.targets).queries)} if material.pairs is not None else {}),
    }


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
    check_method(method)
    if method == "head":
        raise InvalidInputError("method is 'head'; expected 'full' or 'lora': a head alone trains in seconds")
    check_precision(settings.precision, device)
    started = time.perf_counter()
    task = task or task_of(get_host(), AUTO, training)
    backbone = task.training(backbone)
    material = _Material.of(backbone, training, None, spool or InputCache(None), settings, seed, task.objective)
    job = replace(material.job(backbone, method, settings, seed, device), brief=True)
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
    task = task or task_of(get_host(), AUTO, training)
    backbone = task.training(backbone)
    material = _Material.of(backbone, training, None, spool or InputCache(None), settings, seed, task.objective)
    inputs, places, targets = material.training
    batch = Rows(inputs, places[: settings.batch_size], targets[: settings.batch_size])
    thrice = replace(settings, epochs=3, patience=None)
    ended: list[float] = []
    with _as_candidate_errors():
        job = replace(material.job(backbone, method, thrice, seed, device), training=batch, validation=None)
        train_in_memory(job, settings.grid[0], settings.batch_size, report=lambda *_: ended.append(time.perf_counter()))
    return float(np.diff(ended).min()) / len(batch.places)


def wilson_interval(correct: int, rows: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a proportion that is also valid near 0 and 1.

    E. B. Wilson: Probable inference, the law of succession, and statistical inference, JASA 22, 1927.

    >>> low, high = wilson_interval(correct=9, rows=10)
    >>> round(low, 3), round(high, 3)
    (0.596, 0.982)
    """
    if not 0 <= correct <= rows or rows == 0:
        raise InvalidInputError(
            f"{correct} correct of {rows} rows; expected 0 <= correct <= rows, and at least one row"
        )
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = correct / rows
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    # At the ends the formula is exact; rounding must not move the interval beyond them.
    return (0.0 if correct == 0 else centre - half, 1.0 if correct == rows else centre + half)


# --- what is trained on ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Material:
    """Rows for each purpose, without unlabelled ones.

    Targets of training and validation are indices into `classes`, the classes with training rows; targets of `holdout`
    are the labels. Of other tasks, targets are (N, T) floats, of training and validation in units of `units`, which is
    their mean and deviation, and `classes` are the numbers of the T targets. `holdout` is None if nothing will be
    measured on it. For retrieval, training and validation are places in `pairs`, and targets are the numbers of query
    and document.
    """

    training: Rows
    validation: Rows | None
    holdout: Rows | None
    classes: NDArray[np.int64]
    objective: Objective
    is_of_classes: bool = True
    pairs: Pairs | None = None
    units: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    def job(self, backbone: Backbone, method: str, settings: FineTuning, seed: int, device: str) -> Job:
        """The training of a backbone on these rows."""
        return Job(
            backbone,
            method,
            len(self.classes),
            self.training,
            self.validation,
            settings,
            seed,
            device,
            objective=self.objective,
        )

    def in_own_units(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, T) outputs of the trained network as the targets were given."""
        return outputs if self.units is None else outputs * self.units[1] + self.units[0]

    @classmethod
    def of(
        cls,
        backbone: Backbone,
        training: Probe,
        holdout: Probe | None,
        spool: InputCache,
        settings: FineTuning,
        seed: int,
        objective: Objective,
    ) -> _Material:
        if training.target_kind == RELEVANCE:
            return cls._of_queries(backbone, training, holdout, spool, settings, seed, objective)
        if training.target_kind != CLASSES:
            return cls._of_targets(backbone, training, holdout, spool, settings, seed, objective)
        if holdout is not None and list(training.class_names) != list(holdout.class_names):
            raise DatasetError(
                f"training has the classes {_shown(training.class_names)} and holdout {_shown(holdout.class_names)}; "
                "expected the same classes in the same order. Split one dataset, or give both the same label map."
            )
        if (wholes := training.wholes) is not None:
            held_wholes = None if holdout is None else holdout.wholes
            return cls._of_wholes(backbone, wholes, held_wholes, training.n_classes, spool, settings, seed, objective)
        labels = np.asarray(training.labels)
        places = np.flatnonzero(labels >= 0)
        classes, targets = np.unique(labels[places], return_inverse=True)
        if len(classes) < 2:
            raise DatasetError(
                f"training has {len(places)} labelled rows of {len(classes)} class; expected rows of at least two"
            )
        held = None if holdout is None else np.flatnonzero(np.asarray(holdout.labels) >= 0)
        if held is not None and len(held) == 0:
            raise DatasetError("holdout has no labelled rows. Hold out a part of the labelled rows.")
        validating = _validating(targets, settings, seed)
        inputs = spool.prepared(training, backbone.preprocessing)
        measured = None
        if holdout is not None and held is not None:
            prepared = spool.prepared(holdout, backbone.preprocessing)
            measured = Rows(prepared, held, np.asarray(holdout.labels)[held])
        if validating is None:
            return cls(Rows(inputs, places, targets), None, measured, classes, objective)
        taken = [Rows(inputs, places[chosen], targets[chosen]) for chosen in (~validating, validating)]
        return cls(taken[0], taken[1], measured, classes, objective)

    @classmethod
    def _of_targets(
        cls,
        backbone: Backbone,
        training: Probe,
        holdout: Probe | None,
        spool: InputCache,
        settings: FineTuning,
        seed: int,
        objective: Objective,
    ) -> _Material:
        """The same for numbers and sets of labels."""
        if holdout is not None and training.target_names != holdout.target_names:
            raise DatasetError(
                f"training has the targets {_shown(training.target_names)} and holdout {_shown(holdout.target_names)}; "
                "expected the same targets in the same order. Split one dataset."
            )
        places, given = np.flatnonzero(training.strata >= 0), np.asarray(training.targets, np.float64)
        units = objective.scaling(given[places])
        targets = given[places] if units is None else (given[places] - units[0]) / units[1]
        rows = Rows(spool.prepared(training, backbone.preprocessing), places, targets.astype(np.float32))
        measured = None
        if holdout is not None:
            held = np.flatnonzero(holdout.strata >= 0)
            own = np.asarray(holdout.targets, np.float64)[held]
            measured = Rows(spool.prepared(holdout, backbone.preprocessing), held, own)
        columns, validation = np.arange(given.shape[1]), None
        if settings.validates:
            validating = _validation_split(training.strata[places], settings.validation, seed)
            rows, validation = (
                Rows(rows.inputs, places[chosen], rows.targets[chosen]) for chosen in (~validating, validating)
            )
        return cls(rows, validation, measured, columns, objective, is_of_classes=False, units=units)

    @classmethod
    def _of_queries(
        cls,
        backbone: Backbone,
        training: Probe,
        holdout: Probe | None,
        spool: InputCache,
        settings: FineTuning,
        seed: int,
        objective: Objective,
    ) -> _Material:
        """The same for queries and documents: what is trained on is a pair of both."""
        relevance = Relevance.of(np.asarray(training.targets))
        queries, documents = relevance.pairs.T
        if len(queries) < 2:
            raise DatasetError(f"training has {len(queries)} pairs of a query and a document; expected two at least")
        inputs = spool.prepared(training, backbone.preprocessing)
        pairs = Pairs(inputs, relevance.queries[queries], relevance.documents[documents])
        rows, validation = Rows(pairs, np.arange(len(queries)), relevance.pairs), None
        if settings.validates:
            places = np.zeros(len(relevance.queries), np.int64)
            validating = _validation_split(places, settings.validation, seed)[queries]
            rows, validation = (
                Rows(pairs, rows.places[chosen], relevance.pairs[chosen]) for chosen in (~validating, validating)
            )
        measured = None
        if holdout is not None:
            prepared = spool.prepared(holdout, backbone.preprocessing)
            measured = Rows(prepared, np.arange(len(holdout)), np.asarray(holdout.targets))
        columns = np.arange(len(training.target_names))
        return cls(rows, validation, measured, columns, objective, is_of_classes=False, pairs=pairs)

    @classmethod
    def _of_wholes(
        cls,
        backbone: Backbone,
        wholes: Wholes,
        held: Wholes | None,
        n_classes: int,
        spool: InputCache,
        settings: FineTuning,
        seed: int,
        objective: Objective,
    ) -> _Material:
        """The same for sentences and images whose parts have classes."""
        classes = np.unique(wholes.targets[wholes.targets >= 0]).astype(np.int64)
        if len(classes) < 2:
            raise DatasetError(
                f"training has {len(wholes)} sentences or images whose parts have {len(classes)} class; expected parts "
                "of at least two"
            )
        targets = np.where(wholes.targets >= 0, np.searchsorted(classes, wholes.targets), -1).astype(np.int32)
        chosen = _validating(wholes.strata(n_classes), settings, seed) if settings.validates else None
        inputs = spool.prepared(wholes, backbone.preprocessing)
        rows, validation, measured = Rows(inputs, np.arange(len(wholes)), targets), None, None
        if chosen is not None:
            rows, validation = (Rows(inputs, np.flatnonzero(part), targets[part]) for part in (~chosen, chosen))
        if held is not None:
            prepared = spool.prepared(held, backbone.preprocessing)
            measured = Rows(prepared, np.arange(len(held)), held.targets)
        return cls(rows, validation, measured, classes, objective)


def _validating(targets: NDArray[np.int64], settings: FineTuning, seed: int) -> NDArray[np.bool_] | None:
    """(N,) True for the validation rows; None if none are needed.

    Raises:
        DatasetError: no two rows are of one class.
    """
    if not settings.validates:
        return None
    validating = _validation_split(targets, settings.validation, seed)
    if not validating.any():
        raise DatasetError(
            f"training has {len(targets)} labelled rows, no two of one class, but early stopping and searches need a "
            "validation split of them. Give more rows, or give neither patience= (--patience) nor trials= (--trials) "
            "nor several rates."
        )
    return validating


def _validation_split(targets: NDArray[np.int64], share: float, seed: int) -> NDArray[np.bool_]:
    """(N,) True for the validation rows: this share of every class, at least one row, but not all of them."""
    random = np.random.default_rng(seed)
    chosen = np.zeros(len(targets), dtype=np.bool_)
    for target in np.unique(targets):
        places = random.permutation(np.flatnonzero(targets == target))
        chosen[places[: min(len(places) - 1, max(1, round(share * len(places))))]] = True
    return chosen


# --- the head alone --------------------------------------------------------------------------------------------------


class _Scaling(NamedTuple):
    """Scaling of features before the head, so that one learning rate suits all: (D,) each, from the training rows."""

    mean: torch.Tensor
    deviation: torch.Tensor


def _as_features(job: Job, material: _Material, part: int) -> tuple[_Material, _Scaling | None]:
    """The task with features as inputs, computed once by the frozen backbone; standardised but for retrieval."""
    import torch

    backbone = job.backbone
    with reproducible(job.seed, job.device), accelerated(job.device, job.settings.precision) as accelerator:
        module = copy.deepcopy(backbone.module).to(accelerator.device).eval()

        def features(rows: Rows) -> torch.Tensor:
            found = []
            for places in np.array_split(rows.places, -(-len(rows.places) // part)):
                batch = rows.inputs[torch.from_numpy(places)].to(accelerator.device)
                with torch.no_grad(), accelerator.autocast():
                    found.append(backbone.read(module, backbone.preprocessing.finish(batch)).features.float().cpu())
            if found[0].dim() > 2:
                return torch.from_numpy(filled_up([part.numpy() for part in found]))
            return torch.cat(found)

        purposes = (material.training, material.validation, material.holdout)
        if material.pairs is not None:
            return _as_embedded(material, features), None
        read = {id(rows): features(rows) for rows in purposes if rows is not None}
    shown = read[id(material.training)]
    if shown.dim() > 2:  # without the zeros after the last part
        shown = shown.flatten(0, -2)
        is_part = shown.any(1)
        shown = shown[is_part] if is_part.any() else shown
    mean, deviation = shown.mean(0), shown.std(0)
    deviation = torch.where(deviation > 0, deviation, 1.0)

    def scaled(rows: Rows) -> Rows:
        return Rows((read[id(rows)] - mean) / deviation, np.arange(len(rows.places)), rows.targets)

    validation, holdout = (None if rows is None else scaled(rows) for rows in (material.validation, material.holdout))
    material = replace(material, training=scaled(material.training), validation=validation, holdout=holdout)
    return material, _Scaling(mean, deviation)


def _as_embedded(material: _Material, features: Callable[[Rows], torch.Tensor]) -> _Material:
    """The task with the features of each query and document as inputs."""
    assert material.pairs is not None
    texts = material.pairs.texts
    pairs = replace(material.pairs, inputs=Embedded(features(Rows(material.pairs.inputs, texts, texts)), texts))
    held = material.holdout
    return replace(
        material,
        pairs=pairs,
        training=material.training._replace(inputs=pairs),
        validation=None if material.validation is None else material.validation._replace(inputs=pairs),
        holdout=None if held is None else Rows(features(held), np.arange(len(held.places)), held.targets),
    )


def _passing_on(backbone: Backbone) -> Backbone:
    """A backbone that takes features and returns them unchanged."""
    import torch

    preprocessing = CallablePreprocessing(lambda features: features, "features")
    return Backbone(backbone.candidate, torch.nn.Identity(), preprocessing, OwnFeatures(), backbone.weights_key)


# --- what is seen of a training ---------------------------------------------------------------------------------------


def _watched(
    watch: TrainingDynamics | str | Sequence[str] | None, settings: FineTuning, training: Probe
) -> TrainingDynamics | None:
    if watch is None:
        return None
    if training.target_kind != CLASSES:
        raise InvalidInputError("watch= measures how classes come apart, and the targets are no classes; leave it out")
    if settings.trainings > 1 or launched_together():
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
            batch = training_batch(job, rows, part, device)
            found.append(job.backbone.read(network.body, batch).features.float().cpu())
    head = [tensor.detach().float().cpu().numpy() for tensor in (network.head.weight, network.head.bias)]
    dynamics.record(torch.cat(found).numpy(), rows.targets[chosen], *head)


# --- one training or several -----------------------------------------------------------------------------------------


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


def _weights(
    network: Any,
    method: str,
    scaling: _Scaling | None,
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


def _shown(names: object) -> str:
    text = ", ".join(map(str, names)) if isinstance(names, (list, tuple)) else str(names)
    return text if len(text) <= 80 else f"{text[:77]}..."
