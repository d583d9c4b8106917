"""The best candidates are fine-tuned, and rank by their accuracy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.selection.budgeted import tune
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


@pytest.mark.parametrize(("confidence", "tuned"), [(0.7, 0), (0.9, 2)])
def test_nothing_is_fine_tuned_where_the_first_is_probably_the_best(confidence: float, tuned: int) -> None:
    """One score says with 78% which of two is the better: that the order by score is clear does not make it more."""
    board = tune([0.2, 3.5], budget="10m", top_k=2, confidence=confidence)
    decision = board.provenance["budget"]["stages"][-1]["decision"]
    assert sum(row.verified_accuracy is not None for row in board.rows) == tuned
    if tuned:
        assert decision == "2 of 2 candidates, the whole recipe"
    else:
        assert decision == "not needed: the first is the best with 78%"
        assert round(board.confidence or 0.0, 2) == 0.78
