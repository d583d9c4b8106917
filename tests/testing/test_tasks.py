"""The kit for tasks: shipped tasks pass, and a broken one is caught by the name of its promise."""

from __future__ import annotations

import pytest
import torch

import modelselect as ms
from modelselect.host.host import get_host
from modelselect.tasks import MEAN_ABSOLUTE_ERROR, R2, Objective, SquaredError, Task


@pytest.mark.parametrize("name", ["classification", "regression", "multi-label", "text-pair", "audio-classification"])
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


class Wordless(Fair):
    summary = "numbers"


@pytest.mark.parametrize(
    ("task", "promise"),
    [
        (ErrorFirst(), "metrics_prefer_the_truth"),
        (GoesWrong(), "loss_falls_towards_the_truth"),
        (GoesWrong(), "credit_of_the_truth_is_one"),
        (Wordless(), "summary_is_a_sentence"),
    ],
)
def test_a_broken_task_is_caught_by_name(task: Task, promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        ms.testing.check_task(task)


class TestFair(ms.testing.TaskTests):
    task = Fair()
