"""The stage that fine-tunes the best candidates and orders them by their accuracy on held-out rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from modelselect.budget.meter import Gate, Meter
from modelselect.candidates.candidate import Candidate
from modelselect.errors import Failure, Stage
from modelselect.evaluation.fine_tuning import VerificationTask, drop, keep
from modelselect.evaluation.request import Request
from modelselect.evaluation.results import ScoringResult, VerificationResult
from modelselect.evaluation.running import run
from modelselect.probe.probe import Probe
from modelselect.ranking.ranking import Ranking
from modelselect.ranking.row import MOST_MISTAKES, RankedCandidate
from modelselect.selection.affordable import affordable_fine_tuning
from modelselect.selection.bounded import FINE_TUNING, bounded
from modelselect.selection.state import State
from modelselect.store.store import Store
from modelselect.tasks.metrics import ACCURACY

WIDTH_95 = 3.92
"""Width of a 95% interval in standard errors."""

LEAST_ERROR = 1e-3
"""Standard error of a metric, at least: a model without error on a few rows is not without error on others."""

Admit = Callable[[Sequence[Candidate]], Iterable[Candidate]]
Ended = Callable[[Candidate, VerificationResult | Failure], None]


def verify_best(request: Request, state: State) -> State:
    """The first `top_k` candidates are fine-tuned, with as much of the default recipe as fits `max_time`."""
    task, state = bounded(request, state, verification_task(request, state))
    if state.ranking.ranked:
        state = with_accuracies(state, fine_tuned(request, state, task, request.settings.top_k))
        _forget_others(state, task)
    return replace(state, fine_tuning=task.described_recipe)


def verify_within_budget(request: Request, state: State, meter: Meter) -> State:
    """As many candidates are fine-tuned, for as many epochs, as the rest of the budget allows."""
    task = verification_task(request, state)
    if state.ranking.ranked and state.rounds is not None:
        begun, passed = meter.seconds, meter.passes
        affordable = affordable_fine_tuning(request, state, meter, task)
        task = replace(task, settings=affordable.settings)
        gate = Gate(meter, workers=request.runner.workers)

        def price(candidate: Candidate) -> float:
            return affordable.prices[candidate.id]

        def ended(candidate: Candidate, result: VerificationResult | Failure) -> None:
            gate.ended(candidate)
            meter.passes += 0 if isinstance(result, VerificationResult) and result.reused else passes(candidate)

        def passes(candidate: Candidate) -> int:
            """Passes of the whole fine-tuning, without those of an epoch that this run has trained already."""
            tuned = state.tuned.get(candidate.id)
            return affordable.passes - (0 if tuned is None or tuned.reused else affordable.epoch_passes)

        ranking = state.ranking
        if affordable.top_k:
            ranking = fine_tuned(request, state, task, affordable.top_k, partial(gate.admit, price=price), ended)
        stage = {
            "stage": "verify",
            "candidates": sum(row.verified_accuracy is not None for row in ranking.rows),
            "epochs": affordable.settings.epochs if affordable.top_k else 0,
            "seconds": meter.seconds - begun,
            "passes": meter.passes - passed,
            "decision": affordable.decision + ("; the budget was used up" if gate.refused is not None else ""),
        }
        rounds = replace(state.rounds, stages=(*state.rounds.stages, stage))
        state = with_accuracies(replace(state, rounds=rounds), ranking)
        _forget_others(state, task)
    return replace(state, fine_tuning=task.described_recipe)


def with_accuracies(state: State, ranking: Ranking) -> State:
    """The state with the ranking by accuracy, and what the accuracies say of each candidate."""
    holdout = state.context.probe.holdout
    if state.outlook is None or holdout is None:
        return replace(state, ranking=ranking)
    measured = {row.candidate.id: row.verified_accuracy for row in ranking.rows if row.verified_accuracy is not None}
    task = state.context.task
    error = None if task is None or task.metric.name == ACCURACY.name else _mean_error(ranking)
    outlook = state.outlook.with_accuracies(measured, len(holdout), error)
    return replace(state, outlook=outlook, ranking=outlook.shown_on(ranking))


def _mean_error(ranking: Ranking) -> float:
    """The mean standard error of a metric that is no accuracy, from the 95% intervals."""
    widths = [
        high - low for row in ranking.rows if row.verified_interval is not None for low, high in [row.verified_interval]
    ]
    return max(sum(widths) / len(widths) / WIDTH_95, LEAST_ERROR) if widths else LEAST_ERROR


def verification_task(request: Request, state: State) -> VerificationTask:
    """The task that fine-tunes each candidate."""
    identities = {key: found.identity for key, found in state.results.items() if isinstance(found, ScoringResult)}
    return VerificationTask(state.context, request.settings.recipe, identities, request.settings.verify)


def fine_tuned(
    request: Request,
    state: State,
    task: VerificationTask,
    top_k: int,
    admit: Admit = iter,
    ended: Ended = lambda candidate, result: None,
) -> Ranking:
    """The ranking with its first k candidates fine-tuned and ordered by accuracy. The weights of the best are kept.

    Weights of other candidates are dropped if this run made them; those that an earlier run kept stay.
    """
    first = [row.candidate for row in state.ranking.ranked[:top_k]]
    folder = task.context.cache_dir
    store = Store(folder)
    verified: dict[str, VerificationResult] = {}

    def by_accuracy() -> list[Candidate]:
        done = [candidate for candidate in first if candidate.id in verified]
        return sorted(done, key=lambda candidate: -verified[candidate.id].verified.accuracy)

    def keep_best(candidate: Candidate, result: VerificationResult | Failure) -> None:
        ended(candidate, result)
        if isinstance(result, VerificationResult):
            verified[candidate.id] = result
            for other in by_accuracy()[1:]:
                verified[other.id] = _dropped(verified[other.id], store)

    bar = state.bars.candidates(FINE_TUNING, len(first))
    found = run(request.runner, task, admit(first), bar, keep_best)
    failures = {
        key: replace(result, stage=Stage.VERIFY.value) for key, result in found.items() if isinstance(result, Failure)
    }
    winner = next(iter(by_accuracy()), None)
    if winner is not None and not _kept(verified[winner.id], store):  # evicted, damaged, or dropped by another run
        verified[winner.id] = replace(verified[winner.id], checkpoint=None)
        for outcome in request.runner.map(replace(task, needs_checkpoint=True), [winner]):
            if outcome.failure is None and _kept(outcome.value, store):
                verified[winner.id] = outcome.value
    ranking = _reordered(state.ranking, verified, failures, None if winner is None else winner.id, folder)
    return ranking if winner is None else _with_mistakes(ranking, winner, verified[winner.id], task.context.probe)


def _forget_others(state: State, task: VerificationTask) -> None:
    """Removes the checkpoints of candidates that were fine-tuned for one epoch and that verification passed over."""
    for row in state.ranking.rows:
        if row.candidate.id in state.tuned and row.verified_accuracy is None and "verify" not in row.failures:
            task.forget(row.candidate)


def _kept(result: VerificationResult, store: Store) -> bool:
    """Keeps the weights; False if there are none, or damaged ones."""
    return result.checkpoint is not None and keep(store, result.checkpoint)


def _dropped(result: VerificationResult, store: Store) -> VerificationResult:
    """The result without its weights, unless an earlier run kept them as those of its best candidate."""
    if result.checkpoint is None:
        return result
    drop(store, result.checkpoint)
    return result if store.contains(result.checkpoint) else replace(result, checkpoint=None)


def _reordered(
    ranking: Ranking,
    verified: Mapping[str, VerificationResult],
    failures: Mapping[str, Failure],
    winner: str | None,
    cache_dir: Path,
) -> Ranking:
    """The ranking with what fine-tuning found: verified candidates first, by accuracy, then the others as they were."""
    kept_in = None if cache_dir == Store().path else str(cache_dir)
    rows = []
    for row in ranking.rows:
        key = row.candidate.id
        if (result := verified.get(key)) is not None:
            row = replace(
                row,
                verified_accuracy=result.verified.accuracy,
                verified_interval=result.verified.interval,
                verified_metrics=dict(result.verified.metrics),
                learning_curve=_curve(row, result),
                seconds=row.seconds + result.verified.seconds,
                fine_tuned=result.checkpoint if key == winner else None,
                fine_tuned_in=kept_in if key == winner else None,
            )
        elif (failure := failures.get(key)) is not None:
            row = replace(row, failures={**row.failures, "verify": failure})
        rows.append(row)
    first = sorted((r for r in rows if r.verified_accuracy is not None), key=lambda r: -(r.verified_accuracy or 0.0))
    accuracies = [r.verified_accuracy or 0.0 for r in first]
    first = [replace(row, rank=1 + sum(a > accuracies[i] for a in accuracies)) for i, row in enumerate(first)]
    rest = [row for row in rows if row.verified_accuracy is None]
    unverified: list[Any] = [row.predicted_rank for row in rest if row.predicted_rank is not None]
    rest = [
        row
        if row.predicted_rank is None
        else replace(row, rank=len(first) + 1 + sum(rank < row.predicted_rank for rank in unverified))
        for row in rest
    ]
    return replace(ranking, rows=(*first, *rest))


def _with_mistakes(ranking: Ranking, winner: Candidate, result: VerificationResult, probe: Probe) -> Ranking:
    """The ranking with the mistakes of the best candidate on the held-out rows.

    They are spread over the pairs of classes that are confused: first one of each pair, then another.
    """
    mistakes, holdout = result.verified.mistakes, probe.holdout
    wrong = Counter((label, predicted) for _, label, predicted in mistakes)
    missed = Counter(label for _, label, _ in mistakes)
    right = {(label, label): rows - missed[label] for label, rows in enumerate(result.verified.class_rows)}
    confusion = tuple((*pair, rows) for pair, rows in sorted((right | wrong).items()) if rows)
    seen: Counter[tuple[int, int]] = Counter()
    turns = []
    for row, label, predicted in mistakes:
        turns.append((seen[label, predicted], row, label, predicted))
        seen[label, predicted] += 1
    named = tuple(
        (row, holdout.row_name(row), label, predicted)
        for _, row, label, predicted in sorted(turns)[:MOST_MISTAKES]
        if holdout is not None
    )
    rows = tuple(
        replace(row, confusion=confusion, mistakes=named) if row.candidate == winner else row for row in ranking.rows
    )
    return replace(ranking, rows=rows)


def _curve(row: RankedCandidate, result: VerificationResult) -> tuple[tuple[int, float, float | None], ...]:
    """The learning curve of the whole fine-tuning, with the accuracy after one epoch if the row has it.

    Without a validation split, no other epoch has an accuracy. A search may keep another training than its first, to
    which the accuracy after one epoch belongs.
    """
    verified = result.verified
    points = [(epoch, loss, accuracy) for epoch, (loss, accuracy) in enumerate(verified.curve, 1)]
    if points and row.brief_accuracy is not None and verified.validation_rows == 0:
        points[0] = (1, points[0][1], row.brief_accuracy)
    return tuple(points) or row.learning_curve
