"""The simulation of a cluster keeps the bounds of list scheduling, and the page shows what it gives."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import cluster
from tests.conftest import REPOSITORY


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=30), st.integers(1, 40), st.floats(0, 10))
def test_a_stage_takes_what_graham_has_proved(costs: list[float], workers: int, start: float) -> None:
    found = cluster.makespan(costs, workers, start) - start
    least = max(sum(costs) / workers, max(costs))
    most = sum(costs) / workers + (1 - 1 / workers) * max(costs)
    assert least - 1e-6 <= found <= most + 1e-6


def test_one_worker_takes_the_sum_and_no_candidates_take_nothing() -> None:
    assert cluster.makespan([1.0, 2.0, 3.0], 1, 0.5) == pytest.approx(6.5)
    assert cluster.makespan([], 3, 0.5) == 0.0


def test_the_page_shows_what_the_command_prints() -> None:
    costs = json.loads((REPOSITORY / "benchmarks/cluster_costs.json").read_text(encoding="utf-8"))
    page = (REPOSITORY / "docs/explanation/cluster.md").read_text(encoding="utf-8")
    shown = page.partition(cluster.MARKS[0])[2].partition(cluster.MARKS[1])[0].strip()
    assert shown == cluster.tables(costs, 100_000, (1, 10, 100))
