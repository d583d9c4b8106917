"""The classes to inherit: a test for each check that applies, and reasons for those that cannot pass."""

from __future__ import annotations

from typing import ClassVar

import pytest

import modelselect as ms
from modelselect.host.host import get_host
from modelselect.testing.estimators import estimator_checks


class Spread(ms.Estimator):
    name = "spread"
    requires = frozenset({"features"})
    citation = "A. Author: Spread is all you need, 2026"

    def score(self, evidence: ms.Evidence) -> dict[str, float]:
        assert evidence.features is not None
        return {"spread": float(evidence.features.std(dtype="float64"))}


class TestSpread(ms.testing.EstimatorTests):
    estimator = Spread()


class TestEmbedded(ms.testing.ZooTests):
    zoo = get_host().zoo("embedded")
    pattern = "plain*"


class Scaled(Spread):
    """Fails one check, and says why."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = abs(factor) + 1


class TestScaled(ms.testing.EstimatorTests):
    estimator = Scaled()
    expected_failures: ClassVar = {
        "constructor_only_stores_parameters": "it also changes them",
        "key_is_stable": "because of that",
    }


def names_of_tests(tests: type) -> list[str]:
    return sorted(name for name in dir(tests) if name.startswith("test_"))


def test_there_is_a_test_for_each_check() -> None:
    assert names_of_tests(TestSpread) == sorted(f"test_{name}" for name, _ in estimator_checks(Spread()))
    assert names_of_tests(ms.testing.EstimatorTests) == []


def test_a_check_that_fails_fails_its_test() -> None:
    class Broken(ms.testing.EstimatorTests):
        estimator = Scaled()

    with pytest.raises(AssertionError, match="it must only store it"):
        Broken().test_constructor_only_stores_parameters()  # type: ignore[attr-defined]


def test_a_check_that_passes_against_expectation_fails_its_test() -> None:
    class Pessimist(ms.testing.EstimatorTests):
        estimator = Spread()
        expected_failures: ClassVar = {"key_is_stable": "once it was not"}

    with pytest.raises(AssertionError, match="once it was not"):
        Pessimist().test_key_is_stable()  # type: ignore[attr-defined]


def test_a_reason_for_an_unknown_check_is_refused() -> None:
    with pytest.raises(TypeError, match="key_is_stabel"):
        type("Typo", (ms.testing.EstimatorTests,), {"estimator": Spread(), "expected_failures": {"key_is_stabel": "x"}})
