"""Scores of candidates on the datasets of a benchmark: every result is saved as soon as it is computed."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelselect.benchmarking.gathering import Gathered
from modelselect.benchmarking.results import FEWEST_FOR_MEAN_RANK
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.modules import in_evaluation_mode
from modelselect.errors import Failure
from modelselect.estimators.posterior import history_metrics, uses_history
from modelselect.evaluation.context import EvaluationContext
from modelselect.evaluation.recall import observe, recall_context, task_name
from modelselect.evaluation.request import Request
from modelselect.evaluation.results import ScoringResult
from modelselect.evaluation.running import run
from modelselect.evaluation.standings import known_of
from modelselect.evaluation.task import ScoringTask
from modelselect.extraction.inputs import InputCache
from modelselect.history.history import History
from modelselect.history.records import ACCURACY, FINE_TUNING, TASK, Result, metric_of
from modelselect.host.defaults import CLASSIFICATION
from modelselect.utils.progress import Progress


def scores_on(
    requests: Mapping[str, Request],
    known: Mapping[str, Mapping[str, float]],
    names: Mapping[str, str],
    recipe: Mapping[str, Any],
    what: str,
    bars: Progress,
) -> Gathered:
    """The scores of the candidates with a known accuracy.

    Args:
        requests: by dataset.
        known: accuracies by dataset and candidate id.
        names: the table's name for each candidate, by id.
        recipe: under which the whole truth counts as measured.
        what: what the progress bars say after the name of the dataset.
        bars: the progress bars.
    """
    gathered = Gathered()
    for name, request in requests.items():
        with without_history(request, bars) as task:
            pool = [candidate for candidate in request.pool if candidate.id in known[name]]
            results = assess(task, request, pool, f"scoring on {name}{what}", bars)
            gather(gathered, name, task.context, results, names, pool)
    remember(gathered, requests, known, names, recipe, bars)
    return gathered


@contextlib.contextmanager
def without_history(request: Request, bars: Progress) -> Iterator[ScoringTask]:
    """The task of all estimators that read no history."""
    modules = [module for zoo in request.own_zoos.values() for module in zoo.modules]
    with in_evaluation_mode(*modules), InputCache.temporary(request.store.path / "spool") as spool:
        plain = replace(request, methods=[e for e in request.methods if not uses_history(e)])
        yield _with_proxy(ScoringTask(plain.context(spool, bars.reports(request.runner.isolated))), request)


def remember(
    gathered: Gathered,
    requests: Mapping[str, Request],
    known: Mapping[str, Mapping[str, float]],
    names: Mapping[str, str],
    recipe: Mapping[str, Any],
    bars: Progress,
) -> None:
    """Adds the scores that a history changes: for each dataset, one of the results on all others.

    The whole truth counts as measured under one recipe. Without another dataset there is no history, and an estimator
    that weighs evidence goes by the rest.
    """
    methods = [e for e in next(iter(requests.values())).methods if uses_history(e)]
    if not methods:
        return
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        tasks = {}
        for name, request in requests.items():
            modules = [module for zoo in request.own_zoos.values() for module in zoo.modules]
            stack.enter_context(in_evaluation_mode(*modules))
            spool = stack.enter_context(InputCache.temporary(request.store.path / "spool"))
            tasks[name] = _with_proxy(ScoringTask(replace(request, methods=methods).context(spool)), request)
        for number, (name, request) in enumerate(requests.items()):
            pool = [candidate for candidate in request.pool if candidate.id in known[name]]
            task = tasks[name]
            if len(requests) < FEWEST_FOR_MEAN_RANK:
                few = Failure("score", "it goes by results on other datasets, and there are fewer than two")
                for estimator in methods:
                    for candidate in pool if "history" in estimator.reads else ():
                        gathered.fail(estimator.name, name, names[candidate.id], few)
                weighers = tuple(e for e in methods if "history" not in e.reads)
                task = ScoringTask(replace(task.context, estimators=weighers))
            else:
                history = History(Path(scratch) / f"{number}.sqlite")
                for other in (other for other in requests if other != name):
                    _record(history, other, tasks[other], requests[other].pool, known[other], recipe)
                    _record_scores(history, other, tasks[other], requests[other].pool, gathered, names)
                known_here = recall_context(task, history, pool, methods, recipe, bars)
                task = ScoringTask(replace(task.context, recall=known_here))
            if task.context.estimators:
                results = assess(task, request, pool, f"recalling for {name}", bars)
                gather(gathered, name, task.context, results, names, pool)


def _record(
    history: History,
    dataset: str,
    task: ScoringTask,
    pool: Sequence[Candidate],
    accuracies: Mapping[str, float],
    recipe: Mapping[str, Any],
) -> None:
    """Adds the results on one dataset, and what the proxy sees of it."""
    probe, proxy = task.context.probe, task.context.proxy
    history.describe_dataset(dataset, {"name": dataset, "classes": probe.n_classes or None, "samples": len(probe)})
    measured = [c for c in pool if c.id in accuracies]
    settings, metric = {FINE_TUNING: recipe, **_task_part(task)}, metric_of(task_name(task.context), ACCURACY)
    history.record(Result(c.unversioned_id, dataset, metric, accuracies[c.id], settings) for c in measured)
    if proxy is not None:
        history.keep_proxy(dataset, proxy.id, task.features(proxy))


def _record_scores(
    history: History,
    dataset: str,
    task: ScoringTask,
    pool: Sequence[Candidate],
    gathered: Gathered,
    names: Mapping[str, str],
) -> None:
    """Adds the scores of those estimators whose scores, not the accuracies, a method goes by."""
    settings = _task_part(task)
    for metric in history_metrics(task.context.estimators):
        scores = gathered.scores.get(metric, {}).get(dataset, {})
        there = [candidate for candidate in pool if names.get(candidate.id) in scores]
        kept = metric_of(task_name(task.context), metric)
        history.record(Result(c.unversioned_id, dataset, kept, scores[names[c.id]], settings) for c in there)


def _task_part(task: ScoringTask) -> dict[str, str]:
    """The setting of results that holds their task, where that is not classification."""
    name = task_name(task.context)
    return {} if name == CLASSIFICATION else {TASK: name}


def _with_proxy(task: ScoringTask, request: Request) -> ScoringTask:
    """The task, with the caller's proxy or the default one if an estimator reads a proxy's features."""
    if "proxy_features" not in task.context.wanted:
        return task
    return ScoringTask(observe(task.context, None, request.settings))


def assess(
    task: ScoringTask, request: Request, pool: Sequence[Candidate], what: str, bars: Progress
) -> dict[str, ScoringResult | Failure]:
    results = run(request.runner, task, pool, bars.candidates(what, len(pool)))
    return {candidate.id: results[candidate.id] for candidate in pool}  # whatever finished first


def gather(
    gathered: Gathered,
    dataset: str,
    context: EvaluationContext,
    results: Mapping[str, ScoringResult | Failure],
    names: Mapping[str, str],
    pool: Sequence[Candidate],
) -> None:
    """Adds what became of each candidate with a known accuracy on one dataset."""
    shown = [candidate for candidate in pool if candidate.id in results]
    components: dict[str, list[Mapping[str, float] | None]] = {e.name: [None] * len(shown) for e in context.estimators}
    for place, candidate in enumerate(shown):
        result = results[candidate.id]
        for name in components:
            if isinstance(result, Failure):
                gathered.fail(name, dataset, names[candidate.id], result)
            elif name in result.components:
                components[name][place] = result.components[name]
                gathered.took(name, result.estimator_seconds[name])
            elif name in result.failures:
                gathered.fail(name, dataset, names[candidate.id], result.failures[name])
    known = known_of(shown, results, None if context.recall is None else context.recall.view)
    models = [names[candidate.id] for candidate in shown]
    for estimator in context.estimators:
        gathered.combine(estimator, dataset, models, components[estimator.name], known)
