"""Whether an order is decided: probabilities of a place."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from modelselect.budget.chances import WinProbabilities, eliminated, win_probabilities


def test_of_two_candidates_the_chances_are_those_of_their_gap() -> None:
    rng = np.random.default_rng(0)
    for gap in (0.0, 0.1, 0.5, 2.0):
        replicates = np.array([gap, 0.0]) + rng.normal(0, 0.5, (30, 2))
        found = win_probabilities([gap, 0.0], replicates, [gap, 0.0], places=1)
        exact = ndtr(gap / np.std(replicates[:, 0] - replicates[:, 1], ddof=1))
        assert found.best[0] == pytest.approx(exact, abs=0.03)
        assert found.best.sum() == pytest.approx(1)
        assert found.decided == pytest.approx(found.best[0])


def test_what_candidates_have_in_common_says_nothing_of_their_order() -> None:
    shared = np.random.default_rng(0).normal(0, 5, (30, 1))
    found = win_probabilities([1.0, 0.9], np.array([1.0, 0.9]) + shared, [1.0, 0.9], places=1)
    assert found.best[0] > 0.999


def test_an_order_that_changed_when_rows_were_doubled_is_open() -> None:
    totals = [1.0, 0.8, 0.6, 0.4]
    replicates = np.array(totals) + np.random.default_rng(0).normal(0, 0.02, (30, 4))
    steady = win_probabilities(totals, replicates, np.array(totals) + 0.3, places=1)  # all moved alike
    moved = win_probabilities(totals, replicates, [0.6, 0.9, 0.3, 0.8], places=1)
    assert steady.best[0] > 0.999
    assert moved.best[0] < 0.8


def test_the_order_of_the_pool_changes_no_chance() -> None:
    totals = np.array([1.0, 0.9, 0.2, 0.85])
    replicates = totals + np.random.default_rng(0).normal(size=(20, 4)) * 0.1
    replicates[:, 2] = np.nan
    halved, order = totals - [0.1, -0.1, 0.0, 0.2], [2, 0, 3, 1]
    one = win_probabilities(totals, replicates, halved, places=2)
    other = win_probabilities(totals[order], replicates[:, order], halved[order], places=2)
    np.testing.assert_allclose(other.best, one.best[order], rtol=1e-9)
    np.testing.assert_allclose(other.among, one.among[order], rtol=1e-9)
    assert other.decided == pytest.approx(one.decided)


def test_equals_have_equal_chances_and_the_unknown_none_that_is_certain() -> None:
    found = win_probabilities([1.0, 1.0, np.nan], [[1.0, 1.0, np.nan]] * 5, [1.0, 1.0, np.nan], places=1)
    np.testing.assert_allclose(found.best, [0.5, 0.5, 0.0], atol=0.03)
    unknown = win_probabilities([1.0, 0.0], [[1.0, np.nan], [1.1, np.nan], [0.9, np.nan]], [1.0, np.nan], places=1)
    assert unknown.best[0] > 0.99  # as uncertain as the other
    assert 0.6 < win_probabilities([1.0, 0.0], np.full((3, 2), np.nan), [np.nan, np.nan], places=1).best[0] < 0.95


def test_chances_of_many_places_add_up_to_the_places() -> None:
    rng = np.random.default_rng(1)
    totals = rng.normal(size=12)
    found: WinProbabilities = win_probabilities(totals, totals + rng.normal(0, 0.5, (25, 12)), totals, places=4)
    assert found.among.sum() == pytest.approx(4)
    assert (found.among >= found.best).all()
    assert found.decided <= found.among[np.argsort(-totals)[:4]].min()


def test_who_goes_has_together_less_than_the_risk() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        among = rng.dirichlet(np.full(10, 0.2))
        gone = eliminated(among, risk=0.02, keep=2)
        assert among[gone].sum() <= 0.02
        assert len(gone) <= 8
        rest = np.setdiff1d(np.arange(10), gone)
        assert len(gone) == 8 or among[gone].sum() + among[rest].min() > 0.02
