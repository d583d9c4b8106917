"""The kit for authors of executors: every kind of broken executor is caught, and the shipped ones pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

import modelselect as ms
from modelselect.host.host import get_host
from modelselect.testing.executors import check_executor, executor_checks
from tests.testing.material import failing


@pytest.mark.parametrize("name", ["local", pytest.param("process", marks=pytest.mark.slow)])
def test_the_shipped_executors_keep_their_promises(name: str) -> None:
    check_executor(get_host().executor(name))


class Plain(ms.Executor):
    name = "plain"

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[ms.Outcome]:
        for item in items:
            yield ms.Outcome.of(function, item)


class Named(Plain):
    name = "Not A Name"


class Stopping(Plain):
    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[ms.Outcome]:
        for item in items:
            yield ms.Outcome(item, function(item))


class Losing(Plain):
    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[ms.Outcome]:
        yield from (outcome for outcome in super().map(function, items) if outcome.failure is None)


class Bare(Plain):
    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        yield from (function(item) for item in items)


class Swapping(Plain):
    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[ms.Outcome]:
        found = list(super().map(function, items))
        for outcome, other in zip(found, reversed(found), strict=True):
            yield ms.Outcome(outcome.item, other.value, other.failure)


class Impatient(Plain):
    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[ms.Outcome]:
        prepare = getattr(function, "prepare", lambda item: None)
        yield from super().map(lambda item: (prepare(item), function(item))[1], items)


class Shrinking(Plain):
    def sized(self, workers: int) -> Any:
        return None


@pytest.mark.parametrize(
    ("broken", "check", "message"),
    [
        (Named, "name_is_valid", "lower-case"),
        (Stopping, "an_error_costs_one_item", "the error of an item ends the whole run"),
        (Losing, "an_exit_costs_one_item", "expected one for each item"),
        (Bare, "one_outcome_for_each_item", "expected Outcome"),
        (Swapping, "one_outcome_for_each_item", "has the value 50"),
        (Impatient, "preparing_changes_nothing", "item 3 fails"),
        (Shrinking, "other_numbers_of_workers_change_nothing", "sized(1) is None"),
    ],
)
def test_a_broken_executor_is_caught_by_name(broken: type[ms.Executor], check: str, message: str) -> None:
    assert failing(executor_checks(Plain())) == {}
    assert message in failing(executor_checks(broken()))[check]
