"""Scores of candidates on the datasets of a benchmark: every result is saved as soon as it is computed."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from modelselect.benchmarking.gathering import Gathered
from modelselect.benchmarking.results import FEWEST_FOR_MEAN_RANK
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.modules import in_evaluation_mode
from modelselect.errors import Failure
from modelselect.estimators.estimator import Estimator
from modelselect.evaluation.recall import observe, recall_context
from modelselect.evaluation.request import Request
from modelselect.evaluation.results import ScoringResult
from modelselect.evaluation.running import run
from modelselect.evaluation.task import ScoringTask
from modelselect.extraction.inputs import InputCache
from modelselect.history.history import History
from modelselect.history.records import ACCURACY, Result
from modelselect.utils.progress import Progress


def scores_on(
    requests: Mapping[str, Request],
    known: Mapping[str, Mapping[str, float]],
    names: Mapping[str, str],
    what: str,
    bars: Progress,
) -> Gathered:
    """The scores of the candidates with a known accuracy.

    Args:
        requests: by dataset.
        known: accuracies by dataset and candidate id.
        names: the table's name for each candidate, by id.
        what: what the progress bars say after the name of the dataset.
        bars: the progress bars.
    """
    gathered = Gathered()
    for name, request in requests.items():
        with without_history(request, bars) as task:
            pool = [candidate for candidate in request.pool if candidate.id in known[name]]
            results = assess(task, request, pool, f"scoring on {name}{what}", bars)
            gather(gathered, name, task.context.estimators, results, names)
    remember(gathered, requests, known, names, bars)
    return gathered


@contextlib.contextmanager
def without_history(request: Request, bars: Progress) -> Iterator[ScoringTask]:
    """The task of all estimators that read no history."""
    modules = [module for zoo in request.own_zoos.values() for module in zoo.modules]
    with in_evaluation_mode(*modules), InputCache.temporary(request.store.path / "spool") as spool:
        plain = replace(request, methods=[e for e in request.methods if "history" not in e.reads])
        task = ScoringTask(plain.context(spool, None if request.runner.isolated else bars.batches))
        yield _with_proxy(task) if any("proxy_features" in estimator.reads for estimator in plain.methods) else task


def remember(
    gathered: Gathered,
    requests: Mapping[str, Request],
    known: Mapping[str, Mapping[str, float]],
    names: Mapping[str, str],
    bars: Progress,
) -> None:
    """Adds the scores of estimators that read a history: for each dataset, one of the results on all others."""
    methods = [e for e in next(iter(requests.values())).methods if "history" in e.reads]
    if not methods:
        return
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        tasks = {}
        for name, request in requests.items():
            modules = [module for zoo in request.own_zoos.values() for module in zoo.modules]
            stack.enter_context(in_evaluation_mode(*modules))
            spool = stack.enter_context(InputCache.temporary(request.store.path / "spool"))
            tasks[name] = _with_proxy(ScoringTask(replace(request, methods=methods).context(spool)))
        for number, (name, request) in enumerate(requests.items()):
            pool = [candidate for candidate in request.pool if candidate.id in known[name]]
            if len(requests) < FEWEST_FOR_MEAN_RANK:
                few = Failure("score", "it goes by results on other datasets, and there are fewer than two")
                results: dict[str, ScoringResult | Failure] = dict.fromkeys((c.id for c in pool), few)
            else:
                history = History(Path(scratch) / f"{number}.sqlite")
                for other in (other for other in requests if other != name):
                    _record(history, other, tasks[other], requests[other].pool, known[other])
                known_here = recall_context(tasks[name], history, pool, bars)
                task = ScoringTask(replace(tasks[name].context, recall=known_here))
                results = assess(task, request, pool, f"recalling for {name}", bars)
            gather(gathered, name, methods, results, names)


def _record(
    history: History, dataset: str, task: ScoringTask, pool: Sequence[Candidate], accuracies: Mapping[str, float]
) -> None:
    """Adds the results on one dataset, and what the proxy sees of it."""
    probe, proxy = task.context.probe, task.context.proxy
    history.describe_dataset(dataset, {"name": dataset, "classes": probe.n_classes, "samples": len(probe)})
    history.record(Result(c.unversioned_id, dataset, ACCURACY, accuracies[c.id]) for c in pool if c.id in accuracies)
    if proxy is not None:
        history.keep_proxy(dataset, proxy.id, task.features(proxy))


def _with_proxy(task: ScoringTask) -> ScoringTask:
    return ScoringTask(replace(task.context, proxy=observe(task, None, None)))


def assess(
    task: ScoringTask, request: Request, pool: Sequence[Candidate], what: str, bars: Progress
) -> dict[str, ScoringResult | Failure]:
    results = run(request.runner, task, pool, bars.candidates(what, len(pool)))
    return {candidate.id: results[candidate.id] for candidate in pool}  # whatever finished first


def gather(
    gathered: Gathered,
    dataset: str,
    methods: Sequence[Estimator],
    results: Mapping[str, ScoringResult | Failure],
    names: Mapping[str, str],
) -> None:
    """Adds what became of each candidate with a known accuracy on one dataset."""
    components: dict[str, dict[str, Mapping[str, float]]] = {}
    for key, result in results.items():
        for estimator in methods:
            if isinstance(result, Failure):
                gathered.fail(estimator.name, dataset, names[key], result)
            elif estimator.name in result.components:
                components.setdefault(estimator.name, {})[names[key]] = result.components[estimator.name]
                gathered.took(estimator.name, result.estimator_seconds[estimator.name])
            elif estimator.name in result.failures:
                gathered.fail(estimator.name, dataset, names[key], result.failures[estimator.name])
    gathered.combine(methods, dataset, components)
