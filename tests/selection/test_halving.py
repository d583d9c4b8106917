"""A budget is kept, is spent where the order is open, and is accounted for."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import modelselect as ms
from modelselect import verification
from modelselect.budget.budget import Budget
from modelselect.cli import app
from modelselect.errors import NotApplicableError, NothingRankedError
from modelselect.evaluation import costs, fine_tuning
from modelselect.evaluation.results import CostMeasurement
from modelselect.extraction.torch_extractor import TorchExtractor
from modelselect.history import History
from modelselect.selection import affordable, forecast, verifying
from modelselect.selection.affordable import Affordable, affordable_fine_tuning
from modelselect.verification import FineTuning
from tests.estimators.test_resampling import Columns, Mean, two_classes

CLEAR = [0.0, 0.3, 0.6, 0.9, 3.5, 0.2, 0.1, 0.4]
"""Gaps between the classes, a column each: the fifth column tells them apart, the others hardly do."""

CLOSE = [1.0, 1.02, 1.01, 0.99, 0.2, 0.1]


pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Rows that were passed forward, by candidate, as extractors were asked to."""
    counted: Counter[str] = Counter()
    whole = TorchExtractor.extract

    def counting(self: Any, backbone: Any, probe: Any, *more: Any, **settings: Any) -> Any:
        counted[backbone.candidate.id] += len(probe)
        return whole(self, backbone, probe, *more, **settings)

    monkeypatch.setattr(TorchExtractor, "extract", counting)
    return counted


def single_columns(gaps: list[float]) -> list[torch.nn.Module]:
    return [Columns(i) for i in range(len(gaps))]


def run(gaps: list[float], rows: int = 480, **settings: Any) -> ms.Leaderboard:
    candidates = settings.pop("candidates", None) or single_columns(gaps)
    return ms.select(two_classes(rows, gaps), candidates, progress=False, **{"estimators": "centroid", **settings})


# --- rounds ----------------------------------------------------------------------------------------------------------


def test_a_clear_winner_is_found_before_all_rows_are_used(passed: Counter[str]) -> None:
    board = run(CLEAR, budget="10m")
    assert board.best.candidate == run(CLEAR).best.candidate
    record = board.provenance["budget"]
    assert record["sure_of_first"] >= 0.9
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
            assert row.status.endswith("to be the best")
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


def test_a_candidate_that_would_overrun_the_budget_is_not_begun(passed: Counter[str]) -> None:
    board = run(CLOSE, budget=210)
    assert len(board.ranked) == 3  # of 60 rows each
    assert len(passed) == 3
    for row in board.rows[3:]:
        assert row.status == "left out: not begun: scoring takes about 60 passes, and 30 passes are left for scoring"
    with pytest.raises(NothingRankedError, match="not begun"):
        run([1.0, 0.5], rows=400, budget=30)


def test_a_budget_that_is_gone_before_scoring_begins_says_so(passed: Counter[str]) -> None:
    expected = r"the budget for scoring \(0.001 s\) was used up before the first candidate could begin. Give more"
    with pytest.raises(NothingRankedError, match=expected):
        run([1.0, 0.5], rows=400, budget=Budget(seconds=0.001))
    assert not passed


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


class Slow(Columns):
    """Takes its time for every row, but for the examples that it is loaded with."""

    def __init__(self, column: int, seconds: float) -> None:
        super().__init__(column)
        self.seconds = seconds

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        if rows.device.type == "cpu" and len(rows) > 2:
            time.sleep(self.seconds * len(rows))
        return super().forward(rows)


def test_a_budget_of_time_is_overrun_by_what_one_candidate_takes_at_most() -> None:
    gaps = [1.0] * 12
    candidates = [Slow(column, 0.01) for column in range(12)]  # 0.6 s each for a round of 60 rows
    run(gaps, candidates=candidates[:1], rows=120, probe_size=60)  # what is imported at first is no part of it
    begun = time.monotonic()
    board = run(gaps, candidates=candidates, budget="5s")
    assert time.monotonic() - begun < 5 + 2.5
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


def test_estimators_that_look_at_no_row_take_one_round_and_no_pass(passed: Counter[str]) -> None:
    board = run(CLOSE, budget="1m", estimators="parameters")
    assert board.ranked
    assert not passed
    record = board.provenance["budget"]
    assert [stage["rows"] for stage in record["stages"]] == [480]
    assert record["sure_of_first"] is None  # nothing tells how the order would change with other rows


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


# --- fine-tuning -----------------------------------------------------------------------------------------------------

