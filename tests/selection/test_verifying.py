"""The best candidates are fine-tuned, and rank by their accuracy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.selection.budgeted import CLEAR, tune
from tests.selection.material import QUICK, rank

pytestmark = pytest.mark.usefixtures("cache")


def test_the_top_k_are_fine_tuned_and_lead_in_the_order_of_their_accuracy(dataset: Path) -> None:
    board = rank(dataset, top_k=2, fine_tuning=QUICK)
    verified = [row for row in board.rows if row.verified_accuracy is not None]
    assert verified == list(board.rows[:2])
    assert {row.predicted_rank for row in verified} == {1, 2}
    assert verified[0].verified_accuracy >= verified[1].verified_accuracy  # type: ignore[operator]
    for row in verified:
        low, high = row.verified_interval  # type: ignore[misc]
        assert 0 <= low <= row.verified_accuracy <= high <= 1  # type: ignore[operator]
    ranks = [row.rank for row in board.rows]
    assert ranks == sorted(ranks)  # type: ignore[type-var]
    assert board.provenance["dataset"]["training_rows"] == 48


def test_nothing_is_fine_tuned_where_the_winner_is_decided() -> None:
    board = tune(CLEAR, budget="10m", top_k=2)
    assert board.provenance["budget"]["stages"][-1]["decision"].startswith("not needed: ")
    assert all(row.verified_accuracy is None for row in board.rows)
