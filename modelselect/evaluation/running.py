"""Runs a task on many candidates, moves a progress bar, calls back after each candidate, and collects the results."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from modelselect.candidates.candidate import Candidate
from modelselect.errors import Failure
from modelselect.executor import Executor

Result = TypeVar("Result")
Bar = contextlib.AbstractContextManager[Callable[[str], None]]
"""What `Progress.candidates` returns."""


def _ignore(candidate: Candidate, result: Any) -> None:
    """The callback that does nothing."""


def run(
    executor: Executor,
    task: Callable[[Candidate], Result | Failure],
    candidates: Iterable[Candidate],
    bar: Bar,
    ended: Callable[[Candidate, Result | Failure], None] = _ignore,
) -> dict[str, Result | Failure]:
    """The result of each candidate, or why it has none, by id, in the order in which they ended.

    Args:
        executor: runs the task.
        task: takes a candidate.
        candidates: each one is taken at its turn.
        bar: moves with each candidate.
        ended: called with each candidate and its result, as soon as the result is known.
    """
    found: dict[str, Result | Failure] = {}
    with bar as advance:
        for outcome in executor.map(task, candidates):
            candidate: Candidate = outcome.item
            result: Result | Failure = outcome.failure or outcome.value
            found[candidate.id] = result
            ended(candidate, result)
            advance(candidate.id)
    return found
