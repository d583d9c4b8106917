"""Named checks for authors of executors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from modelselect.executor import Executor, Outcome
from modelselect.testing.checks import Check, called, lacking, name_is_valid, named_check, run_checks


def check_executor(executor: Executor, *, expected_failures: Mapping[str, str] | None = None) -> None:
    """Runs every check of `executor_checks` and reports all that fail, by name.

    Args:
        executor: the instance to be registered.
        expected_failures: as for `check_estimator`.

    Raises:
        AssertionError: lists the checks that failed, or that passed although they were expected to fail.

    >>> from modelselect.host import get_host
    >>> check_executor(get_host().executor("local"))
    """
    run_checks(called("executor", executor), executor_checks(executor), expected_failures)


def executor_checks(executor: Executor) -> list[Check]:
    """For every promise of an executor, a name and a check; see `check_executor`."""
    if incomplete := lacking(executor, Executor, "name"):
        return incomplete
    checks = [
        name_is_valid,
        _one_outcome_for_each_item,
        _no_items_no_outcomes,
        _an_error_costs_one_item,
        _an_exit_costs_one_item,
        _other_numbers_of_workers_change_nothing,
        _preparing_changes_nothing,
    ]
    if executor.isolated:
        checks.append(_a_crash_costs_one_item)
    return [named_check(check, executor) for check in checks]


class Task:
    """What the checks run. It can be pickled, as what an isolated executor runs must be."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault

    def __call__(self, item: int) -> int:
        if item == 3 and self.fault == "error":
            raise ArithmeticError("item 3 cannot be processed")
        if item == 3 and self.fault == "exit":
            raise SystemExit("item 3 asks to stop")
        if item == 3 and self.fault == "crash":
            os._exit(41)
        return 10 * item


class PreparedTask(Task):
    """A task with work that may be done one item ahead. Preparing item 3 fails; processing it does not."""

    def prepare(self, item: int) -> None:
        if item == 3:
            raise ArithmeticError("item 3 cannot be prepared")


ITEMS = (1, 2, 3, 4, 5)


def _outcomes(executor: Executor, task: Task, items: tuple[int, ...] = ITEMS) -> dict[int, Outcome]:
    try:
        outcomes = list(executor.map(task, items))
    except SystemExit as error:
        raise AssertionError("map() lets sys.exit() of an item end the whole run; use Outcome.of") from error
    except ArithmeticError as error:
        raise AssertionError(f"the error of an item ends the whole run ({error}); use Outcome.of") from error
    for outcome in outcomes:
        assert isinstance(outcome, Outcome), f"map() yields {type(outcome).__name__}; expected Outcome"
    given = sorted(outcome.item for outcome in outcomes)
    assert given == sorted(items), f"map() over {list(items)} yields outcomes for {given}; expected one for each item"
    return {outcome.item: outcome for outcome in outcomes}


def _has_values(outcomes: Mapping[int, Outcome], but: int | None = None) -> None:
    for item, outcome in outcomes.items():
        if item != but:
            assert outcome.failure is None, f"item {item} fails ({outcome.failure}), although its function does not"
            assert outcome.value == 10 * item, f"item {item} has the value {outcome.value!r}; expected {10 * item}"


def _loses_one_item(executor: Executor, fault: str, expected: str) -> None:
    outcomes = _outcomes(executor, Task(fault))
    failure = outcomes[3].failure
    assert failure is not None, f"item 3 gives {outcomes[3].value!r}, although its function {expected}"
    assert failure.reason.strip(), "the failure of item 3 gives no reason"
    _has_values(outcomes, but=3)


def _one_outcome_for_each_item(executor: Executor) -> None:
    _has_values(_outcomes(executor, Task()))


def _no_items_no_outcomes(executor: Executor) -> None:
    assert _outcomes(executor, Task(), ()) == {}, "map() over nothing yields outcomes"


def _an_error_costs_one_item(executor: Executor) -> None:
    _loses_one_item(executor, "error", "raises")


def _an_exit_costs_one_item(executor: Executor) -> None:
    _loses_one_item(executor, "exit", "calls sys.exit()")


def _a_crash_costs_one_item(executor: Executor) -> None:
    _loses_one_item(executor, "crash", "ends its process")


def _other_numbers_of_workers_change_nothing(executor: Executor) -> None:
    for workers in (1, 2):
        sized: Any = executor.sized(workers)
        assert isinstance(sized, Executor), f"sized({workers}) is {sized!r}; expected an Executor"
        _has_values(_outcomes(sized, Task()))


def _preparing_changes_nothing(executor: Executor) -> None:
    """An item that cannot be prepared ahead is processed in its turn all the same."""
    _has_values(_outcomes(executor, PreparedTask()))
