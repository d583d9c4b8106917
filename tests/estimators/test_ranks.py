"""Ranks within a pool: rounding makes no order, and an invalid score has no vote."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from modelselect.estimators.ranks import mean_rank, normalised_ranks, voters, with_ties


@pytest.mark.parametrize(
    ("values", "distinct"),
    [
        ([5.0, 5 - 1e-14, 5 + 1e-14, 4.9], 2),  # a saturated score
        ([-1e-16, 0.0, 2e-16, -3e-15, -0.1], 2),  # the logarithm of a share of 1, up to rounding
        ([0.1 + 0.2, 0.3], 1),
        ([1.0, 1 + 1e-7, 1 + 2e-7], 3),  # what float32 tells apart
        ([-1e-12, -1e-9, -1e-3, -5.0], 4),  # many orders of magnitude
        ([25_600_000.0, 25_600_001.0], 2),
        ([], 0),
        ([7.0], 1),
    ],
)
def test_numbers_tie_if_they_are_equal_up_to_rounding(values: list[float], distinct: int) -> None:
    assert len(set(with_ties(values).tolist())) == distinct


def test_values_without_ties_and_values_that_are_not_finite_stay_as_they_are() -> None:
    values = np.array([3.0, np.nan, -np.inf, 1e-3, np.inf, -7.5])
    np.testing.assert_array_equal(with_ties(values), values)


def test_a_saturated_score_ranks_all_candidates_alike() -> None:
    rounding = np.random.default_rng(0).normal(size=12) * 1e-14
    assert normalised_ranks(5 + rounding).tolist() == [0.5] * 12


@settings(max_examples=30)
@given(st.lists(st.integers(-(10**6), 10**6), min_size=2, max_size=12), st.floats(1e-3, 1e3))
def test_normalised_ranks_keep_the_order_and_share_ties(whole: list[int], unit: float) -> None:
    scores = np.array(whole) * unit
    ranks = normalised_ranks(scores)
    assert ranks.mean() == pytest.approx(0.5)
    assert ranks.tolist() == pytest.approx((rankdata(scores) - 1) / (len(scores) - 1))


def test_mean_ranks_that_are_equal_but_for_the_order_of_summation_are_ties() -> None:
    thirds = {str(i): np.array(values) for i, values in enumerate([[0.1, 0.4], [0.4, 0.3], [0.5, 0.3]])}
    assert len(set(mean_rank(thirds).tolist())) == 1


def test_an_invalid_estimator_has_no_vote_unless_a_candidate_would_have_no_rank() -> None:
    whole, part = np.array([1.0, 2.0, 3.0]), np.array([1.0, np.nan, 3.0])
    assert voters({"a": whole, "b": whole}, []) == ["a", "b"]
    assert voters({"a": whole, "b": whole, "c": part}, ["a"]) == ["b", "c"]
    assert voters({"a": whole, "c": part}, ["a"]) == ["a", "c"]
    assert voters({"a": whole, "b": whole}, ["a", "b"]) == ["a", "b"]
    assert voters({"a": part, "c": part}, ["a"]) == ["c"]
