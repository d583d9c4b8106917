"""What the truth allows is what SciPy and closed forms say."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from modelselect.benchmarking.dispersion import ceiling, dispersion
from modelselect.benchmarking.measures import MEASURES
from modelselect.benchmarking.protocol import SEEDS, TEST_ROWS
from modelselect.benchmarking.truth import read_truth
from tests.conftest import shared_path

KENDALL = MEASURES["kendall"]


def test_the_agreement_of_published_datasets_is_scipys_mean_over_pairs() -> None:
    path = shared_path("truth", "supervised-cnn-11x11.csv")
    wide = pd.read_csv(path).pivot(index="model", columns="dataset", values="accuracy")
    pairs = list(itertools.combinations(wide.columns, 2))
    weighted = [stats.weightedtau(wide[a], wide[b]).statistic for a, b in pairs]
    plain = [stats.kendalltau(wide[a], wide[b]).statistic for a, b in pairs]
    found = dispersion(read_truth(path).accuracies)
    assert found.pairs == 55
    assert found.weighted_kendall == pytest.approx(np.mean(weighted))
    assert found.kendall == pytest.approx(np.mean(plain))
    assert found.winners == {d: wide[d].idxmax() for d in wide}
    of_first = [value for pair, value in zip(pairs, weighted, strict=True) if pairs[0][0] in pair]
    assert found.by_dataset[pairs[0][0]] == pytest.approx(np.mean(of_first))


def test_only_common_models_are_compared_and_fewer_than_three_say_nothing() -> None:
    truth = {"x": {"a": 0.9, "b": 0.8, "c": 0.7, "z": 0.1}, "y": {"c": 0.1, "b": 0.2, "a": 0.3, "w": 0.9}}
    found = dispersion({**truth, "v": {"a": 0.1, "b": 0.2}})
    assert (found.weighted_kendall, found.pairs) == (pytest.approx(1.0), 1)
    assert found.by_dataset.keys() == {"x", "y"}
    alone = dispersion({"x": truth["x"]})
    assert (alone.weighted_kendall, alone.pairs, alone.distinct) == (None, 0, 1)


def test_a_shared_first_place_is_no_further_winner() -> None:
    truth = {"x": {"a": 0.9, "b": 0.9}, "y": {"a": 0.1, "b": 0.2}, "z": {"a": 0.3, "b": 0.4}}
    found = dispersion(truth)
    assert found.winners == {"x": "b", "y": "b", "z": "b"}
    assert found.distinct == 1


def test_the_ceiling_of_several_seeds_is_the_mean_agreement_of_one_with_another() -> None:
    runs = np.random.default_rng(0).uniform(size=(6, 3))
    given_runs = {"d": {f"m{i}": tuple(values) for i, values in enumerate(runs.tolist())}}
    expected = np.mean([stats.weightedtau(runs[:, i], runs[:, j]).statistic for i, j in ((0, 1), (0, 2), (1, 2))])
    found = ceiling(given_runs, {}, {"d": {"m0": 9}}, MEASURES["weighted_kendall"])
    assert found is not None
    assert found.mean == pytest.approx(expected)
    assert found.sources == {"d": SEEDS}


def test_the_ceiling_of_test_rows_is_the_probability_that_two_draws_agree() -> None:
    """Kendall's tau of three models, by all outcomes of two draws of three rows each."""
    accuracies, rows = np.array([0.2, 0.5, 0.7]), 3
    one = list(itertools.product(range(rows + 1), repeat=3))
    weight = {x: float(np.prod(stats.binom.pmf(x, rows, accuracies))) for x in one}
    tau = {
        (x, y): 0.0 if len(set(x)) == 1 or len(set(y)) == 1 else stats.kendalltau(x, y).statistic
        for x in one
        for y in one
    }
    expected = sum(weight[x] * weight[y] * value for (x, y), value in tau.items())
    truth = {"d": dict(zip("abc", accuracies.tolist(), strict=True))}
    known = {"d": dict.fromkeys("abc", rows)}
    means = [found.mean for seed in range(40) if (found := ceiling({}, truth, known, KENDALL, seed)) is not None]
    assert np.mean(means) == pytest.approx(expected, abs=4 * np.std(means) / len(means) ** 0.5)
    assert np.std(means) < 0.07


def test_more_test_rows_raise_the_ceiling_to_one() -> None:
    truth = {"d": {f"m{i}": 0.3 + 0.05 * i for i in range(8)}}
    found = [
        value.mean
        for rows in (30, 300, 10**7)
        if (value := ceiling({}, truth, {"d": dict.fromkeys(truth["d"], rows)}, KENDALL)) is not None
    ]
    assert found[0] < found[1] < found[2] == pytest.approx(1.0)


def test_a_truth_without_seeds_and_rows_has_no_ceiling() -> None:
    truth = {"d": {"a": 0.1, "b": 0.2, "c": 0.3}}
    assert ceiling({}, truth, {}, KENDALL) is None
    assert ceiling({"d": {"a": (0.1, 0.2), "b": (0.3, 0.4)}}, truth, {"d": {"a": 100}}, KENDALL) is None
    rows = ceiling({}, truth, {"d": {"a": 100, "b": 100, "c": 100, "unknown": 5}}, KENDALL)
    assert rows is not None
    assert rows.sources == {"d": TEST_ROWS}


@given(
    st.lists(st.lists(st.integers(0, 4), min_size=5, max_size=5), min_size=2, max_size=4),
    st.permutations(range(5)),
)
def test_neither_the_order_of_the_models_nor_their_scale_matters(columns: list[list[int]], order: list[int]) -> None:
    truth = {f"d{d}": {f"m{m}": value / 4 for m, value in enumerate(column)} for d, column in enumerate(columns)}
    mixed = {d: {f"m{m}": by[f"m{m}"] ** 2 for m in order} for d, by in truth.items()}
    first, second = dispersion(truth), dispersion(mixed)
    assert first.weighted_kendall == pytest.approx(second.weighted_kendall)
    assert first.kendall == pytest.approx(second.kendall)
    assert -1 <= (first.weighted_kendall or 0) <= 1 + 1e-12
