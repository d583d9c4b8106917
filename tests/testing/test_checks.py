"""What all checks share: an item that is nothing of its kind is named at once, and one cause is reported once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

import modelselect as ms
from modelselect.testing.checks import named_check, run_checks

CHECKS: dict[str, Callable[[Any], None]] = {
    "Estimator": ms.testing.check_estimator,
    "Zoo": ms.testing.check_zoo,
    "Extractor": ms.testing.check_extractor,
    "Executor": ms.testing.check_executor,
    "Encoder": ms.testing.check_encoder,
    "Pool": ms.testing.check_pool,
    "Protocol": ms.testing.check_protocol,
    "ReportSection": ms.testing.check_report_section,
    "Task": ms.testing.check_task,
    "Typer": lambda app: ms.testing.check_command("count", app),
}


class Nameless(ms.Estimator):
    def score(self, evidence: ms.Evidence) -> dict[str, float]:
        return {"nameless": 0.0}


class Plain(ms.Estimator):
    name = "plain"
    requires = frozenset({"features"})
    citation = "A. Author, 2026"

    def score(self, evidence: ms.Evidence) -> Any:
        return 0.5


class Nothing(ms.Zoo):
    name = "nothing"

    def search(self, pattern: str) -> Iterable[ms.Candidate]:
        return None  # type: ignore[return-value]

    def load(self, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> ms.Backbone:
        raise NotImplementedError


class Bare(Nothing):
    def search(self, pattern: str) -> Iterable[ms.Candidate]:
        return [ms.Candidate("nothing", "bare")]

    def load(self, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> ms.Backbone:
        return 3  # type: ignore[return-value]


def faults_of(check: Callable[[Any], None], item: Any) -> list[str]:
    with pytest.raises(AssertionError) as raised:
        check(item)
    return str(raised.value).splitlines()[1:]


@pytest.mark.parametrize("kind", CHECKS)
def test_something_of_no_kind_is_one_fault_that_says_what_was_expected(kind: str) -> None:
    assert faults_of(CHECKS[kind], 3) == [f"- is_complete: 3 is no {kind}, but of the class int"]
    assert "is a class; give an instance, as in Plain()" in faults_of(CHECKS[kind], Plain)[0]


def test_an_attribute_that_is_missing_is_named() -> None:
    (fault,) = faults_of(ms.testing.check_estimator, Nameless())
    assert fault == "- is_complete: Nameless has no name; see the attributes of Estimator"


def test_a_cause_that_several_checks_find_is_reported_once() -> None:
    def first() -> None:
        raise AssertionError("the same")

    def second() -> None:
        raise AssertionError("the same")

    with pytest.raises(AssertionError) as raised:
        run_checks("it", [named_check(first), named_check(second)], None)
    assert str(raised.value) == "it does not keep its promises:\n- first: the same (also found by second)"


@pytest.mark.parametrize(
    ("check", "item", "words"),
    [
        (ms.testing.check_estimator, Plain(), "score() gives a float; expected numbers by the names of components"),
        (ms.testing.check_zoo, Nothing(), "search('*') gives None; expected candidates"),
        (ms.testing.check_zoo, Bare(), "load() gives no Backbone, but an object of the class int"),
    ],
)
def test_an_answer_of_the_wrong_type_is_named(check: Callable[[Any], None], item: Any, words: str) -> None:
    assert sum(words in fault for fault in faults_of(check, item)) == 1
