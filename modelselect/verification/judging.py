"""How good a fine-tuned network is: the metrics of its task on the held-out rows, and their interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import CandidateError, InvalidInputError
from modelselect.tasks.metrics import ACCURACY, Metric
from modelselect.utils.relevance import Relevance
from modelselect.verification.assignment import Assignment
from modelselect.verification.job import Rows
from modelselect.verification.material import Material


def judged(asked: Assignment, material: Material, held: Rows, outputs: NDArray[Any]) -> dict[str, Any]:
    """What `Verified` says of the held-out rows, by the names of its attributes.

    Args:
        asked: of the fine-tuning.
        material: what was trained on.
        held: the held-out rows.
        outputs: (N, K) or (N, ..., K) of the trained network for these rows.

    Raises:
        CandidateError: the task's metric is not defined for these rows.
    """
    if not material.is_of_classes:
        return _of_targets(asked, material, held, outputs)
    if held.targets.ndim > 1:
        return _of_wholes(asked, material, held, outputs)
    return _of_classes(asked, material, held, outputs)


def _of_classes(asked: Assignment, material: Material, held: Rows, outputs: NDArray[Any]) -> dict[str, Any]:
    """Accuracy and each mistake; and the metrics of a task whose first one is another."""
    assert asked.holdout is not None
    named = material.classes[outputs.argmax(1)]
    wrong = np.flatnonzero(named != held.targets)
    rows = len(held.places)
    correct = rows - len(wrong)
    found = {
        "rows": rows,
        "accuracy": correct / rows,
        "interval": wilson_interval(correct, rows),
        "correct": correct,
        "class_rows": tuple(np.bincount(held.targets, minlength=len(asked.holdout.class_names)).tolist()),
        "mistakes": tuple(zip(*(each[wrong].tolist() for each in (held.places, held.targets, named)), strict=True)),
    }
    if asked.task.metric.name != ACCURACY.name:
        found |= _by_metrics(asked, held, lambda _: named, _undefined)
    return found


def _of_wholes(asked: Assignment, material: Material, held: Rows, outputs: NDArray[Any]) -> dict[str, Any]:
    """The metrics of the parts of sentences or images, resampled by wholes."""
    decoded = asked.task.decoded(outputs, held.targets)
    named = np.where(decoded >= 0, material.classes[decoded], -1)

    def predicted(metric: Metric) -> NDArray[Any]:
        return _scores(outputs, material.classes, held.targets) if metric.of_scores else named

    return {"rows": len(held.places), "correct": 0, **_by_metrics(asked, held, predicted, _undefined)}


def _of_targets(asked: Assignment, material: Material, held: Rows, outputs: NDArray[Any]) -> dict[str, Any]:
    """The metrics of numbers, sets of labels, or queries."""
    predicted = material.in_own_units(outputs.astype(np.float64))

    def reason(rows: str) -> str:
        if (np.ptp(held.targets, axis=0) > 0).all() and not (np.ptp(predicted, axis=0) > 0).all():
            return (
                f", since the predictions for {rows} do not differ: the training has learned nothing. Train for more "
                "epochs, or with another learning rate."
            )
        return f", since the targets of {rows} do not differ. Give more rows."

    rows = len(held.places) if material.pairs is None else len(Relevance.of(held.targets).queries)
    return {"rows": rows, "correct": 0, **_by_metrics(asked, held, lambda _: predicted, reason)}


def _by_metrics(
    asked: Assignment, held: Rows, predicted: Callable[[Metric], NDArray[Any]], reason: Callable[[str], str]
) -> dict[str, Any]:
    """Every metric of the task, and the interval of the one that decides.

    Args:
        asked: of the fine-tuning.
        held: the held-out rows.
        predicted: the predictions as a metric takes them.
        reason: why the deciding metric is not defined, and what to do, from words for the held-out rows.
    """
    decides = asked.task.metric
    found = {metric.name: metric.measure(held.targets, predicted(metric)) for metric in asked.task.metrics}
    if not math.isfinite(found[decides.name]):
        raise CandidateError(f"{decides.title} cannot be computed{reason(f'the {len(held.places)} held-out rows')}")
    return {
        "accuracy": found[decides.name],
        "interval": decides.interval(held.targets, predicted(decides), asked.seed),
        "metrics": {name: value for name, value in found.items() if math.isfinite(value)},
    }


def _undefined(rows: str) -> str:
    return f" for {rows}. Give more rows."


def _scores(outputs: NDArray[Any], classes: NDArray[np.int64], targets: NDArray[Any]) -> NDArray[np.float64]:
    """(G, ..., C) the probability of each class; 0 for a class that was not trained on."""
    raised = np.exp(outputs - outputs.max(axis=-1, keepdims=True), dtype=np.float64)
    found = np.zeros((*outputs.shape[:-1], 1 + max(int(classes.max()), int(targets.max()))))
    found[..., classes] = raised / raised.sum(axis=-1, keepdims=True)
    return found


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
