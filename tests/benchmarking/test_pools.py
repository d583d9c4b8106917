"""Figures on parts of the pool are SciPy's on these models, and win rates are shares of comparisons."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from modelselect.benchmarking.benchmark import Benchmark
from modelselect.benchmarking.measures import MEASURES
from modelselect.benchmarking.pools import ablations, win_rates
from tests.benchmarking.conftest import made_up

WEIGHTED, KENDALL = MEASURES["weighted_kendall"], MEASURES["kendall"]


def test_an_ablation_is_the_figure_of_the_models_that_are_left() -> None:
    found = made_up(datasets=3, models=9)
    parameters = {f"m{i}": 10.0 + i for i in range(9)}
    families = {f"m{i}": "even" if i % 2 == 0 else "odd" for i in range(8)}
    parts = {a.label: a for a in ablations(found.scores, found.truth, parameters, families, WEIGHTED)}
    left = {
        "all models": range(9),
        "without the largest, m8": range(8),
        "without even": (1, 3, 5, 7, 8),
        "without odd": (0, 2, 4, 6, 8),
        "smallest third": (0, 1, 2),
        "middle third": (3, 4, 5),
        "largest third": (6, 7, 8),
    }
    assert parts.keys() == left.keys()
    for label, kept in left.items():
        names = [f"m{i}" for i in kept]
        assert parts[label].models == len(names)
        by_hand = [
            stats.weightedtau([found.scores["bad"][d][m] for m in names], [found.truth[d][m] for m in names]).statistic
            for d in found.datasets
        ]
        assert parts[label].means["bad"] == pytest.approx(np.mean(by_hand)), label


def test_equally_large_models_are_in_one_third() -> None:
    truth = {"d": {f"m{i}": i / 10 for i in range(6)}}
    sizes = {f"m{i}": float(i > 3) for i in range(6)}  # four of one size, two of another
    found = {a.label: a.models for a in ablations({"x": truth}, truth, sizes, {}, KENDALL)}
    assert found["smallest third"] == 4
    assert "middle third" not in found
    assert sum(n for label, n in found.items() if label.endswith("third")) <= 6


def test_without_metadata_only_all_models_are_there() -> None:
    found = made_up()
    scores = {"good": found.scores["good"]}
    assert [a.kind for a in ablations(scores, found.truth, {}, {"m0": "a", "m1": "a"}, KENDALL)] == ["all"]


def test_the_scores_of_parameters_count_where_the_metadata_has_none() -> None:
    found = made_up()
    largest = max(found.models, key=lambda model: found.scores["parameters"]["d0"][model])
    parts = found.table(resamples=0).protocol.ablations
    assert parts[1].label == f"without the largest, {largest}"
    known = Benchmark.of_scores(found.scores, found.truth, models={"m3": {"parameters": 1e9, "family": "A"}})
    assert known.table(resamples=0).protocol.ablations[1].label == "without the largest, m3"


def test_a_win_rate_is_the_share_of_sub_pools_and_datasets_that_are_won() -> None:
    """With sub-pools of all models, a draw is the dataset itself."""
    found = made_up(datasets=5, models=8, seed=3)
    rates = win_rates(found.scores, found.truth, WEIGHTED, draws=3, size=8).rates
    taus = {
        name: [
            stats.weightedtau(list(by[d].values()), [found.truth[d][m] for m in by[d]]).statistic
            for d in found.datasets
        ]
        for name, by in found.scores.items()
    }
    for first in taus:
        for second in taus:
            if first != second:
                won = [a > b for a, b in zip(taus[first], taus[second], strict=True)]
                assert rates[first][second] == pytest.approx(np.mean(won))


def test_a_win_rate_over_all_pairs_is_known_in_closed_form() -> None:
    """Of the three pairs of models, `x` orders one right and `y` another; on the third both are right."""
    truth = {"d": {"a": 3.0, "b": 2.0, "c": 1.0}}
    scores = {
        "x": {"d": {"a": 2.0, "b": 3.0, "c": 1.0}},  # b before a
        "y": {"d": {"a": 3.0, "b": 1.0, "c": 2.0}},  # c before b
    }
    found = win_rates(scores, truth, KENDALL, draws=3000, size=2).rates
    assert found["x"]["y"] == pytest.approx(0.5, abs=0.04)  # a third lost, a third won, a third tied
    best = win_rates({**scores, "z": truth}, truth, KENDALL, draws=3000, size=2).rates
    assert best["z"]["x"] == pytest.approx(1 / 3 + (2 / 3) / 2, abs=0.04)


def test_a_regret_is_won_by_the_lower_one() -> None:
    truth = {"d": {"a": 0.9, "b": 0.8, "c": 0.7, "e": 0.6}}
    turned = {"d": {m: -v for m, v in truth["d"].items()}}
    rates = win_rates({"right": truth, "wrong": turned}, truth, MEASURES["top1_regret"]).rates
    assert rates == {"right": {"wrong": 1.0}, "wrong": {"right": 0.0}}


def test_estimators_are_compared_on_the_models_that_both_score() -> None:
    truth = {"d": {"a": 0.9, "b": 0.8, "c": 0.7, "e": 0.6, "f": 0.5}}
    scores = {
        "half": {"d": {"a": 3.0, "b": 2.0, "c": 1.0}},  # right
        "wrong elsewhere": {"d": {"a": 3.0, "b": 2.0, "c": 1.0, "e": 4.0, "f": 5.0}},
        "apart": {"d": {"e": 2.0, "f": 1.0}},
    }
    rates = win_rates(scores, truth, KENDALL).rates
    assert rates["half"]["wrong elsewhere"] == 0.5
    assert "apart" not in rates["half"]
    assert rates["apart"]["wrong elsewhere"] == 1.0


@given(st.integers(0, 2**32 - 1), st.integers(3, 7), st.integers(2, 5))
def test_two_win_rates_add_up_to_one_and_a_twin_gets_half(seed: int, models: int, estimators: int) -> None:
    random = np.random.default_rng(seed)
    names = [f"m{i}" for i in range(models)]
    truth = {d: dict(zip(names, random.integers(0, 4, models) / 4, strict=True)) for d in "xy"}
    scores = {
        f"e{e}": {d: dict(zip(names, random.integers(0, 4, models).astype(float), strict=True)) for d in "xy"}
        for e in range(estimators)
    }
    scores["twin"] = scores["e0"]
    found = win_rates(scores, truth, WEIGHTED, draws=20, seed=seed)
    for first, others in found.rates.items():
        assert 3 <= found.size <= models
        for second, rate in others.items():
            assert rate + found.rates[second][first] == pytest.approx(1)
    assert found.rates["twin"]["e0"] == 0.5
