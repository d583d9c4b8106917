"""How much fine-tuning the rest of a budget pays for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from modelselect.budget.budget import LEAST_EPOCHS, LEAST_SHARE_OF_EPOCHS, TRAINING_PASSES
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
        decision: why.
    """

    top_k: int
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
    assert state.rounds is not None
    top_k, forecast, sure = request.settings.top_k, state.rounds.forecast, state.ranking.confidence
    rows, settings, probe = state.ranking.ranked, task.settings, task.context.probe
    if top_k > 1 and sure is not None and sure >= request.settings.confidence:
        return Affordable(0, settings, {}, 0, f"not needed: the first is the best with {percent(sure)}")
    typical = median_macs([row.macs for row in rows])

    def row_price(row: RankedCandidate) -> float:
        result = state.results[row.candidate.id]
        if meter.budget.seconds is None or not isinstance(result, ScoringResult):
            return 1.0
        if result.extraction_rows:
            return result.extraction_seconds / result.extraction_rows
        return forecast.row_seconds(row.macs or typical)

    once = fine_tuning_passes(replace(settings, epochs=1), task.method, probe)
    epoch = fine_tuning_passes(replace(settings, epochs=2), task.method, probe) - once

    def afforded(count: int, epochs: int, decision: str) -> Affordable:
        passes = once + (epochs - 1) * epoch
        prices = {row.candidate.id: row_price(row) * passes for row in rows[:count]}
        return Affordable(count, replace(settings, epochs=epochs), prices, passes, decision)

    store, key = Store(task.context.cache_dir), _decision_key(state, meter, task, top_k)
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
    return Affordable(0, settings, {}, 0, f"{left_over} that are left do not pay for {some}")


def affordable_epochs(left: float, price: float, most: int) -> int:
    """Number of epochs, if the first is paid already and each further one takes `price` of what is left.

    >>> affordable_epochs(10.0, 3.0, most=20), affordable_epochs(10.0, 0.0, most=20)
    (4, 20)
    """
    return most if not price else min(most, 1 + int(left / price))


def _decision_key(state: State, meter: Meter, task: VerificationTask, top_k: int) -> str:
    """The key of the decision in the store."""
    probe = task.context.whole
    return Store.key(
        "affordable",
        candidates=sorted(row.candidate.id for row in state.ranking.rows),
        training=probe.training.fingerprint,
        holdout=probe.holdout and probe.holdout.fingerprint,
        settings=asdict(task.settings),
        method=task.method,
        top_k=top_k,
        budget=repr(meter.budget),
        seed=task.context.seed,
        device=task.context.compute.device,
    )


def fine_tuning_passes(settings: FineTuning, method: str, probe: Probe) -> int:
    """Number of forward passes that fine-tuning one candidate costs, at most."""
    training, holdout = probe.provenance["training_rows"], probe.provenance["holdout"]["rows"]
    if method == "head":
        return int(training + holdout)
    return int(holdout + TRAINING_PASSES * settings.trainings * settings.epochs * training)
