"""`benchmark()`: every estimator over candidates and datasets whose fine-tuning results are known or computed here."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Unpack

from modelselect.benchmarking.benchmark import Benchmark
from modelselect.benchmarking.gathering import Gathered
from modelselect.benchmarking.results import FEWEST_FOR_MEAN_RANK
from modelselect.benchmarking.truth import match, names_of, read_truth
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.modules import in_evaluation_mode
from modelselect.errors import Failure, InvalidInputError, SearchError
from modelselect.estimators.estimator import Estimator
from modelselect.evaluation.context import EvaluationContext
from modelselect.evaluation.fine_tuning import VerificationTask
from modelselect.evaluation.recall import observe, recall_context
from modelselect.evaluation.request import DEFAULT_HOLDOUT, Request
from modelselect.evaluation.results import ScoringResult, VerificationResult
from modelselect.evaluation.running import run
from modelselect.evaluation.settings import NOT_IN_BENCHMARK, BenchmarkKeywords, Settings, with_signature
from modelselect.evaluation.task import ScoringTask
from modelselect.extraction.inputs import InputCache
from modelselect.history.history import History
from modelselect.history.records import ACCURACY, FINE_TUNING, Result
from modelselect.host.lookup import ALL_ESTIMATORS
from modelselect.probe.probe import Probe
from modelselect.utils.progress import Progress
from modelselect.utils.text import listed
from modelselect.utils.versions import ALL_LIBRARIES, numeric_versions

SOME = 5
"""Names that a note lists."""


@with_signature(BenchmarkKeywords)
def benchmark(
    candidates: Any,
    datasets: Sequence[Any] | Mapping[str, Any],
    truth: Any = None,
    *,
    columns: Mapping[str, str] | None = None,
    verify: str | None = None,
    **settings: Unpack[BenchmarkKeywords],
) -> Benchmark:
    """Runs every estimator on every candidate and dataset with a known fine-tuning result.

    Estimators only see training rows; one forward pass for each candidate and dataset serves all of them. Every result
    is saved as soon as it is computed, and a run that was killed continues where it stopped. Your transfer history is
    neither read nor added to, since it might hold the results that are to be predicted. Estimators that read a history
    get, for each dataset, the truth of all other datasets.

    Args:
        candidates: as in `select()`.
        datasets: anything that `Probe.of` takes, one or several; or a mapping from names to these. The truth uses these
            names; by default a dataset has the name of its folder, or its name on the Hub.
        truth: accuracies after fine-tuning: a CSV file or DataFrame, long (columns `dataset`, `model`, `accuracy`) or
            wide (`model`, and a column for each dataset); a mapping dataset -> model -> accuracy; or a `History`. They
            are per cent if one is above 1. A model is a candidate's id, with or without the revision, or its name; for
            a path, the last part is enough.
        columns: the names that the table of the truth has for `dataset`, `model` and `accuracy`, if it has others.
        verify: instead of `truth`, how to fine-tune every candidate on the training rows of every dataset, as in
            `select()`. The accuracy is measured on the test split if it has labels, else on held-out rows.
        settings: keywords of `select()`: estimators (None or `"all"` for every registered one; static baselines are
            always included), probe_size, source, device, executor, cache_dir, trust_remote_code, seed, batch_size,
            precision, compile, fine_tuning (the recipe for `verify`), max_corrupt, progress.

    Returns:
        Scores and truth; `table()` judges. If a candidate fails on a dataset, or an estimator on a candidate, that cell
        is missing, and the reason is kept.

    Raises:
        InvalidInputError: neither `truth` nor `verify` is given, or both; the truth cannot be read, or does not match;
            and everything that `select()` raises for datasets, candidates and keywords.
        SearchError: a zoo failed while it was searched.

    >>> import modelselect as ms, numpy as np
    >>> images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    >>> images[:20, :16] //= 8  # half of them are dark above
    >>> known = {"toy": {"plain.random": 60, "resnet.textures": 90, "vit.letters": 75}}
    >>> names = ["embedded:plain.random", "embedded:resnet.textures", "embedded:vit.letters"]
    >>> found = ms.benchmark(names, {"toy": (images, [0] * 20 + [1] * 20)}, known, estimators="logme", progress=False)
    >>> found.datasets, len(found.models), sorted(found.scores)
    (('toy',), 3, ['logme', 'parameters', 'source_accuracy'])
    """
    started, clock = datetime.datetime.now(datetime.UTC), time.perf_counter()
    if (truth is None) == (verify is None):
        raise InvalidInputError(
            "a benchmark takes known results (truth=, --truth), or verify= (--verify) to compute them; give one of both"
        )
    asked = Settings.of("benchmark", settings, NOT_IN_BENCHMARK)
    asked = replace(
        asked,
        estimators=ALL_ESTIMATORS if asked.estimators is None else asked.estimators,
        verify=asked.verify if verify is None else verify,
        history=False,
    )
    requests: dict[str, Request] = {}
    for name, probe in _probes(datasets, asked, verify is not None).items():
        request = Request.of(asked, probe, candidates)
        if request.unsearched:
            failed = next(iter(request.unsearched.values()))
            raise SearchError(failed.reason if isinstance(failed, Failure) else "a zoo could not be searched")
        if not request.own_zoos:
            candidates = request.pool  # searched once for all
        requests[name] = request
    pool = next(iter(requests.values())).pool
    known: dict[str, dict[str, float]] = {}
    called: dict[str, str] = {}
    notes: list[str] = []
    if truth is not None:
        read, notes = read_truth(truth, columns)
        known, called = match(read, list(requests), pool)
    names = names_of(pool, called)
    gathered = Gathered()
    measured: dict[str, dict[str, float]] = {}
    forward: list[float] = []
    with Progress(asked.progress) as bars:
        for name, request in requests.items():
            modules = [module for zoo in request.own_zoos.values() for module in zoo.modules]
            with in_evaluation_mode(*modules), InputCache.temporary(request.store.path / "spool") as spool:
                plain = replace(request, methods=[e for e in request.methods if "history" not in e.reads])
                task = _with_proxy(ScoringTask(plain.context(spool, None if request.runner.isolated else bars.batches)))
                shown = [c for c in request.pool if truth is None or c.id in known[name]]
                results = _assess(task, request, shown, f"scoring on {name}", bars)
                if verify is not None:
                    known[name], unmeasured = _verify(task.context, request, results, f"fine-tuning on {name}", bars)
                    notes += [f"Not fine-tuned on {name}: {names[c]}: {why.reason}" for c, why in unmeasured.items()]
            unknown = [names[c.id] for c in request.pool if c.id not in known[name]]
            if truth is not None and unknown:
                notes.append(f"No known accuracy on {name}, and left out there: {listed(unknown, SOME)}.")
            forward += [
                r.extraction_seconds for r in results.values() if isinstance(r, ScoringResult) and r.feature_dim
            ]
            measured[name] = {names[c]: accuracy for c, accuracy in known[name].items()}
            _gather(gathered, name, task.context.estimators, {c: results[c] for c in known[name]}, names)
        _remember(gathered, requests, known, names, asked.described_recipe if verify else {"recipe": "truth"}, bars)
    request = next(iter(requests.values()))
    if not any(len(by_model) > 1 for by_model in measured.values()):
        raise InvalidInputError(
            "no dataset has two models with a known accuracy, so that there is no order to compare with. "
            + " ".join(notes[:3])
        )
    return Benchmark(
        measured,
        gathered.scores,
        frozenset(e.name for e in request.methods if e.is_static),
        gathered.failures,
        gathered.mean_seconds(),
        sum(forward) / len(forward) if forward else None,
        tuple(notes),
        {
            "datasets": {name: request.probe.provenance for name, request in requests.items()},
            "candidates": [candidate.id for candidate in pool],
            "estimators": {
                e.name: {"key": e.key, "parameters": e.parameters, "citation": e.citation} for e in request.methods
            },
            "truth": {"verify": verify, "fine_tuning": asdict(asked.recipe)} if verify else _described(truth),
            "settings": {
                "probe_size": asked.probe_size,
                "device": request.device,
                "executor": request.runner.name,
                "precision": asked.precision,
                "seed": asked.seed,
            },
            "versions": {"python": platform.python_version(), **numeric_versions(ALL_LIBRARIES)},
            "started": started.isoformat(timespec="seconds"),
            "seconds": time.perf_counter() - clock,
        },
    )


def _probes(datasets: Any, asked: Settings, measured: bool) -> dict[str, Probe]:
    """By name; where accuracies are to be measured, with rows for that: the test split's, where there is one."""
    if isinstance(datasets, str | os.PathLike | tuple) or not isinstance(datasets, Mapping | Sequence):
        datasets = [datasets]
    if not datasets:
        raise InvalidInputError("datasets is empty; expected one or more, each as select() takes it")
    items = datasets.items() if isinstance(datasets, Mapping) else ((None, dataset) for dataset in datasets)
    probes: dict[str, Probe] = {}
    for given, dataset in items:
        probe = Probe.of(
            dataset,
            size=asked.probe_size,
            seed=asked.seed,
            holdout=DEFAULT_HOLDOUT if measured else 0.0,
            max_corrupt=asked.max_corrupt,
            test_as_holdout=measured,
        )
        name = probe.name if given is None else str(given)
        if name in probes:
            raise InvalidInputError(
                f"two datasets are called {name!r}; rename a folder, or give names of your own in Python: "
                "datasets={'one': ..., 'other': ...}"
            )
        if measured and probe.holdout is None:
            raise InvalidInputError(
                f"verify asks for fine-tuning, and the probe of {name} has no held-out rows to measure it on; give the "
                "dataset itself"
            )
        probes[name] = probe
    return probes


