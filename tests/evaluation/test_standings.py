"""Several estimators are combined by the mean of their ranks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import rankdata

import modelselect as ms
from modelselect.errors import Failure
from modelselect.estimators.posterior import Piece, Pool
from modelselect.estimators.ranks import mean_rank
from modelselect.evaluation.standings import Rule, stand
from tests.selection.material import SOME, rank

pytestmark = pytest.mark.usefixtures("cache")


def test_several_estimators_are_combined_by_mean_rank(dataset: Path) -> None:
    board = rank(dataset, "embedded:*", estimators=["logme", "knn"])
    n = len(board.rows)
    scores = np.array([[row.scores[name] for row in board.rows] for name in ("logme", "knn")])
    assert len(set(scores[1])) < n, "ties are part of the test"
    expected = ((rankdata(scores, axis=1) - 1) / (n - 1)).mean(0)  # ties share the mean of their ranks
    assert [row.score for row in board.rows] == pytest.approx(expected)
    assert np.argsort(-scores.mean(0), kind="stable").tolist() != list(range(n)), "raw scores would order them the same"


class Late(ms.Estimator):
    name = "late"
    requires = frozenset({"features"})
    citation = "Nobody, 2026."

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def score(self, evidence: ms.Evidence) -> dict[str, float]:
        return {"late": 1.0}

    def combine(self, scores: Any) -> Any:
        if self.answer == "raise":
            raise ZeroDivisionError("at the very end")
        return np.full(len(scores), self.answer)


@pytest.mark.parametrize(("answer", "words"), [("raise", "at the very end"), (float("inf"), "finite")])
def test_an_estimator_that_cannot_combine_costs_its_column_only(dataset: Path, answer: Any, words: str) -> None:
    board = rank(dataset, SOME, estimators=["logme", Late(answer)])
    assert all(row.rank is not None and "late" not in row.scores and words in row.status for row in board.rows)


def test_equal_mean_ranks_are_equal_in_whatever_order_the_estimators_are_named(dataset: Path) -> None:
    names = ["etran", "knn", "logme"]
    ranks = [{r.candidate.id: r.rank for r in rank(dataset, estimators=order).rows} for order in (names, names[::-1])]
    assert ranks[0] == ranks[1]
    thirds = {str(i): np.array(values) for i, values in enumerate([[0.1, 0.4], [0.4, 0.3], [0.5, 0.3]])}
    assert len(set(mean_rank(thirds).tolist())) == 1


class Weighing(Late):
    """Weighs evidence, and remembers how many candidates it was asked about."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.asked: list[int] = []

    def pieces(self, scores: Sequence[Any], pool: Pool | None = None) -> list[Piece]:
        self.asked.append(len(scores))
        return [Piece("probe", np.arange(len(scores)) * 1.0, 0.5)]


def test_evidence_is_weighed_of_the_candidates_that_have_a_score_and_not_of_an_empty_pool() -> None:
    pool = [ms.Candidate("shelf", name) for name in "ab"]
    failed = {candidate.id: Failure("load", "gone") for candidate in pool}
    weigher = Weighing()
    found = stand(pool, failed, Rule([weigher], [weigher]))
    assert weigher.asked == []
    assert np.isnan(found.totals).all()
    assert found.pieces == ()
