"""Named checks for authors of tasks."""

from __future__ import annotations

import io
import math
import pickle
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import DatasetError
from modelselect.probe.probe import Probe
from modelselect.probe.rows import AUDIO
from modelselect.tasks.metrics import RESAMPLES, Metric
from modelselect.tasks.objectives import Objective
from modelselect.tasks.task import Task
from modelselect.testing.checks import Check, called, lacking, name_is_valid, named_check, run_checks
from modelselect.utils.relevance import Relevance
from modelselect.utils.target_kinds import BOX, CLASSES, NUMBERS, PIXEL, RELEVANCE, TARGET_KINDS, WORD

ROWS = 24
"""Rows of the example that the checks use."""


def check_task(task: Task, data: Any = None, *, expected_failures: Mapping[str, str] | None = None) -> None:
    """Runs every check of `task_checks` and reports all that fail, by name.

    Args:
        task: the instance to be registered.
        data: a small labelled dataset that suits the task, as for `select()`; None for an example of each kind of
            targets. Give one if the task refuses rows of any other classes.
        expected_failures: as for `check_estimator`.

    Raises:
        AssertionError: lists the checks that failed, or that passed although they were expected to fail.

    >>> from modelselect.host import get_host
    >>> check_task(get_host().task("regression"))
    >>> check_task(get_host().task("classification"), (["a text", "another text"] * 4, ["dog", "cat"] * 4))
    """
    run_checks(called("task", task), task_checks(task, data), expected_failures)


def task_checks(task: Task, data: Any = None) -> list[Check]:
    """For every promise of a task, a name and a check; see `check_task`."""
    if incomplete := lacking(task, Task, "name", "summary", "targets", "metrics", "objective"):
        return incomplete
    return [
        named_check(name_is_valid, task),
        named_check(_summary_is_a_sentence, task),
        named_check(_targets_are_known, task),
        named_check(_task_crosses_processes, task),
        named_check(_rows_suit, task, data),
        named_check(_metrics_prefer_the_truth, task, data),
        named_check(_metrics_can_be_resampled, task, data),
        named_check(_right_predictions_beat_guessing, task, data),
        named_check(_scaling_is_usable, task, data),
        named_check(_loss_falls_towards_the_truth, task, data),
        named_check(_credit_of_the_truth_is_one, task, data),
    ]


@dataclass(frozen=True)
class _Example:
    """Rows with one kind of targets, and the task for them."""

    task: Task
    kind: str
    targets: NDArray[Any]


def _examples(task: Task, data: Any) -> list[_Example]:
    """The rows that an author gives, or rows of each kind that the task takes."""
    _targets_are_known(task)
    metrics: object = task.metrics
    assert isinstance(metrics, tuple), f"metrics is {metrics!r}; expected a tuple, such as (ACCURACY,)"
    objective: object = task.objective
    assert isinstance(objective, Objective), f"objective is {objective!r}; expected an instance, such as CrossEntropy()"
    if data is not None:
        probe = Probe.of(data, targets=task.targets[0] if len(task.targets) == 1 else None)
        return [_example(task, probe)]
    if task.unit in _EXAMPLES:
        return [_example(task, Probe.of(_EXAMPLES[task.unit]()))]
    rows: list[Any] = [
        _tone(row) if task.modality == AUDIO else ("a text", f"another text {row}") for row in range(ROWS)
    ]
    return [
        _example(task, Probe.of(_queries() if kind == RELEVANCE else (rows, example_targets(kind)), targets=kind))
        for kind in task.targets
    ]


def _queries() -> tuple[list[str], list[str]]:
    """Queries, and the document of each."""
    return [f"which {row}" for row in range(ROWS)], [f"this {row}" for row in range(ROWS)]


