"""Costs are measured where they are asked for, once for each machine."""

from __future__ import annotations

from typing import Any

import pytest

from modelselect.errors import CandidateError, NothingRankedError
from modelselect.evaluation import costs
from modelselect.evaluation.results import CostMeasurement
from modelselect.executor import Executor
from modelselect.host.host import get_host
from tests.estimators.test_resampling import Columns
from tests.evaluation.material import images, rank

pytestmark = pytest.mark.usefixtures("cache")


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
