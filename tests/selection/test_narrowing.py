"""Recall keeps the candidates of which the history expects most."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import modelselect as ms
from modelselect.history import History

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def remembered(tmp_path: Path) -> History:
    from modelselect.history import ACCURACY, Result

    history = History(tmp_path / "history.sqlite")
    history.record(
        Result(candidate.unversioned_id, f"data{j}", ACCURACY, 0.3 + 0.05 * i + 0.001 * j)
        for i, candidate in enumerate(ms.search("embedded:*"))
        for j in range(4)
    )
    return history


def test_a_plan_names_the_candidates_that_recall_keeps(remembered: History) -> None:
    rng = np.random.default_rng(0)
    images = (rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8), np.arange(40) % 2)
    plan = ms.plan(images, "embedded:*", estimators="knn", recall=3, history=remembered)
    board = ms.select(images, "embedded:*", estimators="knn", recall=3, history=remembered, progress=False)
    assert {row.candidate for row in plan.rows} == {row.candidate for row in board.rows}
    assert plan.recalled_from == 12
    assert "recalled: 3 of 12 candidates" in str(plan)
