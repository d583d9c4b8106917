"""Named checks for authors of tasks."""

from __future__ import annotations

import io
import math
import pickle
import wave
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from modelselect.probe.probe import Probe
from modelselect.probe.rows import AUDIO
from modelselect.tasks.metrics import Metric
from modelselect.tasks.objectives import Objective
from modelselect.tasks.task import Task
from modelselect.testing.checks import Check, name_is_valid, named_check, run_checks
from modelselect.utils.target_kinds import CLASSES, NUMBERS, TARGET_KINDS

ROWS = 24
"""Rows of the example that the checks use."""


def check_task(task: Task, *, expected_failures: Mapping[str, str] | None = None) -> None:
    """Runs every check of `task_checks` and reports all that fail, by name.

    Args:
        task: the instance to be registered.
        expected_failures: as for `check_estimator`.

    Raises:
        AssertionError: lists the checks that failed, or that passed although they were expected to fail.

    >>> from modelselect.host import get_host
    >>> check_task(get_host().task("regression"))
    """
    run_checks(f"task {task.name!r}", task_checks(task), expected_failures)


def task_checks(task: Task) -> list[Check]:
    """For every promise of a task, a name and a check; see `check_task`."""
    return [
        named_check(name_is_valid, task),
        named_check(_summary_is_a_sentence, task),
        named_check(_targets_are_known, task),
        named_check(_task_crosses_processes, task),
        *(
            check
            for kind in task.targets
            for check in (
                named_check(_rows_suit, task, kind),
                named_check(_metrics_prefer_the_truth, task, kind),
                named_check(_loss_falls_towards_the_truth, task, kind),
                named_check(_credit_of_the_truth_is_one, task, kind),
            )
        ),
    ]


def example_targets(kind: str) -> NDArray[np.float64] | NDArray[np.int64]:
    """Targets of a kind: (N,) classes 0 to 2, or (N, 2) numbers, or (N, 3) sets of labels, the same each time."""
    rng = np.random.default_rng(0)
    if kind == CLASSES:
        return rng.permutation(np.arange(ROWS) % 3)
    return rng.normal(size=(ROWS, 2)) if kind == NUMBERS else rng.integers(0, 2, (ROWS, 3)).astype(np.float64)


def _of_kind(task: Task, kind: str) -> Task:
    rows = [_tone(row) if task.modality == AUDIO else ("a text", f"another text {row}") for row in range(ROWS)]
    return task.of_rows(Probe.of((rows, example_targets(kind)), targets=kind))


def _tone(row: int) -> bytes:
    """A WAV file of a tenth of a second, another one for each row."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((8000 * np.sin(np.arange(800) * (row + 1) / 20)).astype("<i2").tobytes())
    return content.getvalue()


def _summary_is_a_sentence(task: Task) -> None:
    assert task.summary.strip().endswith("."), f"summary is {task.summary!r}; expected one sentence with a full stop"


def _targets_are_known(task: Task) -> None:
    unknown = set(task.targets) - set(TARGET_KINDS)
    assert not unknown, f"targets names {', '.join(sorted(unknown))}; expected of {', '.join(TARGET_KINDS)}"


def _task_crosses_processes(task: Task) -> None:
    again = pickle.loads(pickle.dumps(task))
    assert again.name == task.name, "a copy from another process has another name"


def _rows_suit(task: Task, kind: str) -> None:
    found = _of_kind(task, kind)
    assert found.name == task.name, f"of_rows() gives a task named {found.name!r}; expected {task.name!r}"


def _metrics_prefer_the_truth(task: Task, kind: str) -> None:
    task, targets = _of_kind(task, kind), example_targets(kind)
    assert task.metric.higher_is_better, (
        f"the first metric, {task.metric.name}, is an error; it has to order candidates"
    )
    for metric in task.metrics:
        right, wrong = _measured(metric, kind, targets, np.arange(ROWS)), _measured(metric, kind, targets, _shifted())
        better = right > wrong if metric.higher_is_better else right < wrong
        assert better, f"{metric.name} is {right} for right predictions and {wrong} for those of other rows"


def _shifted() -> NDArray[np.int64]:
    return np.roll(np.arange(ROWS), 1)


def _measured(metric: Metric, kind: str, targets: NDArray[np.generic], rows: NDArray[np.int64]) -> float:
    scores = targets[rows] if kind in (CLASSES, NUMBERS) else 8.0 * targets[rows].astype(np.float64) - 4
    return metric.measure(targets, scores)


def _loss_falls_towards_the_truth(task: Task, kind: str) -> None:
    right, wrong = _loss(_of_kind(task, kind).objective, kind, 1.0), _loss(_of_kind(task, kind).objective, kind, 0.0)
    assert math.isfinite(right), f"the loss of right outputs is {right}"
    assert right < wrong, f"the loss is {right} for right outputs and {wrong} for outputs of 0"


def _credit_of_the_truth_is_one(task: Task, kind: str) -> None:
    import torch

    outputs, targets = _outputs(kind, 1.0)
    credit = float(_of_kind(task, kind).objective.credit(torch.from_numpy(outputs), torch.from_numpy(targets)))
    assert abs(credit - ROWS) < 1e-3, f"the credit of {ROWS} right rows is {credit}; expected 1 for each"


def _loss(objective: Objective, kind: str, share: float) -> float:
    import torch

    outputs, targets = _outputs(kind, share)
    return float(objective.loss(torch.from_numpy(outputs), torch.from_numpy(targets)))


def _outputs(kind: str, share: float) -> tuple[NDArray[np.float32], NDArray[np.generic]]:
    """(N, K) right outputs times `share`, and the targets."""
    targets = example_targets(kind)
    if kind == CLASSES:
        return (share * 8 * np.eye(3)[targets.astype(np.int64)]).astype(np.float32), targets
    plain = targets.astype(np.float32)
    return (share * (plain if kind == NUMBERS else 16 * plain - 8)).astype(np.float32), plain
