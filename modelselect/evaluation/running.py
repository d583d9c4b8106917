"""One task run on many candidates: a bar moves, who wants to hear of each is called, and what each gave is kept."""

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


def _nobody(candidate: Candidate, result: Any) -> None:
    """Nobody wants to hear of a candidate."""


def run(
    executor: Executor,
    task: Callable[[Candidate], Result | Failure],
    candidates: Iterable[Candidate],
    bar: Bar,
    ended: Callable[[Candidate, Result | Failure], None] = _nobody,
) -> dict[str, Result | Failure]:
    """The result of each candidate, or why it has none, by id, in the order in which they ended.

    Args:
        executor: runs the task.
        task: takes a candidate.
        candidates: each is taken when it is its turn.
        bar: moves with each candidate.
        ended: called with each candidate and its result, as soon as that is there.
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
