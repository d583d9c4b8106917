"""What fine-tuning a budget still allows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from modelselect.budget.budget import LEAST_EPOCHS, LEAST_SHARE_OF_EPOCHS, TRAINING_PASSES
from modelselect.budget.meter import Meter
from modelselect.evaluation.fine_tuning import VerificationTask
from modelselect.evaluation.results import ScoringResult
from modelselect.ranking.row import RankedCandidate
from modelselect.selection.forecast import median_macs
from modelselect.selection.halving import Scored
from modelselect.store.store import Store
from modelselect.utils.text import percent

if TYPE_CHECKING:
    from modelselect.probe.probe import Probe
    from modelselect.verification.recipe import FineTuning


@dataclass(frozen=True)
class Affordable:
    """How much fine-tuning is left to do, and why so much.

    Attributes:
        top_k: candidates.
        settings: the recipe, with no more epochs than can be paid for.
        prices: in the budget's unit, by candidate id.
        passes: forward passes that each is worth.
        decision: why.
    """

    top_k: int
    settings: FineTuning
    prices: Mapping[str, float]
    passes: int
    decision: str


def affordable_fine_tuning(
    scored: Scored, meter: Meter, task: VerificationTask, *, top_k: int, confidence: float
) -> Affordable:
    """As many candidates as asked for and as many epochs as the recipe has, or fewer of both.

    Candidates are given up before epochs fall below a quarter of the recipe's: half-trained networks do not compare.
    What an earlier run with the same arguments has decided stays: after other epochs its accuracies would be others.

    Args:
        scored: what came of the rounds.
        meter: of the budget.
        task: what would be done with each.
        top_k: how many were asked for.
        confidence: with which the first place counts as decided.
    """
    rows, settings, probe = scored.board.ranked, task.settings, task.context.probe
    if top_k > 1 and scored.odds is not None and scored.odds >= confidence:
        return Affordable(0, settings, {}, 0, f"not needed: {percent(scored.odds)} sure of the first place")
    typical = median_macs([row.macs for row in rows])

    def row_price(row: RankedCandidate) -> float:
        result = scored.results[row.candidate.id]
        if meter.budget.seconds is None or not isinstance(result, ScoringResult):
            return 1.0
        if result.extraction_rows:
            return result.extraction_seconds / result.extraction_rows
        return scored.forecast.row_seconds(row.macs or typical)

    once = fine_tuning_passes(replace(settings, epochs=1), task.method, probe)
    epoch = fine_tuning_passes(replace(settings, epochs=2), task.method, probe) - once

    def afforded(count: int, epochs: int, decision: str) -> Affordable:
        passes = once + (epochs - 1) * epoch
        prices = {row.candidate.id: row_price(row) * passes for row in rows[:count]}
        return Affordable(count, replace(settings, epochs=epochs), prices, passes, decision)

    store, key = Store(task.context.cache_dir), _decision_key(scored, meter, task, top_k)
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
    told = meter.budget.told(max(meter.left, 0.0))
    some = "1 candidate" if fewest == 1 else f"{fewest} candidates"
    return Affordable(0, settings, {}, 0, f"{told} that are left do not pay for {some}")


def affordable_epochs(left: float, price: float, most: int) -> int:
    """How many epochs, one of which is paid already, if each takes `price` of what is left.

    >>> affordable_epochs(10.0, 3.0, most=20), affordable_epochs(10.0, 0.0, most=20)
    (4, 20)
    """
    return most if not price else min(most, 1 + int(left / price))


def _decision_key(scored: Scored, meter: Meter, task: VerificationTask, top_k: int) -> str:
    """What the decision how much to fine-tune is kept under."""
    probe = task.context.whole
    return Store.key(
        "affordable",
        candidates=sorted(row.candidate.id for row in scored.board.rows),
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
    """Forward passes that fine-tuning one candidate is worth, at most."""
    training, holdout = probe.provenance["training_rows"], probe.provenance["holdout"]["rows"]
    if method == "head":
        return int(training + holdout)
    return int(holdout + TRAINING_PASSES * settings.trainings * settings.epochs * training)
