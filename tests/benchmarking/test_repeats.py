"""Probes of other sizes and seeds, and what their figures come to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

import modelselect as ms
from modelselect.benchmarking.measures import MEASURES
from modelselect.benchmarking.repeats import draws, summarised
from modelselect.benchmarking.results import Draw, Repeat
from modelselect.errors import InvalidInputError
from tests.benchmarking.conftest import EXPRESSIONS, MODELS, made_up, toy


def test_mean_and_deviation_are_between_the_seeds() -> None:
    truth = made_up().truth
    repeats = [Repeat(Draw(50, seed=seed), dict.fromkeys(truth, 50), made_up(seed=seed).scores) for seed in range(4)]
    by_hand = [
        np.mean(
            [
                stats.weightedtau([by[m] for m in truth[d]], list(truth[d].values())).statistic
                for d, by in repeat.scores["bad"].items()
            ]
        )
        for repeat in repeats
    ]
    found = summarised(repeats, truth, MEASURES["weighted_kendall"])["50 rows"]["bad"]
    assert found.mean == pytest.approx(np.mean(by_hand))
    assert found.deviation == pytest.approx(np.std(by_hand, ddof=1))
    assert found.seeds == 4
    assert summarised(repeats[:1], truth, MEASURES["kendall"])["50 rows"]["bad"].deviation is None


def test_nothing_is_drawn_unless_asked_for() -> None:
    assert draws(0, None, None, 1) == ()
    assert draws(5, None, None, 2) == (Draw(seed=5, of_table=True), Draw(seed=6, of_table=True))
    assert draws(0, [9, 9], None, 1) == (Draw(of_table=True), Draw(9))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"probe_sizes": [100, 1]}, "probe_sizes is 1; expected numbers of rows, 2 or more each"),
        ({"probe_sizes": "100"}, "probe_sizes is '100'; expected numbers of rows"),
        ({"per_class": [0]}, "per_class is 0; expected numbers of rows of each class"),
        ({"per_class": [None]}, "per_class is None; expected numbers of rows of each class"),
        ({"seeds": 0}, "seeds is 0; expected 1 or more"),
        ({"seeds": True}, "seeds is True; expected 1 or more"),
    ],
)
def test_a_wrong_sweep_is_refused_before_anything_is_read(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidInputError, match=complaint):
        ms.benchmark("nozoo:*", "no/such/dataset", {}, **settings)


@pytest.mark.usefixtures("cache")
def test_a_sweep_scores_as_select_does_on_a_probe_of_that_size() -> None:
    data = {"one": toy(1), "two": toy(2)}
    truth = {name: {model: 50 + index for index, model in enumerate(MODELS[:4])} for name in data}
    found = ms.benchmark(
        EXPRESSIONS[:4],
        data,
        truth,
        estimators=["logme", "knn", "etran"],
        probe_sizes=[20],
        per_class=[4],
        seeds=2,
        progress=False,
    )
    assert [repeat.draw.label for repeat in found.sweep[::2]] == ["as in the table", "20 rows", "4 rows per class"]
    by_draw = {repeat.draw: repeat for repeat in found.sweep}
    assert by_draw[Draw(of_table=True)].scores == found.scores
    for seed in (0, 1):
        probe = ms.Probe.of(data["two"], size=20, seed=seed)
        board = ms.select(probe, EXPRESSIONS[:4], estimators=["logme", "knn"], history=False, progress=False, seed=seed)
        known = by_draw[Draw(20, seed=seed)]
        for row in board.rows:
            for name in ("logme", "knn"):
                assert known.scores[name]["two"][row.candidate.name] == pytest.approx(row.scores[name])
    assert by_draw[Draw(per_class=4, seed=1)].rows == {"one": 8, "two": 8}
    table = found.table(resamples=0)
    assert list(table.protocol.sweep) == ["as in the table", "20 rows", "4 rows per class"]
    assert table.protocol.sweep["20 rows"]["logme"].seeds == 2
    assert table.reference in table.protocol.sweep["20 rows"]
    for shown in (str(table), table.to_markdown(), table.to_html()):
        assert "Probes of several sizes" in shown
        assert "Over 2 draws of the table" in shown


@pytest.mark.usefixtures("cache")
def test_a_given_probe_keeps_its_own_size() -> None:
    probe = ms.Probe.of(toy(1), size=16)
    truth = {"one": {model: 50 + index for index, model in enumerate(MODELS[:2])}}
    found = ms.benchmark(EXPRESSIONS[:2], {"one": probe}, truth, estimators="knn", seeds=2, progress=False)
    assert [repeat.rows for repeat in found.sweep] == [{"one": 16}, {"one": 16}]
    assert found.sweep[0].scores == found.scores
