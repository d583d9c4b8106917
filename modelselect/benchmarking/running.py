"""`benchmark()`: every estimator over candidates and datasets whose fine-tuning results are known or computed here."""

from __future__ import annotations

import datetime
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Unpack

from modelselect.benchmarking.benchmark import Benchmark
from modelselect.benchmarking.gathering import Gathered
from modelselect.benchmarking.matching import match, names_of
from modelselect.benchmarking.repeats import draws
from modelselect.benchmarking.results import Draw, Repeat
from modelselect.benchmarking.scoring import assess, gather, remember, scores_on, without_history
from modelselect.benchmarking.truth import Truth, read_truth
from modelselect.candidates.candidate import Candidate
from modelselect.errors import Failure, InvalidInputError, SearchError
from modelselect.evaluation.context import EvaluationContext
from modelselect.evaluation.fine_tuning import VerificationTask, drop
from modelselect.evaluation.keywords import NOT_IN_BENCHMARK, BenchmarkKeywords, with_signature
from modelselect.evaluation.request import Request
from modelselect.evaluation.results import ScoringResult, VerificationResult
from modelselect.evaluation.running import run
from modelselect.evaluation.settings import Settings
from modelselect.host.host import get_host
from modelselect.host.lookup import ALL_ESTIMATORS, name_with_targets, target_kind, task_of
from modelselect.probe.probe import DEFAULT_HOLDOUT, Probe
from modelselect.utils.progress import Progress
from modelselect.utils.text import listed
from modelselect.utils.versions import ALL_LIBRARIES, numeric_versions
from modelselect.verification.results import Verified

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
    probe_sizes: Sequence[int | None] | None = None,
    per_class: Sequence[int] | None = None,
    seeds: int = 1,
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
        truth: accuracies after fine-tuning: a CSV file or DataFrame, long (columns `dataset`, `model`, `accuracy`, and
            perhaps `rows`, the number of test rows) or wide (`model`, and a column for each dataset); a mapping
            dataset -> model -> accuracy, or a list of accuracies, one for each seed; a `History`; or `truth:NAME`, such
            as `truth:cnns-11x11`, published accuracies. They are per cent if one is above 1. A model is a candidate's
            id, with or without the revision, or its name; for a path, the last part is enough, and without a tag the
            architecture, if only one candidate has it.
        columns: the names that the table of the truth has for `dataset`, `model`, `accuracy` and `rows`, if it has
            others.
        verify: instead of `truth`, how to fine-tune every candidate on the training rows of every dataset, as in
            `select()`. The accuracy is measured on the test split if it has labels, else on held-out rows.
        probe_sizes: further sizes of the probe, such as `[100, 300, 1000]`, None for all rows. All estimators are run
            on probes of each size, too. The table is of `probe_size`; the sweep stands in the details below it.
        per_class: further sizes of the probe, in rows of each class, such as `[5, 10, 50]`.
        seeds: number of probes of each size, the table's size included. Their seeds count up from `seed`. The details
            show mean and standard deviation. The truth is the same for all seeds.
        settings: keywords of `select()`: estimators (None or `"all"` for every registered one; static baselines are
            always included), probe_size, source, source_size, proxy, train_proxy, device, executor,
            executor_options, ray_address, task_timeout, cache_dir, trust_remote_code, seed, batch_size, precision,
            compile, extractor, fine_tuning (the recipe for `verify` and `train_proxy`), epochs, trials, patience,
            input, label, task, split, max_corrupt, max_pixels, progress.

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
    drawn = draws(asked.seed, probe_sizes, per_class, seeds)
    asked = replace(
        asked,
        estimators=ALL_ESTIMATORS if asked.estimators is None else asked.estimators,
        verify=asked.verify if verify is None else verify,
        history=False,
    )
    requests = _requests(asked, datasets, candidates, measured=verify is not None)
    repeats = {draw: {name: _redrawn(request, draw) for name, request in requests.items()} for draw in drawn}
    pool = next(iter(requests.values())).pool
    known, called = (Truth(), {}) if truth is None else match(read_truth(truth, columns), list(requests), pool)
    remarks = [f"{name}: {remark}" for name, request in requests.items() for remark in request.probe.remarks]
    recipe = {"recipe": "truth"} if verify is None else asked.described_recipe
    course = _Course(requests, known, names_of(pool, called), recipe, verify is not None, [*remarks, *known.notes])
    with Progress(asked.progress, course.names) as bars:
        for name in requests:
            course.score(name, bars)
        remember(course.gathered, requests, known.accuracies, course.names, recipe, bars)
        _check(known, course.notes)
        sweep = tuple(course.repeat(draw, again, bars) for draw, again in repeats.items())
    provenance = {
        "datasets": {name: request.probe.provenance for name, request in requests.items()},
        "sweep": [
            asdict(draw) | {"fingerprints": {name: request.probe.fingerprint for name, request in again.items()}}
            for draw, again in repeats.items()
        ],
        "candidates": [candidate.id for candidate in pool],
        **_methods_and_settings(asked, next(iter(requests.values())), verify, truth),
        "versions": {"python": platform.python_version(), **numeric_versions(ALL_LIBRARIES)},
        "started": started.isoformat(timespec="seconds"),
        "seconds": time.perf_counter() - clock,
    }
    return course.benchmark(pool, sweep, provenance)


