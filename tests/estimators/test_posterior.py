"""The posterior: what pieces of evidence say together, in closed form, and in probabilities that add up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, rankdata

from modelselect.errors import InvalidInputError
from modelselect.estimators.posterior import MOST_RELIABLE, Piece, Posterior, normal_scores, posterior

numbers = st.lists(st.one_of(st.integers(-(10**6), 10**6).map(float), st.just(float("nan"))), min_size=1, max_size=12)


@given(numbers)
def test_normal_scores_are_centred_in_order_and_of_one_spread(values: list[float]) -> None:
    scores, known = normal_scores(values), np.isfinite(values)
    assert (np.isfinite(scores) == known).all()
    if known.any():
        assert abs(scores[known].mean()) < 1e-12
        assert scores[known].std() == pytest.approx(1.0) or not scores[known].any()
        if scores[known].any():
            np.testing.assert_array_equal(rankdata(scores[known].round(9)), rankdata(np.array(values)[known]))


def test_normal_scores_are_the_quantiles_of_the_mid_ranks() -> None:
    quantiles = norm.ppf((np.array([1, 2.5, 2.5, 4]) - 0.5) / 4)
    np.testing.assert_allclose(normal_scores([3, 5, 5, 9]), (quantiles - quantiles.mean()) / quantiles.std())


def test_values_that_are_equal_up_to_rounding_have_one_normal_score() -> None:
    assert normal_scores([2 + 1e-14, 2, 2 - 1e-14]).tolist() == [0, 0, 0]
    np.testing.assert_array_equal(normal_scores([2 + 1e-14, 3, 2, 1]), normal_scores([2, 3, 2, 1]))


def test_nothing_known_leaves_the_prior() -> None:
    found = posterior([], 3)
    assert (found.mean.tolist(), found.variance.tolist()) == ([0, 0, 0], [1, 1, 1])
    empty = posterior([Piece("probe", np.full(3, np.nan), 0.7)], 3)
    assert (empty.mean.tolist(), empty.variance.tolist()) == ([0, 0, 0], [1, 1, 1])


@given(
    st.lists(st.tuples(st.floats(-3, 3), st.floats(0, MOST_RELIABLE)), min_size=1, max_size=5),
)
def test_the_mean_is_that_of_bayes_rule_on_a_fine_grid(pieces: list[tuple[float, float]]) -> None:
    grid = np.linspace(-12, 12, 24_001)
    density = norm.pdf(grid)
    for value, rho in pieces:
        density *= norm.pdf(value, rho * grid, np.sqrt(1 - rho**2))
    expected = (grid * density).sum() / density.sum()
    found = posterior([Piece(str(i), np.array([v]), r) for i, (v, r) in enumerate(pieces)], 1)
    assert found.mean[0] == pytest.approx(expected, abs=1e-6)


def test_contributions_add_up_to_the_mean_and_a_missing_piece_contributes_nothing() -> None:
    pieces = [Piece("a", np.array([1.0, np.nan, -1.0]), 0.5), Piece("b", np.array([0.5, 1.0, np.nan]), 0.6)]
    found = posterior(pieces, 3)
    np.testing.assert_allclose(np.nansum(list(found.contributions.values()), axis=0), found.mean)
    assert np.isnan(found.contributions["a"][1])
    assert np.isnan(found.contributions["b"][2])
    assert found.variance[0] < min(found.variance[1:])


def test_probabilities_are_those_of_the_posterior() -> None:
    found = posterior([Piece("probe", normal_scores([0.9, 0.7, 0.2, 0.1]), 0.8)], 4, seed=3)
    assert found.probability_best.sum() == pytest.approx(1.0)
    assert (np.diff(found.probability_best) <= 0).all()
    spread = np.sqrt(found.variance[0] + found.variance[1])
    expected = norm.cdf((found.mean[0] - found.mean[1]) / spread)
    assert found.probability_better(0, 1) == pytest.approx(expected)
    assert found.probability_better(0, 1) + found.probability_better(1, 0) == pytest.approx(1.0)
    again = posterior([Piece("probe", normal_scores([0.9, 0.7, 0.2, 0.1]), 0.8)], 4, seed=3)
    assert (again.probability_best == found.probability_best).all()


@given(st.permutations(range(7)))
def test_the_order_of_the_pool_changes_no_probability_and_no_interval(order: list[int]) -> None:
    mean = np.array([0.9, 0.85, 0.85 + 1e-16, 0.85, 0.1, -0.5, 0.1])
    variance = np.array([0.3, 0.2, 0.2, 0.4, 1.0, 0.05, 1.0])
    one, other = Posterior(mean, variance), Posterior(mean[order], variance[order])
    np.testing.assert_allclose(other.probability_best, one.probability_best[order], rtol=1e-12)
    np.testing.assert_array_equal(other.rank_intervals(), one.rank_intervals()[order])
    assert one.probability_best[1] == one.probability_best[2] > one.probability_best[5]


def test_rank_intervals_hold_the_rank_and_widen_with_the_level() -> None:
    found = posterior([Piece("probe", normal_scores(np.arange(9.0)), 0.9)], 9)
    narrow, wide = found.rank_intervals(0.5), found.rank_intervals(0.95)
    assert (wide[:, 0] <= narrow[:, 0]).all()
    assert (wide[:, 1] >= narrow[:, 1]).all()
    assert narrow[8, 0] == 1  # the best
    assert narrow[0, 1] == 9
    with pytest.raises(InvalidInputError, match="expected a share between 0 and 1"):
        found.rank_intervals(80)


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([Piece("a", np.zeros(2), 0.5)], "expected \\(3,\\)"),
        ([Piece("a", np.zeros(3), 1.5)], "expected 0 to 1"),
        ([Piece("a", np.zeros(3), 0.5), Piece("a", np.zeros(3), 0.5)], "a name of its own"),
    ],
)
def test_pieces_that_do_not_fit_are_refused(pieces: list[Piece], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        posterior(pieces, 3)
