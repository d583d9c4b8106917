"""How much of the default recipe of fine-tuning fits `max_time`, where neither a recipe nor a budget is given.

The time is measured: each candidate that will be fine-tuned trains on one batch. If not all epochs fit, all candidates
train for fewer. If not even a few fit, only the head is trained, on features that are computed once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelselect.budget.budget import LEAST_EPOCHS
from modelselect.errors import Failure
from modelselect.evaluation.fine_tuning import TimingTask, VerificationTask
from modelselect.evaluation.request import Request
from modelselect.evaluation.results import ScoringResult
from modelselect.evaluation.running import run
from modelselect.evaluation.settings import Settings
from modelselect.ranking.row import RankedCandidate
from modelselect.selection.affordable import decision_key
from modelselect.selection.state import State
from modelselect.utils.text import duration

FINE_TUNING = "fine-tuning"
"""What progress calls the stage that fine-tunes the best candidates."""

FINE_TUNING_SHARE = 0.5
"""Share of `max_time` that fine-tuning may take, even if the forward passes have taken more than the rest."""

ESTIMATED_SHARE = 0.9
"""Share of `max_time` for forward passes and fine-tuning. Imports, loading and saving take the rest."""

LONG_TRAINING = 1.25
"""A row takes this many times as long in a training of minutes as in the batch that is measured: 1.2 was seen for
MobileNetV1 on 2 cores."""

SLOWEST_TRAINING = 16
"""Forward passes that training on a row takes, at most. On a CPU it is about 8, since the forward pass of training is
slower, too. Recipes that fit by this bound need no measurement."""


@dataclass(frozen=True)
class Bound:
    """What of the default recipe is trained, and why.

    Attributes:
        epochs: number of epochs.
        method: what is trained.
        seconds: what all candidates take together, as measured.
    """

    epochs: int
    method: str
    seconds: float

    def applied(self, task: VerificationTask) -> VerificationTask:
        return replace(task, settings=replace(task.settings, epochs=self.epochs), method=self.method)

    def record(self, request: Request, task: VerificationTask) -> dict[str, Any] | None:
        """The bound as plain data, for the provenance; None if the whole recipe is trained."""
        whole = task.settings.epochs
        if (self.epochs, self.method) == (whole, task.method):
            return None
        what = f"for {self.epochs} of {whole} epochs" if self.method == task.method else "of the linear head alone"
        limit = duration(request.settings.bounds.seconds)
        remark = (
            f"Fine-tuning {what}, about {duration(self.seconds)}, so that the run ends within max_time ({limit}). "
            f"fine_tuning=FineTuning(epochs={whole}) (--epochs {whole}) trains the whole recipe, and max_time= "
            "(--max-time) sets the bound."
        )
        return {"method": self.method, "epochs": self.epochs, "whole_epochs": whole, "remarks": [remark]}


def is_bounded(settings: Settings) -> bool:
    """Whether fine-tuning is to end within `max_time`: the caller gives neither a recipe nor a budget."""
    default = settings.fine_tuning is None and settings.budget is None
    return settings.fine_tunes and default and settings.verify != "head"


def time_left(settings: Settings, spent: float) -> float:
    """Seconds for fine-tuning, if the forward passes take `spent` seconds; infinite without a bound."""
    if not is_bounded(settings):
        return math.inf
    limit = ESTIMATED_SHARE * settings.bounds.seconds
    return max(limit - spent, FINE_TUNING_SHARE * limit)


def bounded(request: Request, state: State, task: VerificationTask) -> tuple[VerificationTask, State]:
    """The task with as much of the default recipe as fits `max_time`, and the state with a record of that.

    A recipe that the caller gives is trained as it is. The decision of an earlier run with the same arguments is kept,
    since accuracies depend on it.

    Args:
        request: what was asked for.
        state: the state after scoring.
        task: would fine-tune each candidate with the whole recipe.
    """
    if not is_bounded(request.settings) or not state.ranking.ranked:
        return task, state
    store = task.context.store
    bounds, tune = f"max_time {request.settings.bounds.seconds}", request.settings.tune
    key = decision_key(state, bounds, task, request.settings.top_k, tune=tune)
    if (decided := store.get(key)) is not None:
        bound = Bound(**decided.metadata)
    else:
        bound = _bound(request, state, task)
        store.put(key, {}, {"epochs": bound.epochs, "method": bound.method, "seconds": bound.seconds})
    if request.settings.top_k and not request.settings.tune:
        state.bars.expect(FINE_TUNING, bound.seconds / request.runner.workers)
    record = bound.record(request, task)
    if record is not None and state.bound is None:
        state.bars.say(record["remarks"][0])
    return bound.applied(task), replace(state, bound=record)


def _bound(request: Request, state: State, task: VerificationTask) -> Bound:
    settings, probe, workers = task.settings, task.context.probe, request.runner.workers
    assert probe.holdout is not None
    are_inputs = probe.groups is None  # else rows are parts of inputs, and an input takes longer than a row
    rows, held = (len(each) if are_inputs else each.n_inputs for each in (probe.training, probe.holdout))
    passed = [_forward_seconds(state, row) for row in state.ranking.ranked]
    spent = sum(seconds * len(probe) for seconds in passed if seconds is not None) / workers
    left = workers * time_left(request.settings, spent)
    tuned, verified = min(request.settings.tune, len(passed)), min(request.settings.top_k, len(passed))
    once = max(tuned, verified)
    known = [seconds for seconds in passed[:once] if seconds is not None and are_inputs]

    def total(row_seconds: Sequence[float], forward: Sequence[float], epochs: int) -> float:
        """Seconds for one epoch of each candidate, and the other epochs of those that are verified."""
        further = sorted(row_seconds)[-verified:] if verified else []
        return rows * (sum(row_seconds) + (epochs - 1) * sum(further)) + held * sum(forward)

    def whole(seconds: float) -> Bound:
        return Bound(settings.epochs, task.method, seconds)

    slowest = [SLOWEST_TRAINING * seconds for seconds in known]
    if len(known) == once and (seconds := total(slowest, known, settings.epochs)) <= left:
        return whole(seconds)
    candidates = [row.candidate for row in state.ranking.ranked[:once]]
    bar = state.bars.candidates("timing one batch of fine-tuning", len(candidates))
    found = run(request.runner, TimingTask(task), candidates, bar).values()
    measured = [LONG_TRAINING * seconds for seconds in found if not isinstance(seconds, Failure)]
    if not measured:  # fine-tuning will say why
        return whole(0.0)
    forward = known or [seconds / SLOWEST_TRAINING for seconds in measured]
    for epochs in range(settings.epochs, LEAST_EPOCHS - 1, -1):
        if (seconds := total(measured, forward, epochs)) <= left or (tuned and epochs == LEAST_EPOCHS):
            return Bound(epochs, task.method, seconds)
    return Bound(settings.epochs, "head", math.fsum(forward) * (rows + held))


def _forward_seconds(state: State, row: RankedCandidate) -> float | None:
    """The time of the forward pass of one row, as measured when the candidate was scored; None if it was not."""
    results: Mapping[str, Any] = state.results
    result = results.get(row.candidate.id)
    if isinstance(result, ScoringResult) and result.extraction_rows:
        return result.extraction_seconds / result.extraction_rows
    return None
