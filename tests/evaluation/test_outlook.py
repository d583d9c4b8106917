"""`Outlook`: what all evidence of a run says of its candidates, stage by stage."""

from __future__ import annotations

import numpy as np
import pytest

from modelselect.candidates.candidate import Candidate
from modelselect.estimators.posterior import BRIEF, EARLIER, Piece, normal_scores, posterior
from modelselect.evaluation.outlook import SCORE_RELIABILITY, Outlook
from modelselect.evaluation.standings import Standings
from modelselect.ranking.ranking import Ranking
from modelselect.ranking.row import RankedCandidate

POOL = tuple(Candidate("shelf", name) for name in "abcdef")
ROWS = {candidate.id: 1_000 for candidate in POOL}
TOTALS = np.array([0.9, 0.8, 0.6, np.nan, 0.3, 0.1])


def standings(totals: np.ndarray, pool: tuple[Candidate, ...] = POOL, pieces: tuple[Piece, ...] = ()) -> Standings:
    return Standings(
        pool,
        ranked_by=("x",),
        left_out=frozenset(),
        scores={"x": totals},
        failures={},
        errors={},
        totals=totals,
        replicates=np.zeros((0, len(pool))),
        pieces=pieces,
    )


def outlook(totals: np.ndarray = TOTALS) -> Outlook:
    found = Outlook.of([standings(totals)])
    assert found is not None
    return found


def test_a_score_without_pieces_counts_as_one_piece() -> None:
    found = outlook()
    expected = posterior([Piece("score", normal_scores([0.9, 0.8, 0.6, 0.3, 0.1]), SCORE_RELIABILITY)], 5)
    assert found.candidates == tuple(c.id for c in POOL if c.name != "d")
    np.testing.assert_allclose(found.posterior.mean, expected.mean)


def test_no_score_is_no_outlook() -> None:
    assert Outlook.of([standings(np.full(6, np.nan))]) is None
    assert Outlook.of([]) is None


def test_a_later_round_keeps_the_order_of_its_candidates_and_their_place_in_the_pool() -> None:
    later = standings(np.array([0.5, 0.7]), POOL[:2])
    found = Outlook.of([standings(TOTALS), later])
    assert found is not None
    first = outlook().posterior.mean
    mean = dict(zip(found.candidates, found.posterior.mean, strict=True))
    assert mean["shelf:b"] > mean["shelf:a"]  # as in the later round
    assert mean["shelf:a"] > mean["shelf:c"]  # the later round does not move them below those that ended
    np.testing.assert_allclose((mean["shelf:a"] + mean["shelf:b"]) / 2, first[:2].mean())
    np.testing.assert_allclose(found.posterior.mean[2:], first[2:])


def test_after_a_later_round_the_contributions_add_up_to_the_mean() -> None:
    later = standings(np.array([0.5, 0.7, 0.1]), POOL[:3])
    found = Outlook.of([standings(TOTALS), later])
    assert found is not None
    columns = found.posterior.contributions
    assert set(columns) == {"score", EARLIER}
    np.testing.assert_allclose(np.nansum(list(columns.values()), axis=0), found.posterior.mean)
    assert np.isfinite(columns[EARLIER]).tolist() == [True, True, True, False, False]


def test_after_a_later_round_its_pieces_are_kept_of_its_candidates() -> None:
    pieces = (Piece("probe", normal_scores([0.5, 0.7, 0.1]), 0.5),)
    later = standings(np.array([0.5, 0.7, 0.1]), POOL[:3], pieces)
    found = Outlook.of([standings(TOTALS, pieces=(Piece("probe", normal_scores(TOTALS), 0.5),)), later])
    assert found is not None
    values = dict(zip(found.candidates, found.pieces["probe"], strict=True))
    assert [name for name, value in values.items() if np.isfinite(value)] == ["shelf:a", "shelf:b", "shelf:c"]
    assert values["shelf:b"] > values["shelf:a"] > values["shelf:c"]


def test_a_later_round_without_a_score_changes_nothing() -> None:
    found = Outlook.of([standings(TOTALS), standings(np.full(2, np.nan), POOL[:2])])
    assert found is not None
    np.testing.assert_array_equal(found.posterior.mean, outlook().posterior.mean)


