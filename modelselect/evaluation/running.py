"""Runs a task on many candidates, moves a progress bar, calls back after each candidate, and collects the results."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from modelselect.candidates.candidate import Candidate
from modelselect.errors import Failure, PluginError, Stage, blamed
from modelselect.evaluation.results import ScoringResult, TuningResult, VerificationResult
from modelselect.executor import Executor, Outcome
from modelselect.utils.progress import Track
from modelselect.utils.stages import Ended

Result = TypeVar("Result")
Bar = contextlib.AbstractContextManager[Track]
"""What `Progress.candidates` returns."""


def _ignore(candidate: Candidate, result: Any) -> None:
    """The callback that does nothing."""


def _blames_none(candidate: Candidate, failure: Failure) -> bool:
    """Of a task without parts that can be left out."""
    return False


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
        task: takes a candidate. If it has an attribute `result`, its results are of this type. If it has a method
            `blames(candidate, failure)` that is true, the candidate is tried once more.
        candidates: each one is taken at its turn.
        bar: moves with each candidate.
        ended: called with each candidate and its result, as soon as the result is known.
    """
    found: dict[str, Result | Failure] = {}
    given: dict[str, Candidate] = {}
    expected: type = getattr(task, "result", object)
    blames: Callable[[Candidate, Failure], bool] = getattr(task, "blames", _blames_none)
    with bar as track:
        candidates = _each_noted(candidates, given)
        if executor.isolated:
            candidates = _each_begun(candidates, track)
        else:
            task = _Begun(task, track)

        def end(candidate: Candidate, result: Result | Failure) -> None:
            found[candidate.id] = result
            ended(candidate, result)
            track(candidate.id, _ended(result))

        while True:
            again: dict[str, Candidate] = {}
            for id_, result in _results(executor, task, candidates, expected):
                if id_ in given and id_ not in found and id_ not in again:
                    if isinstance(result, Failure) and blames(given[id_], result):
                        again[id_] = given[id_]
                    else:
                        end(given[id_], _lost(executor) if result is None else result)
            if not again:
                break
            candidates = _each_begun(again.values(), track)
        for candidate in given.values():
            if candidate.id not in found:
                end(candidate, _lost(executor))
    return found


def _results(
    executor: Executor, task: Callable[[Any], Any], candidates: Iterable[Candidate], expected: type
) -> Iterator[tuple[str, Any]]:
    """Ids of candidates with their results, as an executor gives them; the executor may be a plugin's.

    Raises:
        PluginError: the executor raised, or gave something that is no outcome of the task.
    """

    def failed(reason: str) -> str:
        return f"the executor {executor.name!r} failed: {reason}"

    with blamed(failed):
        outcomes = iter(executor.map(task, candidates))
    while True:
        with blamed(failed):
            outcome = next(outcomes, None)
            if outcome is None:
                return
            found = _checked(outcome, executor, expected)
        yield found


def _checked(outcome: object, executor: Executor, expected: type) -> tuple[str, Any]:
    """The id of the outcome's candidate, and its result: a value, a failure, or None."""
    if not isinstance(outcome, Outcome):
        raise PluginError(f"the executor {executor.name!r} gave {type(outcome).__name__}; expected an Outcome")
    failure: object = outcome.failure
    if not isinstance(failure, Failure | None):
        raise PluginError(
            f"the executor {executor.name!r} gave an Outcome whose failure is of type {type(failure).__name__}; "
            "expected a Failure or None"
        )
    id_ = getattr(outcome.item, "id", None)
    if not isinstance(id_, str):
        return "", None
    value: object = failure or outcome.value
    if not isinstance(value, expected | Failure | None):
        value = Failure(
            Stage.RUN,
            f"the executor {executor.name!r} gave {type(value).__name__} as a result; expected {expected.__name__}",
            "PluginError",
        )
    return id_, value


def _lost(executor: Executor) -> Failure:
    return Failure(Stage.RUN, f"the executor {executor.name!r} gave no outcome for this candidate", "PluginError")


def _each_noted(candidates: Iterable[Candidate], given: dict[str, Candidate]) -> Iterator[Candidate]:
    """The candidates; each is put into `given` when the executor takes it."""
    for candidate in candidates:
        given[candidate.id] = candidate
        yield candidate


class _Begun:
    """The task, which notes when the work on a candidate begins; an executor may take a candidate before."""

    def __init__(self, task: Callable[[Candidate], Any], track: Track) -> None:
        self._task, self._track = task, track
        self.prepare = getattr(task, "prepare", None)

    def __call__(self, candidate: Candidate) -> Any:
        self._track.begin(candidate.id)
        return self._task(candidate)


def _each_begun(candidates: Iterable[Candidate], track: Track) -> Iterator[Candidate]:
    """The candidates; one begins when a worker takes it."""
    for candidate in candidates:
        track.begin(candidate.id)
        yield candidate


def _ended(result: Any) -> Ended:
    """What progress says of a result."""
    if isinstance(result, Failure):
        limit = result.stage == Stage.LIMIT
        return Ended(f"{'left out' if limit else 'failed'}: {result.reason}", failed=not limit)
    if isinstance(result, ScoringResult):
        return Ended(_score_of(result), seconds=result.elapsed_seconds or None)
    if isinstance(result, VerificationResult):
        return _tuned("held-out ", result, result.verified.accuracy, result.verified.seconds)
    if isinstance(result, TuningResult):
        return _tuned("", result, result.brief.accuracy, result.brief.seconds)
    return Ended()


def _tuned(rows: str, result: VerificationResult | TuningResult, value: float, seconds: float) -> Ended:
    measure, reused = result.measure, result.reused
    text = f"{rows}{measure.title} {measure.text(value)}{', from the store' if reused else ''}"
    return Ended(text, seconds=None if reused else seconds, accuracy=value, measure=measure)


def _score_of(result: ScoringResult) -> str:
    """The first estimator's score; of an estimator with several components, the accuracy of its linear probe."""
    reused = ", from the store" if result.reused else ""
    for name, components in result.components.items():
        for component, shown in ((name, name), ("linear_probe/linear_probe", "linear_probe")):
            if component in components:
                return f"{shown} {components[component]:.4g}{reused}"
    return f"scored{reused}"
