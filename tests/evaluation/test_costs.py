"""Costs are measured where they are asked for, limits are kept, and the front holds what nothing beats."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import modelselect as ms
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.limits import Limits
from modelselect.cli import app
from modelselect.errors import CandidateError, InvalidInputError, NothingRankedError
from modelselect.evaluation import costs
from modelselect.evaluation.results import CostMeasurement
from modelselect.executor import Executor
from modelselect.host.host import get_host
from modelselect.leaderboard.leaderboard import Row
from modelselect.ranking.pareto import pareto_front
from modelselect.ranking.row import COST_COLUMNS
from tests.estimators.test_resampling import Columns, two_classes

DATASET = two_classes(60, [1.0, 0.5, 0.2])
COLUMNS = (
    *("rank", "candidate", "score", "centroid", "verified_accuracy", "parameters", "macs", "feature_dim"),
    *("seconds", "status"),
)
STATIC = {"source_accuracy", "downloads"}


pytestmark = pytest.mark.usefixtures("cache")


def rank(candidates: Any, dataset: Any = DATASET, **settings: Any) -> ms.Leaderboard:
    return ms.select(dataset, candidates, progress=False, **{"estimators": "centroid", **settings})


def images(rows: int = 24) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(rows) % 2
    pixels = np.random.default_rng(0).integers(0, 150, (rows, 32, 32, 3)) + 60 * labels[:, None, None, None]
    return pixels.astype(np.uint8), labels


class Waiting(torch.nn.Module):
    """Takes some seconds for every batch, and more for every row."""

    def __init__(self, batch: float, row: float) -> None:
        super().__init__()
        self.batch, self.row = batch, row

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        if rows.device.type == "cpu":
            time.sleep(self.batch + self.row * len(rows))
        return rows * 1.0


# --- measuring -------------------------------------------------------------------------------------------------------


def test_a_second_run_measures_and_loads_nothing(quickly: None, monkeypatch: pytest.MonkeyPatch) -> None:
    first = rank("embedded:plain*", images(), costs=True)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("measured or loaded again")

    monkeypatch.setattr(costs, "measure", refuse)
    monkeypatch.setattr(type(get_host().zoo("embedded")), "load", refuse)
    second = rank("embedded:plain*", images(), costs=True)
    assert second == first
    for before, after in zip(first.rows, second.rows, strict=True):
        assert (after.latency_ms, after.throughput, after.memory_bytes) == (
            before.latency_ms,
            before.throughput,
            before.memory_bytes,
        )
    assert second.provenance["from_store"] == 2


def test_another_machine_measures_for_itself(quickly: None, monkeypatch: pytest.MonkeyPatch) -> None:
    rank(Columns(0), costs=True)
    seen = []
    monkeypatch.setattr(costs, "measure", lambda *_, **__: seen.append(1) or CostMeasurement(1.0, 1.0, 1, 1))
    rank(Columns(0), costs=True)
    assert not seen
    monkeypatch.setattr("modelselect.evaluation.timing.processor", lambda: "another")
    assert rank(Columns(0), costs=True).best.latency_ms == 1.0


def test_what_cannot_be_measured_costs_its_cells_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> CostMeasurement:
        raise CandidateError("no room")

    monkeypatch.setattr(costs, "measure", fails)
    row = rank(Columns(0), costs=True).best
    assert row.rank == 1
    assert row.latency_ms is None
    assert row.status == "costs: no room"
    with pytest.raises(NothingRankedError, match="no room"):
        rank(Columns(0), max_latency_ms=1000)


class Recording(Executor):
    """One item after another; notes how many at a time it was asked for."""

    name = "recording"
    workers = 4

    def __init__(self) -> None:
        self.asked: list[int] = []

    def sized(self, workers: int) -> Executor:
        self.asked.append(workers)
        return get_host().executor("local")

    def map(self, function: Any, items: Any) -> Any:
        raise AssertionError("several at a time")


def test_nothing_else_is_at_work_while_a_candidate_is_timed(quickly: None) -> None:
    executor = Recording()
    assert rank([Columns(0), Columns(1)], costs=True, executor=executor).best.latency_ms is not None
    assert executor.asked == [1]


# --- columns ---------------------------------------------------------------------------------------------------------


def test_costs_are_columns_where_they_were_measured_and_only_there(quickly: None, tmp_path: Path) -> None:
    plain = rank("embedded:plain*", images())
    shown = [name for name in plain.columns if name not in STATIC]
    assert shown == list(COLUMNS)
    board = rank("embedded:plain*", images(), costs=True)
    seconds = board.columns.index("seconds")
    assert board.columns[seconds - 5 : seconds] == COST_COLUMNS
    assert [c for c in board.columns if c not in COST_COLUMNS] == list(plain.columns)
    frame = board.to_pandas()
    assert str(frame["memory_bytes"].dtype) == "Int64"
    assert frame["license"].tolist() == ["Apache-2.0"] * 2
    assert frame["download_bytes"].tolist() == [row.candidate.metadata["size_bytes"] for row in board.rows]
    board.save(tmp_path / "board.json")
    again = ms.Leaderboard.load(tmp_path / "board.json")
    assert [row.latency_ms for row in again.rows] == [row.latency_ms for row in board.rows]
    assert board.to_csv().splitlines()[0].split(",") == list(board.columns)
    assert board == plain  # times are no part of the answer


# --- limits ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    zoo = type(get_host().zoo("embedded"))
    load = zoo.load

    def noting(self: Any, candidate: ms.Candidate, **settings: Any) -> Backbone:
        names.append(candidate.name)
        return load(self, candidate, **settings)

    monkeypatch.setattr(zoo, "load", noting)
    return names


def test_what_has_too_many_parameters_is_not_loaded_and_says_by_how_much(loaded: list[str]) -> None:
    board = rank("embedded:*", images(), max_parameters=30_000, estimators="h_score")
    small = {c.name for c in ms.search("embedded:*") if c.metadata["parameters"] <= 30_000}
    assert set(loaded) == {row.candidate.name for row in board.ranked} == small
    for row in board.rows[len(small) :]:
        count = row.candidate.metadata["parameters"]
        assert row.rank is None
        assert row.status.startswith(
            f"left out: {count:,} parameters, {count / 30_000:.3g} times max_parameters=30,000"
        )


@pytest.mark.parametrize("has_skeleton", [True, False])
def test_parameters_that_the_zoo_does_not_know_are_counted(
    loaded: list[str], monkeypatch: pytest.MonkeyPatch, has_skeleton: bool
) -> None:
    if not has_skeleton:
        monkeypatch.setattr(type(get_host().zoo("embedded")), "skeleton", lambda *_, **__: None)
    monkeypatch.setattr(type(get_host().extractor("cpu")), "extract", None)
    [known] = ms.search("embedded:plain.letters")
    facts = {name: value for name, value in known.metadata.items() if name != "parameters"}
    unknown = ms.Candidate(known.zoo, known.name, known.revision, facts)
    with pytest.raises(NothingRankedError, match=r"40,874 parameters, 4\.09 times max_parameters=10,000"):
        rank([unknown], images(), max_parameters=10_000)
    assert bool(loaded) != has_skeleton


def test_licences_match_globs_in_any_case_and_the_unknown_one_none() -> None:
    known = [
        ms.Candidate("shelf", name, metadata={"license": name} if name else {}) for name in ("MIT", "cc-by-4.0", "")
    ]
    limits = Limits.of(license=["mit", "CC-BY*"])
    assert [limits.exceeded_before_loading(candidate, None) for candidate in known] == [
        None,
        None,
        "the licence is unknown; allowed: mit, CC-BY*",
    ]
    assert (
        Limits.of(license="apache-2.0").exceeded_before_loading(known[0], None)
        == "the licence is 'MIT'; allowed: apache-2.0"
    )
    hint = "the licence is 'cc-by-4.0'; allowed: CC-BY; did you mean 'CC-BY*'?"
    assert Limits.of(license="CC-BY").exceeded_before_loading(known[1], None) == hint


def test_an_empty_pool_says_which_limit_emptied_it(loaded: list[str]) -> None:
    with pytest.raises(NothingRankedError, match=r"passes the limits \(license=mit\).*'Apache-2.0'; allowed: mit") as e:
        rank("embedded:*", images(), license="mit")
    assert not loaded
    assert len(e.value.leaderboard.rows) == 12  # type: ignore[attr-defined]


def test_what_is_too_slow_is_left_out_before_its_forward_pass_over_the_probe(
    quickly: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    extractor = type(get_host().extractor("cpu"))
    extract = extractor.extract

    def noting(self: Any, backbone: Any, *more: Any, **settings: Any) -> Any:
        seen.append(backbone.candidate.name)
        return extract(self, backbone, *more, **settings)

    monkeypatch.setattr(extractor, "extract", noting)
    board = rank([Waiting(0.03, 0.0), Columns(0)], max_latency_ms=20)
    assert seen == ["Columns"]
    assert board.best.candidate.name == "Columns"
    assert "ms for one row, " in board.rows[1].status
    assert "times max_latency_ms=20" in board.rows[1].status


def test_a_limit_of_latency_holds_in_worker_processes() -> None:
    with pytest.raises(NothingRankedError, match="times max_latency_ms=1e-06"):
        rank("embedded:plain.letters", images(), max_latency_ms=1e-6, executor="process")


@pytest.mark.parametrize(
    "limits",
    [{"max_parameters": 0}, {"max_parameters": "many"}, {"max_latency_ms": -1.0}, {"license": []}, {"license": [""]}],
)
def test_limits_that_mean_nothing_are_refused(limits: Any) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(limits))):
        rank(Columns(0), **limits)


def test_limits_are_options_of_the_command_line(tmp_path: Path, quickly: None) -> None:
    from PIL import Image

    for index, (pixels, label) in enumerate(zip(*images(), strict=True)):
        path = tmp_path / "data" / str(label) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    arguments = ["select", str(tmp_path / "data"), "-c", "embedded:*", "-e", "h_score", "--no-history", "--quiet"]
    limits = ["--max-parameters", "23000", "--license", "mit", "--license", "apache*", "--max-latency-ms", "10000"]
    with pytest.raises(SystemExit) as stopped:
        app.main([*arguments, *limits, "--costs", "--json", str(tmp_path / "board.json")])
    assert not stopped.value.code
    board = ms.Leaderboard.load(tmp_path / "board.json")
    assert {row.candidate.name for row in board.ranked} == {
        c.name for c in ms.search("embedded:*") if c.metadata["parameters"] <= 23_000
    }
    assert all(row.latency_ms for row in board.ranked)
    given = json.loads((tmp_path / "board.json").read_text())["provenance"]["settings"]["limits"]
    assert given == {"max_parameters": 23000, "max_latency_ms": 10000.0, "license": ["mit", "apache*"]}


def test_a_plan_names_what_limits_leave_out() -> None:
    plan = ms.plan(images(), "embedded:*", estimators="h_score", max_parameters=23_000, license="apache-2.0")
    out = {row.candidate.name for row in plan.rows if row.remark.startswith("left out: ")}
    assert out == {c.name for c in ms.search("embedded:*") if c.metadata["parameters"] > 23_000}
    assert all(row.seconds == 0 for row in plan.rows if row.candidate.name in out)


# --- who is worth it -------------------------------------------------------------------------------------------------


def board_of(points: list[tuple[float | None, float]], cost: str = "latency_ms") -> ms.Leaderboard:
    order = sorted(range(len(points)), key=lambda i: -points[i][1])
    ranks = {i: 1 + sum(points[j][1] > points[i][1] for j in range(len(points))) for i in order}
    rows = [Row(ms.Candidate("shelf", str(i)), ranks[i], points[i][1], **{cost: points[i][0]}) for i in order]  # type: ignore[arg-type]
    return ms.Leaderboard(tuple(rows))


def test_the_front_holds_exactly_those_that_nothing_beats() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        points = [(float(c), float(q)) for c, q in rng.integers(1, 8, (12, 2))]
        undominated = {
            i
            for i, (c, q) in enumerate(points)
            if not any((c2 <= c and q2 >= q) and (c2 < c or q2 > q) for c2, q2 in points)
        }
        for quality in (None, "score"):
            front = board_of(points).pareto("latency_ms", quality)  # type: ignore[arg-type]
            assert {int(row.candidate.name) for row in front} == undominated
            assert [row.latency_ms for row in front] == sorted(row.latency_ms or 0 for row in front)
        assert set(pareto_front(*map(list, zip(*points, strict=True)))) == undominated


def test_a_cost_that_is_not_known_is_left_out_of_the_front() -> None:
    board = board_of([(None, 0.9), (3.0, 0.8), (1.0, 0.5)])
    assert [row.candidate.name for row in board.pareto("latency_ms")] == ["2", "1"]
    with pytest.raises(InvalidInputError, match=r"memory_bytes.*costs=True"):
        board.pareto("memory_bytes")
    with pytest.raises(InvalidInputError, match="expected one of parameters, macs"):
        board.pareto("beauty")
    with pytest.raises(InvalidInputError, match="quality"):
        board.pareto("latency_ms", "beauty")


def test_without_a_quality_the_front_goes_by_the_boards_order() -> None:
    verified = Row(ms.Candidate("shelf", "verified"), 1, 0.2, predicted_rank=2, verified_accuracy=0.9, parameters=10)
    unverified = Row(ms.Candidate("shelf", "unverified"), 2, 0.8, predicted_rank=1, parameters=20)
    small = Row(ms.Candidate("shelf", "small"), 3, 0.1, parameters=5)
    board = ms.Leaderboard((verified, unverified, small))
    assert board.pareto() == (small, verified)
    assert board.pareto(quality="score") == (small, verified, unverified)
    assert board.pareto(quality="verified_accuracy") == (verified,)
