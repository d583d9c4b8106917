"""The history keeps the scores of the whole probe only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import modelselect as ms
from modelselect.history import History

pytestmark = pytest.mark.usefixtures("cache")


def test_scores_of_fewer_rows_do_not_pass_for_those_of_the_dataset(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    images = (rng.integers(0, 150, (400, 32, 32, 3)) + 60 * labels[:, None, None, None]).astype(np.uint8)
    board = ms.select(
        (images, labels), "embedded:*", estimators="logme", budget="20000 passes", history=history,
        progress=False,
    )  # fmt: skip
    kept = {row.candidate.unversioned_id for row in board.rows if row.stopped is None}
    assert {result.candidate for result in history.results()} == kept
    assert {result.dataset for result in history.results()} == {board.provenance["fingerprint"]}