@dataclass
class _Course:
    """A benchmark as it runs.

    Attributes:
        requests: what is asked of each dataset, by name.
        known: accuracies after fine-tuning; those that are measured are added.
        names: the table's name for each candidate, by id.
        recipe: under which the truth counts as measured.
        measured: whether candidates are fine-tuned here.
        notes: what a reader of the table must know.
        gathered: the scores so far.
        forward: seconds of each forward pass.
    """

    requests: Mapping[str, Request]
    known: Truth
    names: Mapping[str, str]
    recipe: Mapping[str, Any]
    measured: bool
    notes: list[str]
    gathered: Gathered = field(default_factory=Gathered)
    forward: list[float] = field(default_factory=list)

    def score(self, name: str, bars: Progress) -> None:
        """Runs every estimator on a dataset, and fine-tunes its candidates if that is asked for."""
        request, known, names = self.requests[name], self.known, self.names
        with without_history(request, bars) as task:
            shown = [c for c in request.pool if self.measured or c.id in known.accuracies[name]]
            results = assess(task, request, shown, f"scoring on {name}", bars)
            if self.measured:
                verified, unmeasured = _verify(task.context, request, results, f"fine-tuning on {name}", bars)
                known.accuracies[name] = {key: found.accuracy for key, found in verified.items()}
                known.rows[name] = {key: found.rows for key, found in verified.items()}
                self.notes += [f"Not fine-tuned on {name}: {names[c]}: {why.reason}" for c, why in unmeasured.items()]
        unknown = [names[c.id] for c in request.pool if c.id not in known.accuracies[name]]
        if unknown and not self.measured:
            self.notes.append(f"No known accuracy on {name}, and left out there: {listed(unknown, SOME)}.")
        scored = [result for result in results.values() if isinstance(result, ScoringResult)]
        self.forward += [result.extraction_seconds for result in scored if result.feature_dim]
        with_truth = {c: results[c] for c in known.accuracies[name]}
        gather(self.gathered, name, task.context, with_truth, names, request.pool)

    def repeat(self, draw: Draw, again: Mapping[str, Request], bars: Progress) -> Repeat:
        """The scores from other probes of the same datasets."""
        what = f", {draw.label}, seed {draw.seed}"
        found = scores_on(again, self.known.accuracies, self.names, self.recipe, what, bars)
        return Repeat(draw, {name: len(request.probe) for name, request in again.items()}, found.scores)

    def benchmark(
        self, pool: Sequence[Candidate], sweep: tuple[Repeat, ...], provenance: Mapping[str, Any]
    ) -> Benchmark:
        """What was found."""
        names, methods = self.names, next(iter(self.requests.values())).methods
        tables = self.known.accuracies.items()
        known = self.known.renamed({name: {c: names[c] for c in by_model} for name, by_model in tables})
        return Benchmark(
            known.accuracies,
            self.gathered.scores,
            frozenset(method.name for method in methods if method.is_static),
            self.gathered.failures,
            self.gathered.mean_seconds(),
            sum(self.forward) / len(self.forward) if self.forward else None,
            tuple(self.notes),
            provenance,
            runs=known.runs,
            test_rows=known.rows,
            parameters={names[c.id]: c.metadata["parameters"] for c in pool if c.metadata.get("parameters")},
            families={names[c.id]: c.metadata["family"] for c in pool if c.metadata.get("family")},
            sweep=sweep,
        )


