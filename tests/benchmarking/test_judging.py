"""Figures are SciPy's, intervals are honest, and baselines stand apart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from modelselect.benchmarking.benchmark import Benchmark
from modelselect.benchmarking.results import MEAN_RANK
from modelselect.errors import UnknownNameError
from modelselect.host.defaults import DEFAULT_ESTIMATORS
from tests.benchmarking.conftest import made_up


def test_the_table_holds_scipys_figures_and_their_mean() -> None:
    found = made_up()
    table = found.table("weighted_kendall", resamples=0)
    row = next(row for row in table.rows if row.estimator == "parameters")
    by_hand = []
    for dataset in found.datasets:
        names = list(found.truth[dataset])
        x = [found.scores["parameters"][dataset][m] for m in names]
        by_hand.append(stats.weightedtau(x, [found.truth[dataset][m] for m in names]).statistic)
        assert row.figures[dataset].value == pytest.approx(by_hand[-1])
    assert row.mean.value == pytest.approx(np.mean(by_hand))
    assert row.mean.interval is None


def test_methods_come_best_first_and_baselines_stand_apart_whatever_is_better() -> None:
    found = made_up()
    for measure in ("kendall", "top1_regret"):
        rows = found.table(measure, resamples=50).rows
        assert [row.estimator for row in rows[:2]] == ["good", "bad"]
        assert {row.estimator: row.kind for row in rows[2:]} == {"parameters": "static", MEAN_RANK: "history"}
        assert rows[0].gains["parameters"].value > 0 > rows[1].gains["parameters"].value


def test_a_gain_is_the_difference_among_the_models_that_both_score() -> None:
    truth = {"d": {"a": 0.9, "b": 0.8, "c": 0.7, "e": 0.6, "f": 0.5}}
    scores = {
        "mine": {"d": {"a": 4.0, "b": 5.0, "c": 3.0}},
        "parameters": {"d": {"b": 1.0, "c": 2.0, "e": 3.0, "f": 9.0}},
    }
    found = Benchmark.of_scores(scores, truth)
    mine = found.table("kendall").rows[0]
    assert (mine.figures["d"].n, mine.figures["d"].of) == (3, 5)
    assert mine.figures["d"].value == pytest.approx(1 / 3)
    assert mine.gains["parameters"].value == pytest.approx(1 - -1)  # b above c, and c above b
    assert mine.figures["d"].interval is None  # of three models


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Kendall's tau of a normal pair with correlation r is 2/pi arcsin(r) in the population."""
    random = np.random.default_rng(0)
    r, n, trials = 0.6, 25, 120
    population = 2 / np.pi * np.arcsin(r)
    covered = 0
    for trial in range(trials):
        x = random.normal(size=n)
        y = r * x + np.sqrt(1 - r * r) * random.normal(size=n)
        names = [f"m{i}" for i in range(n)]
        truth = {"d": dict(zip(names, (0.5 + 0.01 * y).tolist(), strict=True))}
        found = Benchmark.of_scores({"x": {"d": dict(zip(names, x.tolist(), strict=True))}}, truth)
        interval = found.table("kendall", resamples=200, seed=trial).rows[0].figures["d"].interval
        assert interval is not None
        covered += interval[0] <= population <= interval[1]
    assert 0.88 <= covered / trials <= 0.99


def test_the_same_seed_gives_the_same_intervals_and_another_others() -> None:
    found = made_up()
    first, again, other = (found.table(resamples=100, seed=seed).rows[1].mean for seed in (0, 0, 1))
    assert first == again
    assert first.interval != other.interval
    assert first.value == other.value


def test_an_estimator_that_says_what_another_says_gains_nothing_with_certainty() -> None:
    found = made_up()
    scores = {"twin": found.scores["parameters"], "parameters": found.scores["parameters"]}
    gain = Benchmark.of_scores(scores, found.truth).table().rows[0].gains["parameters"]
    assert (gain.value, gain.interval) == (0.0, (0.0, 0.0))


def test_a_baseline_that_knows_few_models_is_not_the_bar() -> None:
    found = made_up()
    few = {d: dict(list(by.items())[:3]) for d, by in found.truth.items()}  # perfect, of three of twelve models
    both = Benchmark.of_scores({**found.scores, "downloads": few}, found.truth).table()
    assert both.static == "parameters"
    alone = Benchmark.of_scores({"good": found.scores["good"], "downloads": few}, found.truth).table()
    assert alone.static == "downloads"


def test_the_reference_is_the_default_ranking_or_the_baseline_or_what_was_named() -> None:
    found = made_up(datasets=3)
    assert found.table(resamples=0).reference == "parameters"
    named = found.table(resamples=200, reference="bad")
    gain = named.rows[0].gains["bad"]
    assert named.reference == "bad"
    assert gain.value == pytest.approx(named.rows[0].mean.value - named.rows[1].mean.value)
    with pytest.raises(UnknownNameError, match=r"unknown reference 'god'\. Did you mean 'good'"):
        found.table(resamples=0, reference="god")


def test_the_default_estimator_is_the_reference_where_it_has_scores() -> None:
    random = np.random.default_rng(0)
    truth = {"d": dict(zip("abcde", random.uniform(size=5).tolist(), strict=True))}
    scores = {e: {"d": dict(zip("abcde", random.normal(size=5).tolist(), strict=True))} for e in ("x", "evidence")}
    assert Benchmark.of_scores(scores, truth).table("kendall", resamples=0).reference == DEFAULT_ESTIMATORS[0]
