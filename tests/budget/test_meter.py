"""A budget lets no candidate begin that it does not pay for."""

from __future__ import annotations

import pytest

import modelselect as ms
from modelselect.budget.budget import Budget
from modelselect.budget.meter import Gate, Meter


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("workers", [1, 2])
def test_nobody_is_let_in_whose_cost_is_not_left(workers: int) -> None:
    clock = Clock()
    meter = Meter(Budget(seconds=10.0), clock)
    gate = Gate(meter, keep=2.0, workers=workers)
    names = [ms.Candidate("shelf", str(number)) for number in range(20)]
    under_way: list[ms.Candidate] = []
    begun = []
    for candidate in gate.admit(names, lambda _: 1.5):
        begun.append(candidate)
        under_way.append(candidate)
        if len(under_way) == workers:
            clock.now += 1.5
            for done in under_way:
                gate.ended(done)
            under_way.clear()
    assert meter.seconds <= 8.0
    assert workers * 5 - len(begun) in (0, workers - 1)  # 7.5 s of the 8, for all that are at work
    assert gate.refused == 1.5


def test_time_counts_from_the_beginning_of_the_work() -> None:
    clock = Clock()
    meter = Meter(Budget(seconds=10.0), clock)
    clock.now = 30.0  # imports, and reading of data
    meter.begin()
    clock.now = 34.0
    assert meter.seconds == 4.0
    assert meter.left == 6.0