def example_masks() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images with masks of three classes, the same each time: stripes, and a row of pixels that do not count."""
    rng = np.random.default_rng(0)
    masks = np.repeat(rng.integers(0, 3, (ROWS, 4, 1)), 8, axis=1).repeat(32, axis=2).astype(np.uint8)
    images = (80 * masks[..., None] + rng.integers(0, 60, (ROWS, 32, 32, 3))).astype(np.uint8)
    masks[:, 0] = 255
    return images, masks


def example_boxes() -> tuple[NDArray[np.uint8], list[tuple[NDArray[np.float64], list[str]]]]:
    """Images with boxes of two classes, the same each time; every fourth image has none."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (ROWS, 48, 48, 3)).astype(np.uint8)
    objects = []
    for row, image in enumerate(images):
        count = row % 4
        boxes = np.hstack([rng.integers(0, 24, (count, 2)), rng.integers(10, 24, (count, 2))]).astype(np.float64)
        names = [("cup", "plate")[(row + place) % 2] for place in range(count)]
        for (x, y, width, height), name in zip(boxes.astype(int).tolist(), names, strict=True):
            image[y : y + height, x : x + width] = 200 if name == "cup" else 120
        objects.append((boxes, names))
    return images, objects


def example_sentences() -> tuple[list[list[str]], list[list[str | None]]]:
    """Sentences as words with tags, the same each time: spans of several words, and a word without a tag."""
    rng = np.random.default_rng(0)
    words: list[list[str]] = []
    tags: list[list[str | None]] = []
    for row in range(ROWS):
        length = int(rng.integers(1, 4))
        words.append(["in", *(f"place{place}" for place in range(length)), f"word{row}", "again"])
        tags.append(
            ["O", "B-place", *["I-place"] * (length - 1), *(["B-thing", None] if row % 2 else ["O", "B-thing"])]
        )
    return words, tags


_EXAMPLES: Mapping[str, Callable[[], Any]] = {WORD: example_sentences, PIXEL: example_masks, BOX: example_boxes}
"""Data for tasks whose rows are parts of others."""


def _example(task: Task, probe: Probe) -> _Example:
    assert probe.targets is not None, "the dataset has no labels; give one whose rows have labels"
    wholes = probe.wholes
    targets = np.array(probe.targets if wholes is None else wholes.targets)
    try:
        return _Example(task.of_rows(probe), probe.target_kind, targets)
    except DatasetError as refusal:
        raise AssertionError(
            f"the task refuses the rows: {refusal}. Give a dataset that suits it: check_task(task, data), or the class "
            "attribute data"
        ) from refusal


def example_targets(kind: str) -> NDArray[np.float64] | NDArray[np.int64]:
    """Targets of a kind: (N,) classes 0 to 2, or (N, 2) numbers, or (N, 3) sets of labels, the same each time."""
    rng = np.random.default_rng(0)
    if kind == CLASSES:
        return rng.permutation(np.arange(ROWS) % 3)
    return rng.normal(size=(ROWS, 2)) if kind == NUMBERS else rng.integers(0, 2, (ROWS, 3)).astype(np.float64)


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
    kinds: object = task.targets
    assert isinstance(kinds, tuple), f"targets is {kinds!r}; expected a tuple, such as ('classes',)"
    unknown = sorted(set(kinds) - set(TARGET_KINDS))
    assert not unknown, f"targets names {', '.join(unknown)}; expected names of {', '.join(TARGET_KINDS)}"


def _task_crosses_processes(task: Task) -> None:
    again = pickle.loads(pickle.dumps(task))
    assert again.name == task.name, f"a copy from another process has the name {again.name!r}, not {task.name!r}"


def _rows_suit(task: Task, data: Any) -> None:
    for example in _examples(task, data):
        found = example.task
        assert found.name == task.name, f"of_rows() gives a task named {found.name!r}; expected {task.name!r}"
        pickle.dumps(found)


def _metrics_prefer_the_truth(task: Task, data: Any) -> None:
    for example in _examples(task, data):
        first = example.task.metric
        assert first.higher_is_better, f"the first metric, {first.name}, is an error; it has to order candidates"
        for metric in example.task.metrics:
            right, wrong = _measured(metric, example), _measured(metric, example, moved=1)
            better = right > wrong if metric.higher_is_better else right < wrong
            assert better, f"{metric.name} is {right} for right predictions and {wrong} for those of other rows"


def _metrics_can_be_resampled(task: Task, data: Any) -> None:
    """An interval draws rows with repetition, so that a class may be missing."""
    for example in _examples(task, data):
        for metric in example.task.metrics:
            low, high = metric.interval(example.targets, _right(example, metric))
            assert math.isfinite(low), (
                f"{metric.name} is a number for none of {RESAMPLES} resamples of the rows; give NaN only where rows "
                "do not allow one"
            )
            assert low <= high, f"the interval of {metric.name} is {low} to {high}"


