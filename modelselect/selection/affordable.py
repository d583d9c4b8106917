"""How much fine-tuning the rest of a budget pays for."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from modelselect.budget.budget import LEAST_EPOCHS, LEAST_SHARE_OF_EPOCHS, MOST_TUNED, TRAINING_PASSES
from modelselect.budget.meter import Meter
from modelselect.evaluation.fine_tuning import VerificationTask
from modelselect.evaluation.request import Request
from modelselect.evaluation.results import ScoringResult
from modelselect.probe.probe import Probe
from modelselect.ranking.row import RankedCandidate
from modelselect.selection.forecast import median_macs
from modelselect.selection.state import State
from modelselect.store.store import Store
from modelselect.utils.text import percent
from modelselect.verification.recipe import FineTuning


@dataclass(frozen=True)
class Affordable:
    """How much fine-tuning the budget pays for, and why.

    Attributes:
        top_k: number of candidates.
        settings: the recipe, with no more epochs than the budget pays for.
        prices: the prices in the budget's unit, by candidate id.
        passes: number of forward passes that fine-tuning one candidate costs.
        epoch_passes: number of these that its first epoch costs, of a search that of one trial.
        decision: why.
    """

    top_k: int
    settings: FineTuning
    prices: Mapping[str, float]
    passes: int
    epoch_passes: int
    decision: str


@dataclass(frozen=True)
class AffordableTuning:
    """How many candidates the budget pays one epoch of fine-tuning for, and why.

    Attributes:
        count: number of candidates.
        settings: the recipe whose first epoch is trained: the one that verification will follow.
        prices: the prices in the budget's unit, by candidate id.
        passes: number of forward passes that the epoch of one candidate costs.
        decision: why.
    """

    count: int
    settings: FineTuning
    prices: Mapping[str, float]
    passes: int
    decision: str


def affordable_fine_tuning(request: Request, state: State, meter: Meter, task: VerificationTask) -> Affordable:
    """As many candidates as asked for and as many epochs as the recipe has, or fewer of both.

    Candidates are left out before epochs fall below a quarter of the recipe's: half-trained networks cannot be
    compared. The decision of an earlier run with the same arguments is kept, since accuracies depend on the epochs.

    Args:
        request: gives the number of candidates asked for.
        state: the state after scoring.
        meter: says what is left of the budget.
        task: would fine-tune each candidate.
    """
    top_k, rows, settings, probe = request.settings.top_k, state.ranking.ranked, task.settings, task.context.probe
    if unneeded := _why_not_needed(request, state):
        return Affordable(0, settings, {}, 0, 0, unneeded)
    row_price = _row_prices(state, meter)
    once = fine_tuning_passes(replace(settings, epochs=1), task.method, probe)
    epoch = fine_tuning_passes(replace(settings, epochs=2), task.method, probe) - once

    def afforded(count: int, epochs: int, decision: str) -> Affordable:
        passes = once + (epochs - 1) * epoch
        prices = {row.candidate.id: row_price(row) * passes for row in rows[:count]}
        return Affordable(count, replace(settings, epochs=epochs), prices, passes, epoch_passes(probe), decision)

    store, key = task.context.store, decision_key(state, repr(meter.budget), task, top_k)
    if (decided := store.get(key)) is not None:
        return afforded(**decided.metadata)
    least = min(settings.epochs, max(LEAST_EPOCHS, math.ceil(LEAST_SHARE_OF_EPOCHS * settings.epochs)))
    fewest = min(top_k, len(rows), 2)
    for count in range(min(top_k, len(rows)), fewest - 1, -1):
        price = sum(map(row_price, rows[:count]))
        left = meter.left - price * once
        epochs = affordable_epochs(left, price * epoch, settings.epochs)
        if left >= 0 and epochs >= least:
            what = f"{epochs} of {settings.epochs} epochs" if epochs < settings.epochs else "the whole recipe"
            decision: dict[str, Any] = {
                "count": count,
                "epochs": epochs,
                "decision": f"{count} of {top_k} candidates, {what}",
            }
            store.put(key, {}, decision)
            return afforded(**decision)
    left_over = meter.budget.format(max(meter.left, 0.0))
    some = "1 candidate" if fewest == 1 else f"{fewest} candidates"
    return Affordable(0, settings, {}, 0, 0, f"{left_over} that are left do not pay for {some}")


def affordable_tuning(request: Request, state: State, meter: Meter, task: VerificationTask) -> AffordableTuning:
    """As many candidates as asked for, or fewer, so that the verification that is asked for can still be paid.

    If the caller asked for no number, there are at most `MOST_TUNED`, and more than verification would fine-tune:
    otherwise the epochs could not change which candidates these are. The decision of an earlier run with the same
    arguments is kept, as for verification.

    Args:
        request: gives the numbers of candidates asked for.
        state: the state after scoring.
        meter: says what is left of the budget.
        task: would fine-tune each candidate.
    """
    asked, rows = request.settings.tune, state.ranking.ranked
    if unneeded := _why_not_needed(request, state):
        return AffordableTuning(0, task.settings, {}, 0, unneeded)
    verified = Affordable(0, task.settings, {}, 0, 0, "no verification is asked for")
    if request.settings.top_k:
        verified = affordable_fine_tuning(request, state, meter, task)
    most = min(asked or MOST_TUNED, len(rows))
    least = 1 if asked else max(verified.top_k + 1, 2)
    row_price, passes = _row_prices(state, meter), epoch_passes(task.context.probe)

    def afforded(count: int, decision: str) -> AffordableTuning:
        prices = {row.candidate.id: row_price(row) * passes for row in rows[:count]}
        return AffordableTuning(count, verified.settings, prices, passes, decision)

    store = task.context.store
    key = decision_key(state, repr(meter.budget), task, request.settings.top_k, tune=asked)
    if (decided := store.get(key)) is not None:
        return afforded(**decided.metadata)
    for count in range(most, least - 1, -1):
        dearest = sorted(map(row_price, rows[: max(count, verified.top_k)]), reverse=True)[: verified.top_k]
        if passes * sum(map(row_price, rows[:count])) + verified.passes * sum(dearest) <= meter.left:
            many = f"{count} of {asked}" if asked else f"the first {count}"
            decision: dict[str, Any] = {"count": count, "decision": f"{many} candidates, one epoch each"}
            store.put(key, {}, decision)
            return afforded(**decision)
    left_over = meter.budget.format(max(meter.left, 0.0))
    return AffordableTuning(0, task.settings, {}, 0, f"{left_over} that are left do not pay for one epoch")


def _why_not_needed(request: Request, state: State) -> str:
    """Why no fine-tuning is needed; empty if it is."""
    sure = state.ranking.confidence
    if request.settings.top_k > 1 and sure is not None and sure >= request.settings.confidence:
        return f"not needed: the first is the best with {percent(sure)}"
    return ""


def _row_prices(state: State, meter: Meter) -> Callable[[RankedCandidate], float]:
    """The price of one forward pass of a row, in the budget's unit, for each candidate."""
    assert state.rounds is not None
    forecast, typical = state.rounds.forecast, median_macs([row.macs for row in state.ranking.ranked])

    def price(row: RankedCandidate) -> float:
        result = state.results[row.candidate.id]
        if meter.budget.seconds is None or not isinstance(result, ScoringResult):
            return 1.0
        if result.extraction_rows:
            return result.extraction_seconds / result.extraction_rows
        return forecast.row_seconds(row.macs or typical)

    return price


