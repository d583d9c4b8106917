"""Checks on random evidence: what they find is small and can be made again, and they end."""

from __future__ import annotations

import itertools
import math
import re
import time
from collections.abc import Mapping

import pytest

import modelselect as ms
from modelselect.evidence.evidence import Evidence
from modelselect.testing import properties
from modelselect.testing.checks import named_check
from modelselect.testing.estimators import estimator_checks
from tests.testing.material import failing


class Spread(ms.Estimator):
    name = "spread"
    requires = frozenset({"features", "labels"})
    citation = "A. Author: Spread is all you need, 2026"

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.features is not None
        return {"spread": float(evidence.features.std(dtype="float64"))}


class FailsWhenWide(Spread):
    """Gives NaN for seven dimensions or more, if there are at least three classes."""

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.features is not None
        wide = evidence.features.shape[1] >= 7 and evidence.statistics.n_classes >= 3
        return {"spread": math.nan} if wide else super().score(evidence)


class Crashes(Spread):
    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.features is not None
        if len(evidence.features) > 4:
            raise ZeroDivisionError("division by zero")
        return super().score(evidence)


class Slow(Spread):
    def score(self, evidence: Evidence) -> Mapping[str, float]:
        time.sleep(0.05)
        return super().score(evidence)


NAME = "finite_or_error_on_random_evidence"


def test_the_message_holds_the_smallest_evidence_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(properties, "SECONDS", 60.0)
    message = failing([named_check(properties.property_checks(FailsWhenWide())[0], FailsWhenWide())])[NAME]
    call = re.search(r"modelselect\.testing\.(random_evidence\(.*\))", message)
    assert call is not None, message
    assert "counts=(1, 1, 1), dimensions=7, scale=1.0, dtype='float64', seed=0" in call[1]
    evidence = eval(f"ms.testing.{call[1]}", {"ms": ms})
    assert math.isnan(FailsWhenWide().score(evidence)["spread"])


def test_an_exception_is_a_fault_with_its_evidence() -> None:
    message = failing([named_check(properties.property_checks(Crashes())[0], Crashes())])[NAME]
    assert re.search(
        r"raised ZeroDivisionError: division by zero \(score, .*test_properties\.py:\d+\), "
        r"on modelselect\.testing\.random_evidence\(",
        message,
    )


def test_a_busy_machine_finds_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other processes take is not the check's time: seconds of the clock alone do not end the search."""
    clock = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: properties.SECONDS * next(clock))
    monkeypatch.setattr(properties, "WAITING", 1e9)
    assert NAME in failing([(NAME, dict(estimator_checks(FailsWhenWide()))[NAME])])


def test_the_search_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(properties, "SECONDS", 0.2)
    monkeypatch.setattr(properties, "EXAMPLES", 400)
    check = dict(estimator_checks(Slow()))[NAME]
    begun = time.monotonic()
    check()
    assert time.monotonic() - begun < 15  # 400 scores take 20 seconds


def test_without_hypothesis_the_fixed_checks_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = {name for name, _ in estimator_checks(Spread())}
    monkeypatch.setattr(properties, "find_spec", lambda name: None)
    fixed = {name for name, _ in estimator_checks(Spread())}
    assert everything - fixed == {
        NAME,
        "random_rows_can_be_permuted",
        "random_classes_can_be_renamed",
        "float32_agrees_on_random_evidence",
    }
    assert not fixed - everything


def test_a_stochastic_method_is_asked_for_finite_scores_only() -> None:
    class Stochastic(Spread):
        stochastic = True

    assert [check.__name__ for check in properties.property_checks(Stochastic())] == [f"_{NAME}"]
