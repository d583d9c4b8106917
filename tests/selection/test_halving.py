"""A budget is kept, and is spent where the order is open."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.budget.budget import Budget
from modelselect.errors import NotApplicableError, NothingRankedError
from modelselect.evaluation import costs
from modelselect.evaluation.results import CostMeasurement
from modelselect.selection.forecast import Forecast
from tests.estimators.test_resampling import Mean
from tests.selection.budgeted import CLEAR, CLOSE, Slow, run

pytestmark = pytest.mark.usefixtures("cache")


def test_a_clear_winner_is_found_before_all_rows_are_used(passed: Counter[str]) -> None:
    board = run(CLEAR, budget="10m")
    assert board.best.candidate == run(CLEAR).best.candidate
    record = board.provenance["budget"]
    assert record["first_place_holds"] >= 0.9
    assert board.best.probe_rows is not None
    assert board.best.probe_rows < 480
    assert record["spent"]["passes"] < 480 * len(CLEAR) / 2
    assert "decided" in record["stages"][-1]["decision"]
    assert board.provenance["fingerprint"] != run(CLEAR).provenance["fingerprint"]
    assert board.provenance["settings"]["probe_size"] == board.best.probe_rows


def test_no_row_is_passed_forward_twice(passed: Counter[str]) -> None:
    board = run(CLOSE, budget="10m", confidence=0.999)
    assert {row.candidate.id: row.probe_rows for row in board.rows} == dict(passed)
    assert board.provenance["budget"]["spent"]["passes"] == sum(passed.values())
    assert len(set(passed.values())) > 1


def test_what_was_put_together_of_blocks_scores_as_the_whole(tmp_path: Path) -> None:
    estimators = ["centroid", "knn"]
    board = run(CLOSE, budget="10m", confidence=0.999, estimators=estimators, cache_dir=tmp_path / "rounds")
    whole = {row.candidate.id: row for row in run(CLOSE, estimators=estimators, cache_dir=tmp_path / "whole").rows}
    shown_all = [row for row in board.rows if row.probe_rows == 480]
    assert shown_all
    for row in shown_all:
        assert row.scores == pytest.approx(whole[row.candidate.id].scores)


def test_a_later_run_on_the_whole_probe_finds_what_rounds_have_computed(passed: Counter[str]) -> None:
    board = run(CLOSE, budget="10m", confidence=0.999)
    shown_all = {row.candidate.id for row in board.rows if row.probe_rows == 480}
    passed.clear()
    run(CLOSE)
    assert set(passed) == {row.candidate.id for row in board.rows} - shown_all
    passed.clear()
    run(CLOSE, budget="10m", confidence=0.99, estimators="knn")  # and rounds find what is known of the whole
    assert not passed


def test_those_that_were_dropped_rank_below_and_say_why() -> None:
    board = run(CLOSE, budget="10m", confidence=0.999)
    halving = [row.probe_rows or 0 for row in board.rows]
    assert halving == sorted(halving, reverse=True)
    assert [row.rank for row in board.ranked] == sorted(row.rank or 0 for row in board.ranked)
    for row in board.rows:
        if row.probe_rows == halving[0]:
            assert row.status == "ok"
        else:
            assert row.status.startswith(f"stopped after {row.probe_rows} rows: ")
            assert ": more rows would make it first with " in row.status
    for rows in set(halving):
        scores = [row.score for row in board.rows if row.probe_rows == rows]
        assert scores == sorted(scores, reverse=True)  # type: ignore[type-var]


def test_under_passes_a_run_is_the_same_every_time_and_keeps_its_budget(tmp_path: Path, passed: Counter[str]) -> None:
    for budget in (400, 1100):
        passed.clear()
        first = run(CLOSE, budget=budget, cache_dir=tmp_path / f"{budget} first")
        assert sum(passed.values()) == first.provenance["budget"]["spent"]["passes"] <= budget
        second = run(CLOSE, budget=f"{budget} passes", cache_dir=tmp_path / f"{budget} second")
        assert first == second
        stages = [
            [{k: v for k, v in stage.items() if k != "seconds"} for stage in board.provenance["budget"]["stages"]]
            for board in (first, second)
        ]
        assert stages[0] == stages[1]


def test_a_candidate_that_would_overrun_the_budget_is_not_begun(tmp_path: Path, passed: Counter[str]) -> None:
    board = run(CLOSE, budget=210)
    assert len(board.ranked) == 3  # of 60 rows each
    assert len(passed) == 3
    for row in board.rows[3:]:
        assert row.status == "left out: not begun: scoring takes about 60 passes, and 30 passes are left for scoring"
    said = (
        "a budget of 30 passes is too small: scoring the smallest candidate on 100 rows takes about 100 passes. The "
        "smallest budget that ranks all 2 is about 200 passes."
    )
    with pytest.raises(NothingRankedError, match=said):
        run([1.0, 0.5], rows=400, budget=30)
    assert len(run([1.0, 0.5], rows=400, budget=200).ranked) == 2  # the advice works, and no smaller budget does
    assert len(run([1.0, 0.5], rows=400, budget=199, cache_dir=tmp_path / "other").ranked) == 1


def test_a_time_that_pays_for_no_candidate_says_so_before_any_is_loaded(passed: Counter[str]) -> None:
    expected = r"a budget of 1e-06 s is too small: .* The smallest budget that ranks all 2 is about 1 s\."
    with pytest.raises(NothingRankedError, match=expected):
        run([1.0, 0.5], rows=400, budget=Budget(seconds=0.000001))
    assert not passed


def test_the_start_of_a_run_is_no_part_of_its_budget(monkeypatch: pytest.MonkeyPatch, passed: Counter[str]) -> None:
    calibrated = Forecast.of.__func__  # type: ignore[attr-defined]

    def slowly(*arguments: Any) -> Forecast:
        time.sleep(3)  # reads the data, imports, measures the machine
        forecast: Forecast = calibrated(*arguments)
        return forecast

    monkeypatch.setattr(Forecast, "of", classmethod(slowly))
    board = run([1.0, 0.5], rows=120, budget="2s")
    assert board.ranked
    assert board.provenance["budget"]["spent"]["seconds"] < 3


def test_a_run_that_is_resumed_pays_for_what_is_new_alone(passed: Counter[str]) -> None:
    first = run(CLEAR, budget="2000 passes")
    assert sum(passed.values()) > 0
    passed.clear()
    again = run(CLEAR, budget="2000 passes")
    assert again == first
    assert not passed
    assert again.provenance["budget"]["spent"]["passes"] == 0
    more = run(CLOSE, budget="500 passes")  # as little again lets the same candidates go on
    further = run(CLOSE, budget="500 passes")
    assert sum(passed.values()) <= 1000
    assert sum(row.probe_rows or 0 for row in further.rows) > sum(row.probe_rows or 0 for row in more.rows)


def test_a_budget_of_time_is_overrun_by_what_one_candidate_takes_at_most() -> None:
    gaps = [1.0] * 12
    candidates = [Slow(column, 0.01) for column in range(12)]  # 0.6 s each for a round of 60 rows
    board = run(gaps, candidates=candidates, budget="5s")
    assert board.provenance["budget"]["spent"]["seconds"] < 5 + 2.5
    assert 2 <= len(board.ranked) < 12
    assert board.rows[-1].status.startswith("left out: not begun: scoring takes about")


def test_the_executor_does_not_change_the_answer(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 2
    images = (rng.integers(0, 150, (120, 32, 32, 3)) + 60 * labels[:, None, None, None]).astype(np.uint8)
    boards = [
        ms.select(
            (images, labels),
            ["embedded:plain*", "embedded:resnet.letters"],
            estimators="centroid",
            executor=executor,
            budget="100000 passes",
            confidence=0.999,
            cache_dir=tmp_path / executor,
            progress=False,
        )
        for executor in ("local", "process")
    ]
    assert boards[0] == boards[1]


def test_costs_are_measured_once_and_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []
    monkeypatch.setattr(costs, "measure", lambda *_, **__: measured.append(1) or CostMeasurement(2.0, 3.0, 4, 5))
    board = run(CLOSE, budget="5000 passes", confidence=0.999, costs=True, max_latency_ms=3)
    assert len({row.probe_rows for row in board.rows}) > 1
    assert len(measured) == len(CLOSE)
    assert all((row.latency_ms, row.throughput, row.memory_bytes) == (2.0, 3.0, 4) for row in board.rows)
    assert all(row.training_memory_bytes for row in board.rows)
    assert board.provenance["settings"]["costs"]


def test_estimators_that_look_at_no_row_take_one_round_and_no_pass(passed: Counter[str]) -> None:
    board = run(CLOSE, budget="1m", estimators="parameters")
    assert board.ranked
    assert not passed
    record = board.provenance["budget"]
    assert [stage["rows"] for stage in record["stages"]] == [480]
    assert record["first_place_holds"] is None  # nothing tells how the order would change with other rows


class Near(Mean):
    """Does not apply where the features are far from 0."""

    name = "near"

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        found = super().score(evidence)
        if found[self.name] > 2:
            raise NotApplicableError("too far")
        return found


def test_of_a_candidate_without_a_score_no_chance_is_told() -> None:
    board = run([*CLOSE, 20.0], budget="5000 passes", confidence=0.999, estimators=Near())
    *_, far = board.rows
    assert far.rank is None
    assert far.status == "near: too far"
    assert far.probe_rows == 60
    assert any(row.stopped for row in board.ranked)