def affordable_epochs(left: float, price: float, most: int) -> int:
    """Number of epochs, if the first is paid already and each further one takes `price` of what is left.

    >>> affordable_epochs(10.0, 3.0, most=20), affordable_epochs(10.0, 0.0, most=20)
    (4, 20)
    """
    return most if not price else min(most, 1 + int(left / price))


def decision_key(state: State, budget: str, task: VerificationTask, top_k: int, **more: int) -> str:
    """The key of the decision in the store; `more` is what only the decision about one epoch depends on."""
    probe = task.context.whole
    return Store.key(
        "affordable",
        candidates=sorted(row.candidate.id for row in state.ranking.rows),
        training=probe.training.fingerprint,
        holdout=probe.holdout and probe.holdout.fingerprint,
        settings=asdict(task.settings),
        method=task.method,
        top_k=top_k,
        budget=budget,
        seed=task.context.seed,
        device=task.context.compute.device,
        **more,
    )


def fine_tuning_seconds(request: Request, macs: Sequence[float], speed: float) -> tuple[float | None, float | None]:
    """The time for one epoch each, and for the fine-tuning that continues from there, if candidates are typical.

    Args:
        request: says how many candidates are fine-tuned, and how.
        macs: multiply-accumulates of one row, for each candidate where they are known.
        speed: multiply-accumulates a second.
    """
    if not macs:
        return None, None
    asked, row_seconds = request.settings, statistics.fmean(macs) / speed
    tuned, verified = min(asked.tune, len(request.pool)), min(asked.top_k, len(request.pool))
    epoch, whole = epoch_passes(request.probe), 0
    if verified:
        whole = verified * fine_tuning_passes(asked.recipe, asked.verify, request.probe) - min(tuned, verified) * epoch
    return tuned * epoch * row_seconds if tuned else None, whole * row_seconds if verified else None


def fine_tuning_passes(settings: FineTuning, method: str, probe: Probe) -> int:
    """Number of forward passes that fine-tuning one candidate costs, at most."""
    training, holdout = probe.training.n_inputs, 0 if probe.holdout is None else probe.holdout.n_inputs
    if method == "head":
        return int(training + holdout)
    return int(holdout + settings.trainings * settings.epochs * epoch_passes(probe))


def epoch_passes(probe: Probe) -> int:
    """Number of forward passes that one epoch of fine-tuning one candidate costs, at most."""
    return int(TRAINING_PASSES * probe.training.n_inputs)
