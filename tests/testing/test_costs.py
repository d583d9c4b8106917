"""The report of costs: multiples of one Gram matrix, for every shape, in a table."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import pytest

import modelselect as ms
from modelselect.evidence.evidence import Evidence
from modelselect.host.host import get_host
from modelselect.testing.costs import SHAPES, estimator_costs


class Wasteful(ms.Estimator):
    """Sleeps, and holds four matrices of the size of the Gram matrix."""

    name = "wasteful"
    requires = frozenset({"features"})
    citation = "A. Author: Waste is all you need, 2026"

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.features is not None
        width = evidence.features.shape[1]
        held = [np.ones((width, width)) for _ in range(4)]
        time.sleep(0.02)
        return {self.name: float(held[0][0, 0])}


def test_time_and_memory_are_multiples_of_one_gram_matrix() -> None:
    (cost,) = estimator_costs(Wasteful(), [(60, 100, 3)])
    assert (cost.rows, cost.dimensions, cost.classes, cost.gram_bytes) == (60, 100, 3, 80_000)
    assert 0.02 <= cost.seconds == pytest.approx(cost.grams * cost.gram_seconds)
    assert cost.again >= 0.02
    assert 4 <= cost.gram_sizes < 5


def test_shared_statistics_are_paid_once() -> None:
    (cost,) = estimator_costs(get_host().estimator("logme"), [(400, 256, 5)])
    assert cost.again < cost.seconds
    assert cost.grams_again < cost.grams


def test_the_report_is_a_table_with_a_line_for_each_shape() -> None:
    report = estimator_costs(get_host().estimator("centroid"), [(50, 8, 2), (1000, 16, 4)])
    title, heads, *lines = str(report).splitlines()
    assert title.startswith("Centroid(leave_one_out=True), next to")
    assert heads.count("in Grams") == 3
    assert [line.strip().split("  ")[0] for line in lines] == ["50 x 8, 2", "1,000 x 16, 4"]
    assert len({len(line) for line in (heads, *lines)}) == 1
    assert [cost.rows for cost in report] == [50, 1000]


def test_the_default_shapes_end_with_the_default_probe() -> None:
    assert SHAPES[-1][0] == 2500


@pytest.mark.parametrize("shape", [(3, 4, 5), (5, 0, 2), (0, 4, 0)])
def test_a_shape_that_cannot_be_is_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ms.errors.InvalidInputError, match="expected rows, dimensions and classes"):
        estimator_costs(Wasteful(), [shape])


def test_an_estimator_that_needs_a_history_is_refused() -> None:
    with pytest.raises(ms.errors.InvalidInputError, match="fennec needs a history"):
        estimator_costs(get_host().estimator("fennec"))