def test_of_a_part_of_the_candidates_the_best_of_these_is_the_best() -> None:
    found = outlook().among({"shelf:b", "shelf:c"})
    assert found is not None
    assert found.candidates == ("shelf:b", "shelf:c")
    assert found.posterior.probability_best.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(found.posterior.mean, outlook().posterior.mean[1:3])
    assert outlook().among(()) is None


def test_brief_accuracies_of_the_first_do_not_push_them_below_the_others() -> None:
    found = outlook().with_brief({"shelf:a": 0.6, "shelf:b": 0.7}, ROWS)
    mean = dict(zip(found.candidates, found.posterior.mean, strict=True))
    assert mean["shelf:b"] > mean["shelf:a"] > mean["shelf:c"]
    assert BRIEF in found.posterior.contributions
    assert np.all(found.posterior.variance <= outlook().posterior.variance + 1e-12)


def test_a_brief_accuracy_alone_changes_nothing() -> None:
    np.testing.assert_array_equal(outlook().with_brief({"shelf:a": 0.6}, ROWS).posterior.mean, outlook().posterior.mean)


def test_brief_accuracies_that_differ_by_chance_change_no_order() -> None:
    few = outlook().with_brief({"shelf:a": 0.25, "shelf:b": 0.30, "shelf:c": 0.28}, dict.fromkeys(ROWS, 40))
    np.testing.assert_allclose(few.posterior.mean, outlook().posterior.mean, atol=1e-12)


def test_accuracies_on_many_rows_decide_and_on_few_rows_do_not() -> None:
    accuracies = {"shelf:a": 0.70, "shelf:b": 0.75}
    many = outlook().with_accuracies(accuracies, rows=10_000).posterior
    few = outlook().with_accuracies(accuracies, rows=20).posterior
    assert many.probability_better(1, 0) > 0.99
    assert few.probability_better(1, 0) < 0.8


def test_the_binomial_error_decides_how_sure_the_better_of_two_is() -> None:
    """Without a prior the probability is that of two independent binomial shares."""
    rows, first, second = 200, 0.80, 0.74
    flat = outlook(np.array([0.0, 0.0, -1.0, np.nan, -1.0, -1.0]))
    found = flat.with_accuracies({"shelf:a": first, "shelf:b": second}, rows).posterior
    errors = [(p * rows + 1) / (rows + 2) for p in (first, second)]
    z = (first - second) / np.sqrt(sum(p * (1 - p) / rows for p in errors))
    from scipy.special import ndtr

    assert 0.5 < found.probability_better(0, 1) <= float(ndtr(z)) + 1e-9  # the prior can only shrink the difference


def test_among_the_fine_tuned_the_most_accurate_is_the_most_probable_whatever_was_expected_before() -> None:
    found = outlook().with_accuracies({"shelf:a": 0.58, "shelf:b": 0.60, "shelf:c": 0.61}, rows=90).posterior
    assert outlook().posterior.mean[0] > outlook().posterior.mean[2]
    assert found.mean[2] > found.mean[1] > found.mean[0]
    assert found.probability_best[2] > found.probability_best[0]
    assert found.probability_better(2, 0) < 0.8  # three points on 90 rows are no proof


@pytest.mark.parametrize("accuracies", [{}, {"shelf:a": 0.9}])
def test_one_accuracy_compares_with_nothing(accuracies: dict[str, float]) -> None:
    np.testing.assert_array_equal(outlook().with_accuracies(accuracies, 100).posterior.mean, outlook().posterior.mean)


def test_the_ranking_shows_what_is_expected_and_its_confidence_is_that_of_the_first() -> None:
    found = outlook()
    rows = tuple(
        RankedCandidate(candidate)
        if np.isnan(total)
        else RankedCandidate(candidate, rank=1 + int((total < TOTALS).sum()), score=float(total))
        for candidate, total in zip(POOL, TOTALS, strict=True)
    )
    shown = found.shown_on(Ranking(rows))
    assert shown.confidence == shown.rows[0].probability_best
    assert sum(row.probability_best or 0.0 for row in shown.rows) == pytest.approx(1.0)
    assert shown.rows[3].expectation is None
    for row in shown.ranked:
        assert row.expectation is not None
        assert sum(row.expectation.contributions.values()) == pytest.approx(row.expectation.mean)
        assert row.expectation.rank_interval[0] <= row.expectation.rank_interval[1]
    assert Ranking.from_json(shown.to_json()) == shown
    assert shown.rivals
    assert all(row.candidate.name != "a" for row in shown.rivals)