def _right_predictions_beat_guessing(task: Task, data: Any) -> None:
    for example in _examples(task, data):
        for metric in example.task.metrics:
            if metric.guessing is None:
                continue
            right, guessed = _measured(metric, example), metric.guessing(example.targets)
            better = right > guessed if metric.higher_is_better else right < guessed
            assert better, f"{metric.name} is {right} for right predictions, and guessing() gives {guessed}"


def _right(example: _Example, metric: Metric | None = None) -> NDArray[Any]:
    """Right predictions as a metric gets them: classes or their scores, numbers, scores of labels, or an embedding."""
    if metric is not None and metric.of_scores:
        return _outputs(example, 1.0)[0]
    if example.kind == RELEVANCE:
        found = Relevance.of(example.targets)
        embeddings = np.zeros((len(example.targets), len(found.documents)))
        embeddings[found.documents] = np.eye(len(found.documents))
        embeddings[found.queries[found.pairs[:, 0]], found.pairs[:, 1]] = 1
        return embeddings
    return example.targets.copy() if example.kind in (CLASSES, NUMBERS) else 8.0 * np.nan_to_num(example.targets) - 4


def _measured(metric: Metric, example: _Example, moved: int = 0) -> float:
    right = _right(example, metric)
    rows = np.flatnonzero(np.isnan(example.targets[:, 0])) if example.kind == RELEVANCE else np.arange(len(right))
    right[rows] = np.roll(right[rows], moved, axis=0)
    return metric.measure(example.targets, right)


def _scaling_is_usable(task: Task, data: Any) -> None:
    for example in _examples(task, data):
        scaling = None if example.kind == CLASSES else example.task.objective.scaling(example.targets)
        if scaling is None:
            continue
        shape = (example.targets.shape[1],)
        for what, values in zip(("mean", "deviation"), scaling, strict=True):
            assert np.shape(values) == shape, f"the {what} of scaling() has shape {np.shape(values)}; expected {shape}"
            assert np.isfinite(values).all(), f"the {what} of scaling() is {values}; expected finite numbers"
        assert (scaling[1] > 0).all(), f"the deviation of scaling() is {scaling[1]}; targets are divided by it"


def _loss_falls_towards_the_truth(task: Task, data: Any) -> None:
    for example in _examples(task, data):
        right, wrong = _loss(example, 1.0), _loss(example, 0.0)
        assert math.isfinite(right), f"the loss of right outputs is {right}"
        assert right < wrong, f"the loss is {right} for right outputs and {wrong} for outputs of 0"


def _credit_of_the_truth_is_one(task: Task, data: Any) -> None:
    import torch

    for example in _examples(task, data):
        outputs, targets = _outputs(example, 1.0)
        credit = float(example.task.objective.credit(torch.from_numpy(outputs), torch.from_numpy(targets)))
        rows = len(targets)
        assert abs(credit - rows) < 1e-3, f"the credit of {rows} right rows is {credit}; expected 1 for each"


def _loss(example: _Example, share: float) -> float:
    import torch

    outputs, targets = _outputs(example, share)
    return float(example.task.objective.loss(torch.from_numpy(outputs), torch.from_numpy(targets)))


def _outputs(example: _Example, share: float) -> tuple[NDArray[np.float32], NDArray[np.generic]]:
    """(N, K) right outputs times `share`, and the targets, as a training has them; for queries and documents, those of
    pairs of both.
    """
    targets = example.targets
    if example.kind == RELEVANCE:
        found = Relevance.of(targets)
        rows = np.concatenate([found.queries[found.pairs[:, 0]], found.documents[found.pairs[:, 1]]])
        return (share * _right(example)[rows]).astype(np.float32), found.pairs
    if example.kind == CLASSES:
        return (share * 8 * np.eye(int(targets.max()) + 1)[targets]).astype(np.float32), targets
    mean, deviation = example.task.objective.scaling(targets) or (0.0, 1.0)
    scaled = ((targets - mean) / deviation).astype(np.float32)
    right = scaled if example.kind == NUMBERS else 16 * np.nan_to_num(scaled) - 8
    return (share * right).astype(np.float32), scaled
