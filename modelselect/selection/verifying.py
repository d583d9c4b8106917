"""The stage that fine-tunes the best candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from modelselect.budget.meter import Gate, Meter
from modelselect.candidates.candidate import Candidate
from modelselect.errors import Failure
from modelselect.evaluation.fine_tuning import VerificationTask
from modelselect.evaluation.results import VerificationResult
from modelselect.executor import Executor
from modelselect.ranking.ranking import Ranking
from modelselect.selection.affordable import Affordable
from modelselect.store.store import Store
from modelselect.utils.progress import Progress


def verify_within_budget(
    affordable: Affordable, meter: Meter, board: Ranking, runner: Executor, task: VerificationTask, bars: Progress
) -> tuple[Ranking, dict[str, Any]]:
    """The board with as many fine-tuned as can be afforded, and the record of that."""
    begun, passed = meter.seconds, meter.passes
    gate = Gate(meter, workers=runner.workers)

    def price(candidate: Candidate) -> float:
        return affordable.prices[candidate.id]

    def ended(candidate: Candidate, result: VerificationResult | Failure) -> None:
        gate.ended(candidate)
        meter.passes += 0 if isinstance(result, VerificationResult) and result.reused else affordable.passes

    if affordable.top_k:
        task = replace(task, settings=affordable.settings)
        board = verify_best(board, runner, task, affordable.top_k, bars, partial(gate.admit, price=price), ended)
    return board, {
        "stage": "verify",
        "candidates": sum(row.verified_accuracy is not None for row in board.rows),
        "epochs": affordable.settings.epochs if affordable.top_k else 0,
        "seconds": meter.seconds - begun,
        "passes": meter.passes - passed,
        "decision": affordable.decision + ("; the budget was used up" if gate.refused is not None else ""),
    }


def verify_best(
    board: Ranking,
    runner: Executor,
    task: VerificationTask,
    top_k: int,
    bars: Progress,
    admit: Callable[[Sequence[Candidate]], Iterable[Candidate]] = iter,
    ended: Callable[[Candidate, VerificationResult | Failure], None] | None = None,
) -> Ranking:
    """The board with its first k fine-tuned, and those in the order of their accuracy; the best one's weights are kept.

    Of the others' weights, those that were made just now are dropped; what an earlier run has kept stays.
    """
    survivors = board.ranked[:top_k]
    place = {row.candidate.id: index for index, row in enumerate(survivors)}
    verified: dict[str, VerificationResult] = {}
    failures = {}
    winner = None
    with bars.candidates("fine-tuning", len(survivors)) as advance:
        for outcome in runner.map(task, admit([row.candidate for row in survivors])):
            candidate: Candidate = outcome.item
            if ended is not None:
                ended(candidate, outcome.failure or outcome.value)
            if outcome.failure is not None:
                failures[candidate.id] = replace(outcome.failure, stage="verify")
            else:
                verified[candidate.id] = outcome.value
                order = sorted(verified, key=lambda c: (-verified[c].verified.accuracy, place[c]))
                winner = survivors[place[order[0]]].candidate
                for left in order[1:]:
                    _drop(verified, left, task.context.cache_dir)
            advance(candidate.id)
    if winner is not None and verified[winner.id].checkpoint is None:  # evicted, or dropped when it was not the best
        for outcome in runner.map(replace(task, needs_checkpoint=True), [winner]):
            if outcome.failure is None:
                verified[winner.id] = outcome.value
    folder = task.context.cache_dir
    kept_in = None if folder == Store().path else str(folder)
    rows = []
    for row in board.rows:
        if (result := verified.get(row.candidate.id)) is not None:
            best = winner is not None and row.candidate.id == winner.id
            row = replace(
                row,
                verified_accuracy=result.verified.accuracy,
                verified_interval=result.verified.interval,
                seconds=row.seconds + result.verified.seconds,
                fine_tuned=result.checkpoint if best else None,
                fine_tuned_in=kept_in if best else None,
            )
        elif (failure := failures.get(row.candidate.id)) is not None:
            row = replace(row, failures={**row.failures, "verify": failure})
        rows.append(row)
    first = sorted((r for r in rows if r.verified_accuracy is not None), key=lambda r: -(r.verified_accuracy or 0.0))
    accuracies = [r.verified_accuracy or 0.0 for r in first]
    first = [replace(row, rank=1 + sum(a > accuracies[i] for a in accuracies)) for i, row in enumerate(first)]
    rest = [row for row in rows if row.verified_accuracy is None]
    unverified_ranks = [row.predicted_rank for row in rest if row.predicted_rank is not None]
    rest = [
        row
        if row.predicted_rank is None
        else replace(row, rank=len(first) + 1 + sum(rank < row.predicted_rank for rank in unverified_ranks))
        for row in rest
    ]
    return replace(board, rows=(*first, *rest))


def _drop(verified: dict[str, VerificationResult], candidate_id: str, cache_dir: Path) -> None:
    """Removes the weights of one that is not the best, if they were made just now."""
    found = verified[candidate_id]
    if found.checkpoint is not None and not found.reused:
        Store(cache_dir).remove(found.checkpoint)
        verified[candidate_id] = replace(found, checkpoint=None)