def _requests(asked: Settings, datasets: Any, candidates: Any, *, measured: bool) -> dict[str, Request]:
    """What is asked of each dataset, by name. Candidates are searched once for all.

    Raises:
        InvalidInputError: the datasets have different tasks.
        SearchError: a zoo failed while it was searched.
    """
    probes = _probes(datasets, asked, measured)
    asked = replace(asked, input=None, label=None, split=None)  # the probes are drawn
    _check_tasks(asked, probes)
    requests: dict[str, Request] = {}
    for name, probe in probes.items():
        request = Request.of(asked, probe, candidates)
        if request.unsearched:
            failed = next(iter(request.unsearched.values()))
            raise SearchError(failed.reason if isinstance(failed, Failure) else "a zoo could not be searched")
        if not request.own_zoos:
            candidates = request.pool
        requests[name] = request
    return requests


def _methods_and_settings(asked: Settings, request: Request, verify: str | None, truth: Any) -> dict[str, Any]:
    """What the provenance says of estimators, truth and settings."""
    return {
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
    }


def _check_tasks(asked: Settings, probes: Mapping[str, Probe]) -> None:
    """Raises InvalidInputError if the datasets have different tasks: nothing is compared across tasks."""
    host = get_host()
    tasks = {n: name_with_targets(host, task_of(host, asked.task, probe), probe) for n, probe in probes.items()}
    if len(set(tasks.values())) > 1:
        found = ", ".join(f"{name}: {task}" for name, task in tasks.items())
        raise InvalidInputError(
            f"the datasets have different tasks ({found}), and nothing is compared across tasks. Run a benchmark for "
            "each task, or name one with task= (--task)."
        )


def _redrawn(request: Request, draw: Draw) -> Request:
    size = request.probe.provenance["requested_size"] if draw.of_table else draw.size
    probe = request.probe.redrawn(size=size, per_class=draw.per_class, seed=draw.seed)
    return replace(request, probe=probe, settings=replace(request.settings, seed=draw.seed))


def _check(known: Truth, notes: Sequence[str]) -> None:
    """Raises InvalidInputError if no dataset has two models with a known accuracy."""
    if not any(len(by_model) > 1 for by_model in known.accuracies.values()):
        raise InvalidInputError(
            "no dataset has two models with a known accuracy, so that there is no order to compare with. "
            + " ".join(notes[:3])
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
            max_pixels=asked.max_pixels,
            test_as_holdout=measured,
            input=asked.input,
            label=asked.label,
            split=asked.split,
            targets=target_kind(get_host(), asked.task),
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


def _verify(
    context: EvaluationContext,
    request: Request,
    results: Mapping[str, ScoringResult | Failure],
    what: str,
    bars: Progress,
) -> tuple[dict[str, Verified], dict[str, Failure]]:
    """What each candidate reached after fine-tuning, or why it has none, by id. Its weights are not kept."""
    identities = {key: result.identity for key, result in results.items() if isinstance(result, ScoringResult)}
    task = VerificationTask(context, request.settings.recipe, identities, request.settings.verify)

    def drop_weights(candidate: Candidate, result: VerificationResult | Failure) -> None:
        if isinstance(result, VerificationResult) and result.checkpoint is not None:
            drop(request.store, result.checkpoint)

    found = run(request.runner, task, request.pool, bars.candidates(what, len(request.pool)), drop_weights)
    in_order = {c.id: found[c.id] for c in request.pool if c.id in found}
    measured = {key: r.verified for key, r in in_order.items() if isinstance(r, VerificationResult)}
    return measured, {key: r for key, r in found.items() if isinstance(r, Failure)}


def _described(truth: Any) -> dict[str, Any]:
    return {"given": str(truth) if isinstance(truth, str | Path) else type(truth).__name__}
