"""The pieces of evidence, against a worked example, closed forms and their limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from modelselect.estimators.posterior import Piece, normal_scores, posterior
from modelselect_plugins.estimators._evidence import pieces, reliabilities

ACCURACIES = np.array([[90, 80, 85, 60, 82], [70, 72, 66, 41, 60]], dtype=np.float64).T
NAN = float("nan")


def test_the_worked_example_holds_to_four_digits() -> None:
    parameters, imagenet = np.log([25, 11, 5, 3, 60]), [76, 70, 72, NAN, 78]
    found = posterior(
        [
            pieces.probe_piece([[0.9, 0.7, 0.8, 0.2, 0.5]], [], ACCURACIES[:, :0], 0.68),
            pieces.history_piece(ACCURACIES, np.zeros(5)),
            pieces.fact_piece("size", parameters, ACCURACIES, 0.55),
            pieces.fact_piece("imagenet", imagenet, ACCURACIES, 0.70),
        ],
        5,
    )
    np.testing.assert_allclose(found.mean, [1.3020, 0.0021, 0.0568, -1.5292, 0.0796], atol=1e-4)
    np.testing.assert_allclose(found.variance, [0.4484, 0.4484, 0.4484, 0.4708, 0.4484], atol=1e-4)
    assert found.probability_better(0, 2) == pytest.approx(0.9057, abs=1e-4)


def test_history_leads_where_it_repeats_itself_and_gives_way_where_it_does_not() -> None:
    rng = np.random.default_rng(0)
    quality = rng.normal(size=12)
    same = np.column_stack([quality + 0.01 * rng.normal(size=12) for _ in range(6)])
    other = rng.normal(size=(12, 6))
    agreeing, contradicting = (pieces.history_piece(each, np.zeros(12)).reliability for each in (same, other))
    assert np.min(agreeing) > 0.9 > 0.7 > np.max(contradicting)


def test_reliability_grows_with_the_number_of_results() -> None:
    table = np.full((10, 3), NAN)
    table[:, 0] = np.arange(10)
    table[:8, 1] = np.arange(8)
    table[:8, 2] = np.arange(8)
    found = pieces.history_piece(table, np.zeros(10)).reliability
    assert np.all(np.asarray(found)[:8] > np.asarray(found)[8:].max())


def test_two_datasets_take_nothing_from_the_other_pieces() -> None:
    size = pieces.fact_piece("size", [1, 2, 3, 4, 5], ACCURACIES, 0.55)
    (kept,) = pieces.beyond_history([size], ACCURACIES)
    assert kept.reliability == size.reliability


def test_facts_give_way_to_a_history_that_repeats_itself_and_a_probe_gives_way_less() -> None:
    table = np.arange(10.0)[:, None] + np.array([[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]])
    table[-1] = NAN  # a candidate without results
    given = [Piece(name, np.arange(10.0), 0.6) for name in ("size", "probe", "brief")]
    size, probe, brief = (np.broadcast_to(p.reliability, 10) for p in pieces.beyond_history(given, table))
    believed = 6 / (pieces.AGREEMENT_WEIGHT + 6)  # all pairs correlate by 1, and six datasets confirm the first two
    unknown = (1 - believed) / (1 - believed + 8 * believed)
    np.testing.assert_allclose(size, [0.6 * unknown**0.5] * 9 + [0.6])
    np.testing.assert_allclose(probe, [0.6 * (0.7 + 0.3 * unknown) ** 0.5] * 9 + [0.6])
    np.testing.assert_allclose(brief, 0.6)


def test_facts_stay_where_datasets_contradict_each_other() -> None:
    other = np.random.default_rng(0).normal(size=(12, 8))
    (size,) = pieces.beyond_history([Piece("size", np.arange(12.0), 0.6)], other - other.mean(axis=1, keepdims=True))
    assert np.min(size.reliability) == pytest.approx(0.6)


def test_the_best_of_another_run_stay_above_those_that_were_not_among_them() -> None:
    # Of ten candidates, in the order of their quality, each column holds the top three alone.
    cold = normal_scores(np.arange(10.0))
    table = np.full((10, 4), NAN)
    table[7:] = np.arange(3.0)[:, None]
    anchored = pieces._anchored(table, cold)
    assert anchored[7:].mean() == pytest.approx(cold[7:].mean(), abs=1e-6)
    assert (np.diff(anchored[7:, 0]) > 0).all()


def test_a_similar_candidate_is_expected_to_do_alike() -> None:
    kernel = pieces.similarity_kernel(
        np.array([[10.0], [10.1], [2.0], [2.1]]), ["a", "a", "b", "b"], ["a_small", "a_large", "b_small", "b_large"]
    )
    history = np.array([1.0, NAN, -1.0, NAN])
    piece = pieces.similar_piece(history, kernel)
    assert np.isnan(piece.values[[0, 2]]).all()
    assert piece.values[1] > piece.values[3]
    assert piece.reliability == reliabilities.SIMILAR  # four candidates are too few to measure it


def test_without_any_history_nothing_is_said() -> None:
    piece = pieces.history_piece(np.full((4, 0), NAN), np.zeros(4))
    assert np.isnan(piece.values).all()
    assert np.isnan(pieces.similar_piece(piece.values, np.eye(4)).values).all()


def test_a_reliability_is_remeasured_and_never_negative() -> None:
    assert pieces.remeasured(0.5, []) == 0.5
    assert pieces.remeasured(0.5, [1.0, NAN]) == pytest.approx(3 / 5)
    assert pieces.remeasured(0.1, [-1.0] * 9) == 0.0


def test_a_correlation_needs_enough_in_common() -> None:
    assert np.isnan(pieces.correlation([1, 2, 3], [1, 2, 3]))
    assert np.isnan(pieces.correlation([1, 1, 1, 1], [1, 2, 3, 4]))
    x, y = norm.rvs(size=(2, 30), random_state=0)
    assert pieces.correlation(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1])


def test_the_words_of_a_name() -> None:
    assert pieces._words("vit_base-patch16.augreg/in21k") == {"vit", "base", "patch", "16", "augreg", "in", "21", "k"}


def test_the_order_of_the_pool_changes_no_reliability_of_similar_candidates() -> None:
    rng = np.random.default_rng(0)
    facts = rng.normal(size=(30, 3))
    history = np.where(np.arange(30) < 25, facts.sum(axis=1) + rng.normal(size=30), np.nan)
    kernel = pieces.similarity_kernel(facts, ["a", "b"] * 15, [f"network {i}" for i in range(30)])
    order = rng.permutation(30)
    first = pieces.similar_piece(history, kernel)
    again = pieces.similar_piece(history[order], kernel[np.ix_(order, order)])
    assert first.reliability == pytest.approx(again.reliability)
    np.testing.assert_allclose(first.values[order], again.values)
    assert first.reliability != reliabilities.SIMILAR
