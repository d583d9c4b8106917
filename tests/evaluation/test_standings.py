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
from modelselect.estimators.posterior import BRIEF, EARLIER, Piece, Pool
from modelselect.evaluation.results import ScoringResult
from modelselect.evaluation.standings import Rule, stand
from modelselect.ranking.notes import notes_of
from tests.selection.material import SOME, rank

pytestmark = pytest.mark.usefixtures("cache")


def test_several_estimators_are_combined_by_mean_rank(dataset: Path) -> None:
    board = rank(dataset, "embedded:*", estimators=["nc_score", "knn"])
    n = len(board.rows)
    scores = np.array([[row.scores[name] for row in board.rows] for name in ("nc_score", "knn")])
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


class Saturated(ms.Estimator):
    """The same score for every candidate, apart by rounding."""

    name = "saturated"
    requires = frozenset({"features"})
    citation = "Nobody, 2026."

    def score(self, evidence: ms.Evidence) -> dict[str, float]:
        assert evidence.features is not None
        return {"saturated": 2 + 1e-14 * float(np.sin(evidence.features.sum()))}


def test_a_saturated_score_moves_no_candidate(dataset: Path) -> None:
    alone, among = (rank(dataset, estimators=names) for names in ("knn", ["knn", Saturated()]))
    assert [row.rank for row in among.rows] == [row.rank for row in alone.rows]
    assert {row.rank for row in rank(dataset, SOME, estimators=Saturated()).rows} == {1}


def test_an_estimator_that_says_that_a_score_is_invalid_is_left_out_of_the_mean_rank(dataset: Path) -> None:
    probe = ms.Probe.of(dataset, size=None)
    board = rank(probe, estimators=["knn", "centroid", "logme"], resamples=4)
    without = rank(probe, estimators=["knn", "centroid"], resamples=4)
    dimensions = {row.feature_dim for row in board.rows}
    assert min(dimensions) < 60 <= max(dimensions), "the probe has 60 rows, so that logme is invalid for some"
    for row, other in zip(board.rows, without.rows, strict=True):
        assert (row.candidate, row.rank, row.score) == (other.candidate, other.rank, other.score)
        assert (row.standard_error, row.probability_best) == (other.standard_error, other.probability_best)
        assert "logme" in row.scores
    assert board.confidence == without.confidence
    notes = [note for note in notes_of(board) if note.startswith("logme")]
    wide = sum(row.feature_dim >= 60 for row in board.rows)
    assert len(notes) == 1
    assert notes[0].startswith(
        f"logme, for {wide} of {len(board.rows)} candidates: left out of the mean rank: logme of 60"
    )


def test_an_estimator_that_says_that_a_score_is_invalid_ranks_where_no_other_does(dataset: Path) -> None:
    board = rank(dataset, estimators="logme")
    scores = [row.scores["logme"] for row in board.rows]
    assert scores == sorted(scores, reverse=True)
    assert any("is inflated" in note and "left out" not in note for note in notes_of(board))


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


class Odd(Weighing):
    """Gives pieces of evidence that do not fit, or raises: always, or from the second time on."""

    name = "odd"

    def __init__(self, pieces: Any, once: bool = False) -> None:
        super().__init__()
        self.given, self.once = pieces, once

    def pieces(self, scores: Sequence[Any], pool: Pool | None = None) -> list[Piece]:
        self.asked.append(len(scores))
        if self.once and len(self.asked) == 1:
            return [Piece("probe", np.arange(len(scores)) * 1.0, 0.5)]
        return [Piece(*piece) for piece in self.given]


THREE = np.arange(3.0)


def scored(scores: dict[str, float], resamples: int = 0) -> ScoringResult:
    components = {name: {name: float(value)} for name, value in scores.items()}
    return ScoringResult(components, resampled={name: [given] * resamples for name, given in components.items()})


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ([("a", THREE[:1], 0.5)], "shape"),
        ([("a", np.array(1.0), 0.5)], "shape"),
        ([("a", THREE, 0.5), ("a", THREE, 0.5)], "name of its own"),
        ([("a", THREE, 1.5)], "expected 0 to 1"),
        ([(EARLIER, THREE, 0.5)], "is named"),
        ([(BRIEF, THREE, 0.5)], "is named"),
        ([(3, THREE, 0.5)], "is named"),
        (None, "NoneType"),
    ],
)
def test_pieces_that_do_not_fit_cost_their_estimator_its_column_and_no_more(pieces: Any, reason: str) -> None:
    pool = [ms.Candidate("shelf", name) for name in "abc"]
    late, weigher = Late(0.0), Odd(pieces)
    results = {candidate.id: scored({late.name: i, weigher.name: i}) for i, candidate in enumerate(pool)}
    found = stand(pool, results, Rule([late, weigher], [late, weigher]))
    assert reason in found.failures[weigher.name].reason
    assert np.isfinite(found.totals).all()


def test_an_estimator_that_cannot_combine_resamples_costs_its_column_only() -> None:
    pool = [ms.Candidate("shelf", name) for name in "abc"]
    late, weigher = Late(0.0), Odd(None, once=True)
    results = {candidate.id: scored({late.name: i, weigher.name: i}, 2) for i, candidate in enumerate(pool)}
    found = stand(pool, results, Rule([late, weigher], [late, weigher], resamples=2))
    assert set(found.failures) == {weigher.name}
    assert found.replicates.shape == (2, 3)
    assert np.isfinite(found.replicates).all()


def test_pieces_are_asked_for_once() -> None:
    pool = [ms.Candidate("shelf", name) for name in "abc"]
    weigher = Odd(None, once=True)
    results = {candidate.id: scored({weigher.name: i}) for i, candidate in enumerate(pool)}
    found = stand(pool, results, Rule([weigher], [weigher]))
    assert not found.failures
    assert [piece.name for piece in found.pieces] == ["probe"]
