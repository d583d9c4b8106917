"""No estimator becomes much slower than it was, relative to bare linear algebra on the same machine."""

from __future__ import annotations

import pytest

from benchmarks import guard


@pytest.mark.speed
def test_no_estimator_is_slower_than_expected() -> None:
    """What is too slow is measured again: another process may have disturbed the first measurement."""
    measured = guard.ratios()
    slow = guard.too_slow(measured)
    for _ in range(3):
        if slow:
            measured |= guard.ratios(slow, repeats=21)
            slow = guard.too_slow(measured)
    assert not slow, f"{slow} times the ratio in {guard.EXPECTED.name}; if that is intended: {guard.__doc__}"


def test_what_takes_longer_than_its_range_is_too_slow() -> None:
    ranges = guard.expected()
    assert set(ranges) == {f"{shape} {name}" for shape in guard.SHAPES for name in guard.NAMES}
    usual = {case: most for case, (_, most) in ranges.items()}
    assert not guard.too_slow(usual)
    assert not guard.too_slow({case: 3 * most for case, most in usual.items()})  # a machine with a fast LAPACK
    case = next(iter(usual))
    assert guard.too_slow(usual | {case: 2 * guard.MARGIN * usual[case]}) == pytest.approx({case: 2.0})
    assert not guard.too_slow(usual | {case: 1.4 * usual[case]})