def _remember(
    gathered: Gathered,
    requests: Mapping[str, Request],
    known: Mapping[str, Mapping[str, float]],
    names: Mapping[str, str],
    recipe: Mapping[str, Any],
    bars: Progress,
) -> None:
    """Adds the scores of estimators that read a history: for each dataset, one of the results on all others.

    The whole truth counts as measured under one recipe.
    """
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
                    _record(history, other, tasks[other], requests[other].pool, known[other], recipe)
                known_here = recall_context(tasks[name], history, pool, methods, recipe, bars)
                task = ScoringTask(replace(tasks[name].context, recall=known_here))
                results = _assess(task, request, pool, f"recalling for {name}", bars)
            _gather(gathered, name, methods, results, names)


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
    history.describe_dataset(dataset, {"name": dataset, "classes": probe.n_classes, "samples": len(probe)})
    settings = {FINE_TUNING: recipe}
    measured = [c for c in pool if c.id in accuracies]
    history.record(Result(c.unversioned_id, dataset, ACCURACY, accuracies[c.id], settings) for c in measured)
    if proxy is not None:
        history.keep_proxy(dataset, proxy.id, task.features(proxy))


def _with_proxy(task: ScoringTask) -> ScoringTask:
    """The task, with the default proxy if an estimator reads a proxy's features."""
    if "proxy_features" not in task.context.wanted:
        return task
    return ScoringTask(replace(task.context, proxy=observe(task, None, None)))


