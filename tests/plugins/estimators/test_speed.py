"""No estimator becomes much slower than it was, relative to bare linear algebra on the same machine."""

from __future__ import annotations

import time
from typing import Any

import pytest

from benchmarks import guard


@pytest.mark.speed
def test_no_estimator_is_slower_than_expected() -> None:
    slow = guard.slow_cases()
    assert not slow, f"{slow} times the ratio in {guard.EXPECTED.name}; if that is intended: {guard.__doc__}"


@pytest.mark.speed
def test_an_estimator_that_takes_twice_as_long_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = ["tall fda", "wide logme"]
    expected = guard.ratios(guard.times(cases, repeats=guard.MORE_REPEATS))
    evaluate = guard.evaluate

    def twice(estimator: Any, evidence: Any) -> Any:
        begun = time.process_time()
        result = evaluate(estimator, evidence)
        ended = time.process_time()
        while estimator.name != "logme" and time.process_time() - ended < ended - begun:
            pass
        return result

    monkeypatch.setattr(guard, "evaluate", twice)
    assert set(guard.slow_cases(cases, expected)) == {"tall fda"}


def test_what_takes_longer_than_expected_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    known = guard.all_expected()
    cases = {f"{shape} {name}" for shape in guard.SHAPES for name in guard.NAMES}
    assert all(set(expected) == cases for expected in known.values())
    case = next(iter(cases))
    for kind, usual in known.items():
        monkeypatch.setattr(guard, "processor", lambda kind=kind: kind)
        assert not guard.too_slow(usual)
        assert guard.too_slow(usual | {case: 1.6 * usual[case]}) == pytest.approx({case: 1.6})
        assert not guard.too_slow(usual | {case: 1.3 * usual[case]})


def test_on_an_unknown_processor_less_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "processor", lambda: "unknown")
    known = guard.all_expected().values()
    most = {case: max(of[case] for of in known) for case in next(iter(known))}
    case = next(iter(most))
    assert not guard.too_slow({each: 3 * ratio for each, ratio in most.items()})  # LAPACK is faster there
    assert not guard.too_slow(most | {case: 2 * most[case]})
    assert guard.too_slow(most | {case: 2.5 * most[case]}) == pytest.approx({case: 2.5})
