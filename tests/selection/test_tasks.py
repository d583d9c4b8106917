"""Every task goes through rounds, and reads layers: the same numbers as without, and the same head at the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import modelselect as ms
from tests.evaluation.material import rank

pytestmark = pytest.mark.usefixtures("cache")

NETWORKS = ["embedded:resnet.letters", "embedded:plain.letters", "embedded:vit.letters", "embedded:resnet.textures"]
ROWS = 160


def targets(task: str) -> Any:
    brightness = np.linspace(0, 1, ROWS)
    if task == "regression":
        return brightness
    if task == "multi-label":
        return np.stack([brightness > 0.3, brightness > 0.6, brightness < 0.5], 1).astype(float)
    return (brightness > 0.5).astype(int)


def dataset(task: str) -> tuple[np.ndarray, Any]:
    noise = np.random.default_rng(0).integers(0, 120, (ROWS, 32, 32, 3))
    pixels = noise + (120 * np.linspace(0, 1, ROWS)).astype(int)[:, None, None, None]
    order = np.random.default_rng(1).permutation(ROWS)
    return pixels.astype(np.uint8)[order], targets(task)[order]


TASKS = pytest.mark.parametrize("task", ["classification", "regression", "multi-label"])


@TASKS
def test_rounds_of_a_task_score_the_last_candidates_as_a_run_without_rounds(task: str) -> None:
    named = {"task": task, "estimators": "linear_probe"}
    plain = {row.candidate.id: row.score for row in rank(NETWORKS, dataset(task), **named).ranked}
    board = rank(NETWORKS, dataset(task), rounds=True, **named)
    assert board.provenance["task"]["name"] == task
    stages = board.provenance["rounds"]
    assert stages[0]["rows"] < stages[-1]["rows"]
    last = [row for row in board.ranked if row.probe_rows in (None, stages[-1]["rows"])]
    assert last
    for row in last:
        assert row.score == pytest.approx(plain[row.candidate.id])


@TASKS
def test_a_layer_is_ranked_and_fine_tuned_by_the_task(task: str) -> None:
    named = {"task": task, "estimators": "linear_probe", "top_k": 1, "verify": "head"}
    board = rank("embedded:resnet.letters?layer=*", dataset(task), **named)
    assert len(board.ranked) == 4
    assert len({row.score for row in board.ranked}) > 1
    assert board.best.verified_accuracy is not None
    assert board.provenance["task"]["metric"] == {"regression": "r2", "multi-label": "mean_average_precision"}.get(
        task, "accuracy"
    )
    evidence = ms.features(dataset(task), "embedded:resnet.letters?layer=2", task=task, progress=False)
    assert evidence.target_kind == board.provenance["task"]["targets"]