def _assess(
    task: ScoringTask, request: Request, pool: Sequence[Candidate], what: str, bars: Progress
) -> dict[str, ScoringResult | Failure]:
    results = run(request.runner, task, pool, bars.candidates(what, len(pool)))
    return {candidate.id: results[candidate.id] for candidate in pool}  # whatever finished first


def _verify(
    context: EvaluationContext,
    request: Request,
    results: Mapping[str, ScoringResult | Failure],
    what: str,
    bars: Progress,
) -> tuple[dict[str, float], dict[str, Failure]]:
    """Accuracy of each candidate after fine-tuning, or why it has none, by id. Its weights are not kept."""
    identities = {key: result.identity for key, result in results.items() if isinstance(result, ScoringResult)}
    task = VerificationTask(context, request.settings.recipe, identities, request.settings.verify)

    def drop(candidate: Candidate, result: VerificationResult | Failure) -> None:
        if isinstance(result, VerificationResult) and result.checkpoint is not None and not result.reused:
            request.store.remove(result.checkpoint)

    found = run(request.runner, task, request.pool, bars.candidates(what, len(request.pool)), drop)
    in_order = {c.id: found[c.id] for c in request.pool if c.id in found}
    accuracies = {key: r.verified.accuracy for key, r in in_order.items() if isinstance(r, VerificationResult)}
    return accuracies, {key: r for key, r in found.items() if isinstance(r, Failure)}


def _gather(
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


def _described(truth: Any) -> dict[str, Any]:
    return {"given": str(truth) if isinstance(truth, str | Path) else type(truth).__name__}
