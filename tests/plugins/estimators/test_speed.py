"""No estimator becomes much slower than it was, relative to bare linear algebra on the same machine."""

from __future__ import annotations

import pytest

from benchmarks import guard


@pytest.mark.speed
def test_no_estimator_is_slower_than_expected() -> None:
    """What is too slow is measured again: another process may have disturbed the first measurement."""
    slow = guard.too_slow(guard.ratios())
    for _ in range(3):
        if slow:
            slow = guard.too_slow(guard.ratios(slow, repeats=21))
    assert not slow, f"{slow} times the ratio in {guard.EXPECTED.name}; if that is intended: {guard.__doc__}"


def test_what_takes_longer_than_its_range_is_too_slow() -> None:
    ranges = guard.expected()
    assert set(ranges) == {f"{shape} {name}" for shape in guard.SHAPES for name in guard.NAMES}
    assert not guard.too_slow({case: guard.MARGIN * most for case, (_, most) in ranges.items()})
    case, (_, most) = next(iter(ranges.items()))
    assert guard.too_slow({case: 2 * guard.MARGIN * most}) == {case: 2.0}
