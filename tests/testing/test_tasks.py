"""The kit for tasks: shipped tasks pass, and a broken one is caught by the name of its promise."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import modelselect as ms
from modelselect.host.host import get_host
from modelselect.tasks import ACCURACY, MEAN_ABSOLUTE_ERROR, R2, CrossEntropy, Metric, Objective, SquaredError, Task
from modelselect.testing.tasks import task_checks


@pytest.mark.parametrize(
    "name",
    [
        "classification",
        "regression",
        "multi-label",
        "text-pair",
        "audio-classification",
        "retrieval",
        "token-classification",
        "segmentation",
        "detection",
    ],
)
def test_shipped_tasks_keep_their_promises(name: str) -> None:
    ms.testing.check_task(get_host().task(name))


class Fair(Task):
    name = "fair"
    summary = "Numbers."
    targets = ("numbers",)
    metrics = (R2,)
    objective = SquaredError()


class ErrorFirst(Fair):
    metrics = (MEAN_ABSOLUTE_ERROR, R2)


class Backwards(Objective):
    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return -(outputs - targets).square().sum()

    def credit(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (outputs - targets).square().sum()


class GoesWrong(Fair):
    objective = Backwards()


class Ratio(Objective):
    """The Poisson likelihood of numbers that are divided by their mean: right only for targets that are scaled."""

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return ((1 + outputs) - (1 + targets) * torch.log((1 + outputs).clamp(min=1e-6))).sum()

    def credit(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (-(outputs - targets).abs().sum(1)).exp().sum()

    def scaling(self, targets: Any) -> tuple[Any, Any]:
        return targets.mean(0), targets.mean(0)


class Ratios(Fair):
    objective = Ratio()


class NegativeSquaredError(SquaredError):
    def scaling(self, targets: Any) -> tuple[Any, Any]:
        return targets.mean(0), -targets.std(0)


class NegativeScale(Fair):
    objective = NegativeSquaredError()


class UnshapedSquaredError(SquaredError):
    def scaling(self, targets: Any) -> tuple[Any, Any]:
        return targets.mean(), targets.std()


class OneScale(Fair):
    objective = UnshapedSquaredError()


class Wordless(Fair):
    summary = "numbers"


class Renamed(Fair):
    def of_rows(self, probe: ms.Probe) -> Task:
        found = Fair()
        found.name = "another"  # type: ignore[misc]
        return found


class Unknown(Fair):
    targets = ("ranks",)


class Unpicklable(Fair):
    def __init__(self) -> None:
        self.measure = lambda targets, predictions: 0.0


class NeverANumber(Fair):
    metrics = (Metric("r2", "R²", lambda t, p: float("nan") if len(np.unique(t)) < t.size else 1 - np.ptp(t - p)),)


class GuessesWell(Fair):
    metrics = (Metric("r2", "R²", R2.measure, guessing=lambda targets: 1.0),)


class WrongForClasses(Task):
    """Right for numbers, which are checked last."""

    name = "two_kinds"
    summary = "Classes or numbers."
    targets = ("classes", "numbers")
    metrics = (R2,)
    objective = SquaredError()


@pytest.mark.parametrize(
    ("task", "promise"),
    [
        (Renamed(), "rows_suit"),
        (Unknown(), "targets_are_known"),
        (Unpicklable(), "task_crosses_processes"),
        (NeverANumber(), "metrics_can_be_resampled"),
        (GuessesWell(), "right_predictions_beat_guessing"),
        (WrongForClasses(), "loss_falls_towards_the_truth"),
        (ErrorFirst(), "metrics_prefer_the_truth"),
        (GoesWrong(), "loss_falls_towards_the_truth"),
        (GoesWrong(), "credit_of_the_truth_is_one"),
        (NegativeScale(), "scaling_is_usable: the deviation of scaling"),
        (OneScale(), "scaling_is_usable: the mean of scaling.. has shape"),
        (Wordless(), "summary_is_a_sentence"),
    ],
)
def test_a_broken_task_is_caught_by_name(task: Task, promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        ms.testing.check_task(task)


def test_the_loss_is_asked_for_targets_as_a_training_has_them() -> None:
    """Before they were scaled, the likelihood had no sense: 100 times their mean is not near 0."""
    counts = np.random.default_rng(0).poisson(100, 24).astype(float)
    ms.testing.check_task(Ratios(), ([f"text {row}" for row in range(24)], counts))


class TestFair(ms.testing.TaskTests):
    task = Fair()


GRADES = ("mild", "moderate", "severe")


class Grades(Task):
    """Refuses rows of other classes."""

    name = "grades"
    summary = "Mild, moderate or severe."
    targets = ("classes",)
    metrics = (ACCURACY,)
    objective = CrossEntropy()

    def of_rows(self, probe: ms.Probe) -> Task:
        if unknown := sorted(set(probe.class_names) - set(GRADES)):
            raise ms.errors.DatasetError(f"{unknown[0]!r} is no grade; expected {', '.join(GRADES)}")
        return super().of_rows(probe)


ROWS = ([f"patient {row}" for row in range(12)], list(GRADES) * 4)


class TestGrades(ms.testing.TaskTests):
    task = Grades()
    data: ClassVar[Any] = ROWS


def test_a_task_of_certain_classes_is_checked_on_rows_of_its_author() -> None:
    with pytest.raises(AssertionError) as raised:
        ms.testing.check_task(Grades())
    (fault,) = str(raised.value).splitlines()[1:]  # one cause, one line
    assert fault.startswith("- rows_suit: the task refuses the rows: '0' is no grade; expected mild, moderate, severe")
    assert "Give a dataset that suits it: check_task(task, data)" in fault
    ms.testing.check_task(Grades(), ROWS)


def test_rows_without_labels_are_refused() -> None:
    with pytest.raises(AssertionError, match="has no labels; give one whose rows have labels"):
        ms.testing.check_task(Grades(), (ROWS[0], [None] * 12))


def test_each_check_has_a_name_of_its_own() -> None:
    names = [name for name, _ in task_checks(get_host().task("text-pair"))]
    assert len(set(names)) == len(names)
