"""The stage that scores candidates, on the whole probe. Under a budget, `SuccessiveHalving` scores them instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from modelselect.candidates.candidate import Candidate
from modelselect.errors import Failure
from modelselect.estimators.guessing import PROPORTIONAL, better_than_guessing
from modelselect.evaluation.context import EvaluationContext
from modelselect.evaluation.outlook import Outlook
from modelselect.evaluation.places import places_of
from modelselect.evaluation.request import Request
from modelselect.evaluation.results import ScoringResult
from modelselect.evaluation.running import Bar, run
from modelselect.evaluation.standings import Rule, Standings, rank_rounds, stand
from modelselect.evaluation.task import ScoringTask
from modelselect.ranking.ranking import Ranking
from modelselect.selection.state import State

Ended = Callable[[Candidate, ScoringResult | Failure], None]


def score_on_whole_probe(request: Request, state: State) -> State:
    """Every candidate is scored on all rows of the probe."""
    candidates, task = state.unsettled, ScoringTask(state.context)
    if request.runner.isolated:  # candidates of one input size follow each other, so that a machine decodes rows once
        candidates = sorted(candidates, key=lambda candidate: str(candidate.metadata.get("input_size")))
    found = score_candidates(request, task, candidates, state.bars.candidates("scoring", len(candidates)))
    results = {**state.results, **found}
    rounds = [stand(state.pool, results, rule_of(request, state.context))]
    ranking = rank_rounds(state.pool, results, rounds, places_of(state.pool, results, request.store))
    return ranked(replace(state, results=results), ranking, rounds)


def rule_of(request: Request, context: EvaluationContext) -> Rule:
    """What the run ranks by."""
    history = None if context.recall is None else context.recall.view
    return Rule(request.methods, request.chosen, context.resamples, history)


def ranked(state: State, ranking: Ranking, rounds: Sequence[Standings]) -> State:
    """The state with a ranking after rounds of scoring, and what they say of each candidate."""
    outlook = Outlook.of(rounds, state.context.seed)
    if outlook is not None:  # a candidate may fail in a later round than the first
        outlook = outlook.among({row.candidate.id for row in ranking.ranked})
    found = [result for result in state.results.values() if isinstance(result, ScoringResult)]
    ranking = replace(ranking, better_than_guessing=tell_classes_apart(found, state.context.probe.labels))
    return replace(state, outlook=outlook, ranking=ranking if outlook is None else outlook.shown_on(ranking))


def score_candidates(
    request: Request, task: ScoringTask, candidates: Iterable[Candidate], bar: Bar, ended: Ended | None = None
) -> dict[str, ScoringResult | Failure]:
    """The result of each candidate, or why it has none, by id. `ended` is called before the plugins that listen."""
    runner = request.runner.sized(1) if task.context.costs else request.runner  # nothing else runs while one is timed

    def notify(candidate: Candidate, result: ScoringResult | Failure) -> None:
        if ended is not None:
            ended(candidate, result)
        if isinstance(result, Failure):
            request.host.notify("candidate_failed", candidate=candidate, failure=result)
        else:
            request.host.notify("candidate_scored", candidate=candidate, scores=result.components)

    return run(runner, task, candidates, bar, notify)


def tell_classes_apart(results: Iterable[ScoringResult], labels: ArrayLike | None) -> bool | None:
    """True if the features of any candidate do better than guessing; None if no accuracy was measured.

    Args:
        results: of scoring the candidates. The accuracies are those of `knn` and `linear_probe`, or those that a
            composite of estimators computed as `linear_probe/linear_probe`.
        labels: (N,) classes of the probe's rows, -1 for unlabelled rows.
    """
    given = np.asarray([] if labels is None else labels)
    if given.ndim != 1 or given.dtype.kind not in "iu":
        return None
    counts = np.unique(given[given >= 0], return_counts=True)[1]
    found = list(results)
    columns = {name: np.array([_accuracy(result.components, name) for result in found]) for name in PROPORTIONAL}
    measured = {name: column for name, column in columns.items() if np.isfinite(column).any()}
    if not measured or len(counts) < 2:
        return None
    return bool(better_than_guessing(measured, counts[counts > 1] if (counts > 1).sum() > 1 else counts).any())


def _accuracy(components: Mapping[str, Mapping[str, float]], name: str) -> float:
    """Per cent, of the estimator itself or of the same member of a composite; NaN if neither has one."""
    own = components.get(name, {}).get(name)
    members = (each[f"{name}/{name}"] for each in components.values() if f"{name}/{name}" in each)
    return float(next(members, np.nan) if own is None else own)