QUICK = FineTuning(epochs=8, batch_size=64)


def tune(gaps: list[float], **settings: Any) -> ms.Leaderboard:
    candidates = [torch.nn.Sequential(Columns(i), torch.nn.Linear(1, 2)) for i in range(len(gaps))]
    torch.manual_seed(0)
    return run(gaps, rows=400, candidates=candidates, fine_tuning=QUICK, **settings)


def test_candidates_and_epochs_are_what_the_budget_leaves(passed: Counter[str]) -> None:
    seen = set()
    for budget in (40_000, 17_000, 8_500, 4_000):
        board = tune([1.0, 1.0, 1.0, 0.9], budget=budget, top_k=3, confidence=0.999, seed=budget)
        *scoring, stage = board.provenance["budget"]["stages"]
        left = budget - sum(each["passes"] for each in scoring)
        # 320 rows to train on, three passes for each and every epoch, and 80 held out
        affordable = {k: min(8, (left // k - 80) // (3 * 320)) for k in (3, 2)}
        verified = next((k for k in (3, 2) if affordable[k] >= 3), 0)
        epochs = affordable.get(verified, 0)
        assert (stage["candidates"], stage["epochs"]) == (verified, epochs), stage
        seen.add((verified, epochs == 8))
        assert sum(row.verified_accuracy is not None for row in board.rows) == verified
        assert board.provenance["budget"]["spent"]["passes"] <= budget
        assert not verified or board.provenance["settings"]["fine_tuning"]["epochs"] == epochs
    assert {(3, True), (3, False), (2, False), (0, False)} == seen


def test_nothing_is_fine_tuned_where_the_winner_is_decided() -> None:
    board = tune(CLEAR, budget="10m", top_k=2)
    assert board.provenance["budget"]["stages"][-1]["decision"].startswith("not needed: ")
    assert all(row.verified_accuracy is None for row in board.rows)


def test_fine_tuning_is_priced_by_its_arithmetic_where_no_row_was_passed_forward(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forecast, "macs_per_second", lambda _: 1.0)  # 400 seconds for each pass over the rows
    board = tune([1.0, 0.9], budget="1m", estimators="parameters", top_k=2)
    assert board.provenance["budget"]["stages"][-1]["decision"].endswith("do not pay for 2 candidates")
    assert all(row.verified_accuracy is None for row in board.rows)


def test_fine_tuning_costs_the_same_whether_the_whole_probe_has_been_scored_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    priced: list[Affordable] = []

    def noting(*given: Any, **settings: Any) -> Affordable:
        priced.append(affordable_fine_tuning(*given, **settings))
        return priced[-1]

    monkeypatch.setattr(verifying, "affordable_fine_tuning", noting)
    candidates = [Slow(column, 0.001) for column in range(2)]
    settings: dict[str, Any] = {"candidates": candidates, "top_k": 1, "fine_tuning": FineTuning(epochs=1)}
    run([2.0, 0.0], **settings)
    board = run([2.0, 0.0], budget="1m", **settings)
    assert board.best.probe_rows == 96  # of 384, whose evidence was there
    (price,) = priced[0].prices.values()
    assert price / priced[0].passes < 0.0025


@pytest.mark.parametrize("budget", [9_000, "30s"])
def test_what_was_fine_tuned_when_a_run_was_killed_is_not_fine_tuned_again(
    budget: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(affordable, "affordable_epochs", lambda *_: 4)  # what is left for the first run
    tuned: list[int] = []
    whole = verification.verify

    def killed_at_the_second(backbone: Any, training: Any, holdout: Any, settings: FineTuning, **more: Any) -> Any:
        if len(tuned) == 1:
            raise KeyboardInterrupt
        tuned.append(settings.epochs)
        return whole(backbone, training, holdout, settings, **more)

    monkeypatch.setattr(fine_tuning, "verify", killed_at_the_second)
    settings: dict[str, Any] = {"budget": budget, "top_k": 2, "confidence": 0.999}
    torch.manual_seed(0)  # the same candidates each time
    with pytest.raises(KeyboardInterrupt):
        tune([1.0, 1.0], **settings)
    monkeypatch.setattr(affordable, "affordable_epochs", lambda *_: 8)  # scores cost nothing any more: more is left
    resumed: list[int] = []

    def counting(backbone: Any, training: Any, holdout: Any, settings: FineTuning, **more: Any) -> Any:
        resumed.append(settings.epochs)
        return whole(backbone, training, holdout, settings, **more)

    monkeypatch.setattr(fine_tuning, "verify", counting)
    torch.manual_seed(0)
    board = tune([1.0, 1.0], **settings)
    assert tuned == resumed == [4]
    assert sum(row.verified_accuracy is not None for row in board.rows) == 2
    assert board.provenance["settings"]["fine_tuning"]["epochs"] == 4


# --- what the leaderboard says of it ---------------------------------------------------------------------------------


def test_the_leaderboard_says_what_was_done_with_the_budget(tmp_path: Path) -> None:
    board = run(CLOSE, budget="10m", confidence=0.99)
    board.save(tmp_path / "board.json")
    assert ms.Leaderboard.load(tmp_path / "board.json") == board
    record = json.loads((tmp_path / "board.json").read_text())["provenance"]["budget"]
    assert record["asked"] == "10m"
    assert {row.probe_rows for row in board.rows} <= {stage["rows"] for stage in record["stages"]}
    assert sum(stage["passes"] for stage in record["stages"]) == record["spent"]["passes"]
    for planned, following in itertools.pairwise(record["planned"]):
        assert following["rows"] == 2 * planned["rows"]
        assert following["candidates"] <= planned["candidates"]
    text = str(board)
    assert "Budget of 10m: used" in text
    for stage in record["stages"]:
        assert f"score on {stage['rows']} rows: {stage['candidates']} candidates" in text


def test_scores_of_fewer_rows_do_not_pass_for_those_of_the_dataset(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    images = (rng.integers(0, 150, (400, 32, 32, 3)) + 60 * labels[:, None, None, None]).astype(np.uint8)
    board = ms.select(
        (images, labels), "embedded:*", estimators="logme", budget="20000 passes", history=history,
        progress=False,
    )  # fmt: skip
    kept = {row.candidate.unversioned_id for row in board.rows if row.stopped is None}
    assert {result.candidate for result in history.results()} == kept
    assert {result.dataset for result in history.results()} == {board.provenance["fingerprint"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    from PIL import Image

    rng = np.random.default_rng(0)
    for index in range(160):
        path = tmp_path / "data" / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 150, (32, 32, 3)) + 60 * (index % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return tmp_path / "data"


def test_a_dry_run_shows_the_rounds_that_a_run_then_takes(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["select", str(folder), "-c", "embedded:plain*", "-e", "knn", "--budget", "5000 passes", "--no-history"]
    with pytest.raises(SystemExit):
        app.main([*arguments, "--dry-run", "--json", "-"])
    plan = json.loads(capsys.readouterr().out)
    assert plan["budget"] == {"seconds": None, "passes": 5000}
    assert [planned["rows"] for planned in plan["rounds"]] == [80, 160]
    with pytest.raises(SystemExit):
        app.main([*arguments, "--confidence", "0.95", "--quiet", "--json", str(tmp_path / "board.json")])
    board = ms.Leaderboard.load(tmp_path / "board.json")
    record = board.provenance["budget"]
    assert record["confidence"] == 0.95
    assert [(p["rows"], p["candidates"]) for p in record["planned"]] == [
        (p["rows"], p["candidates"]) for p in plan["rounds"]
    ]


def test_a_plan_never_plans_more_than_the_budget() -> None:
    gaps = CLOSE
    for passes in (50, 250, 3000):
        plan = ms.plan(two_classes(480, gaps), single_columns(gaps), estimators="centroid", budget=passes)
        assert sum(planned.passes for planned in plan.rounds) <= passes
        assert bool(plan.rounds) == (passes >= 60)
        assert f"budget of {passes:,} passes" in str(plan)


@pytest.fixture
def remembered(tmp_path: Path) -> History:
    from modelselect.history import ACCURACY, Result

    history = History(tmp_path / "history.sqlite")
    history.record(
        Result(candidate.unversioned_id, f"data{j}", ACCURACY, 0.3 + 0.05 * i + 0.001 * j)
        for i, candidate in enumerate(ms.search("embedded:*"))
        for j in range(4)
    )
    return history


def test_a_plan_names_the_candidates_that_recall_keeps(remembered: History) -> None:
    rng = np.random.default_rng(0)
    images = (rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8), np.arange(40) % 2)
    plan = ms.plan(images, "embedded:*", estimators="knn", recall=3, history=remembered)
    board = ms.select(images, "embedded:*", estimators="knn", recall=3, history=remembered, progress=False)
    assert {row.candidate for row in plan.rows} == {row.candidate for row in board.rows}
    assert plan.recalled_from == 12
    assert "recalled: 3 of 12 candidates" in str(plan)
