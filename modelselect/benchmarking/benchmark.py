"""`Benchmark`: scores of estimators and true accuracies, and the table that judges the estimators."""

from __future__ import annotations

import time
from collections.abc import Mapping, Set
from typing import TYPE_CHECKING, Any

from modelselect.benchmarking.gathering import Gathered
from modelselect.benchmarking.judging import judge
from modelselect.benchmarking.measures import find_measure
from modelselect.benchmarking.results import BenchmarkResults, Matrix
from modelselect.benchmarking.table import BenchmarkTable
from modelselect.benchmarking.truth import read_models, read_scores, read_truth
from modelselect.errors import Failure, InvalidInputError, contained
from modelselect.estimators.estimator import Estimator, evaluate
from modelselect.estimators.posterior import Pool
from modelselect.evaluation.blame import given_to
from modelselect.evidence.evidence import Evidence
from modelselect.host.host import get_host
from modelselect.host.lookup import ALL_ESTIMATORS, choose_estimators
from modelselect.report.plots import agreement_against_time, scores_against_accuracies

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console, ConsoleOptions, RenderResult

PLOTS = ("scores", "time")
"""The figures of a benchmark."""


class Benchmark(BenchmarkResults):
    """Scores and true accuracies of models on datasets, and the table that judges the estimators.

    `benchmark()`, `of_scores` and `of_evidence` make it. The attributes are those of `BenchmarkResults`.
    """

    @classmethod
    def of_scores(
        cls,
        scores: Any,
        truth: Any,
        *,
        static: frozenset[str] | None = None,
        columns: Mapping[str, str] | None = None,
        models: Any = None,
    ) -> Benchmark:
        """The benchmark of scores that exist already: published ones, or another tool's.

        Args:
            scores: a CSV file or a DataFrame with the columns `dataset`, `model`, `estimator` and `score`, or with
                `dataset`, `model` and a column of scores for each estimator; or a mapping estimator -> dataset ->
                model -> score. Higher is better.
            truth: as in `benchmark()`. Models have the same names as in the scores.
            static: names of the static baselines; None for the names that registered static baselines have.
            columns: the files' names for `dataset`, `model`, `accuracy`, `rows`, `estimator`, `score`, `parameters` and
                `family`, where they differ.
            models: numbers of parameters and families, for the ablations: a CSV file or a DataFrame with the columns
                `model`, `parameters` and `family`, or a mapping model -> field -> value. Where numbers of parameters
                are unknown, the scores of `parameters` count.

        Raises:
            InvalidInputError: a table cannot be read, or no dataset has two models with both a score and an accuracy.

        >>> truth = {"pets": {"a": 0.9, "b": 0.8, "c": 0.7}}
        >>> found = Benchmark.of_scores({"mine": {"pets": {"a": 3.0, "b": 1.0, "c": 2.0}}}, truth)
        >>> found.table("kendall").rows[0].mean.value.__round__(2)
        0.33
        """
        read = read_truth(truth, columns)
        known = read.accuracies
        given = read_scores(scores, columns)
        parameters, families = ({}, {}) if models is None else read_models(models, columns)
        if static is None:
            static = frozenset(e.name for e in get_host().estimators.values() if e.is_static)
        elif not isinstance(static, Set):
            raise InvalidInputError(f"static is of the type {type(static).__name__}; expected a set of names, or None")
        kept: dict[str, dict[str, dict[str, float]]] = {}
        for estimator, by_dataset in given.items():
            for dataset, by_model in by_dataset.items():
                both = {model: value for model, value in by_model.items() if model in known.get(dataset, {})}
                if both:
                    kept.setdefault(estimator, {})[dataset] = both
        datasets = {dataset for by_dataset in kept.values() for dataset in by_dataset}
        _check_overlap(given, known, kept)
        return cls(
            {d: dict(by_model) for d, by_model in known.items() if d in datasets},
            kept,
            static & kept.keys(),
            notes=read.notes,
            runs={d: by_model for d, by_model in read.runs.items() if d in datasets},
            test_rows={d: by_model for d, by_model in read.rows.items() if d in datasets},
            parameters=parameters,
            families=families,
        )

    @classmethod
    def of_evidence(
        cls,
        evidence: Mapping[str, Mapping[str, Mapping[str, Any] | Evidence]],
        truth: Any,
        estimators: str | Estimator | list[str | Estimator] | None = None,
        *,
        seed: int = 0,
    ) -> Benchmark:
        """The benchmark of evidence that exists already: arrays, and no model.

        Args:
            evidence: by dataset and model, the fields of evidence: `{"features": (N, D), "labels": (N,), ...}`.
            truth: as in `benchmark()`. Models have the same names as in the evidence.
            estimators: names or instances; None for every registered one. Static baselines are added if the evidence
                has `metadata`.
            seed: for stochastic estimators.

        Raises:
            InvalidInputError: the truth cannot be read, or no dataset has two models with evidence and an accuracy.

        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> labels = np.repeat([0, 1], 20)
        >>> rows = {f"gap {gap}": rng.normal(size=(40, 4)) + gap * labels[:, None] for gap in (0, 1, 3)}
        >>> evidence = {"toy": {name: {"features": x, "labels": labels} for name, x in rows.items()}}
        >>> truth = {"toy": {"gap 0": 0.5, "gap 1": 0.8, "gap 3": 0.99}}
        >>> Benchmark.of_evidence(evidence, truth, "logme").table("kendall").rows[0].mean.value
        1.0
        """
        read = read_truth(truth)
        known = read.accuracies
        methods = _with_static(choose_estimators(get_host(), ALL_ESTIMATORS if estimators is None else estimators))
        gathered = Gathered()
        matched: dict[str, dict[str, float]] = {}
        facts: dict[str, dict[str, Any]] = {}
        if not isinstance(evidence, Mapping) or not all(isinstance(each, Mapping) for each in evidence.values()):
            raise InvalidInputError("the evidence is no mapping of datasets to mappings of models to evidence fields")
        for dataset, by_model in evidence.items():
            matched[dataset] = {m: known[dataset][m] for m in by_model if m in known.get(dataset, {})}
            components: dict[str, dict[str, Mapping[str, float]]] = {}
            metadata: dict[str, Mapping[str, Any]] = {}
            for model in matched[dataset]:
                fields = by_model[model]
                shown = fields if isinstance(fields, Evidence) else Evidence.of(seed=seed, **fields)
                metadata[model] = shown.metadata or {}
                facts[model] = {k: v for k in ("parameters", "family") if (v := metadata[model].get(k))}
                for estimator in methods:
                    begun = time.perf_counter()
                    try:
                        with contained():
                            found = evaluate(estimator, given_to(estimator, shown))
                            components.setdefault(estimator.name, {})[model] = found
                    except Exception as error:  # an estimator may raise anything; only this cell is lost
                        gathered.fail(estimator.name, dataset, model, Failure.from_exception("score", error))
                    else:
                        gathered.took(estimator.name, time.perf_counter() - begun)
            models = list(matched[dataset])
            known_here = Pool(tuple(models), tuple(metadata[model] for model in models))
            for estimator in methods:
                scored = components.get(estimator.name, {})
                gathered.combine(estimator, dataset, models, [scored.get(model) for model in models], known_here)
        _check_overlap({"": evidence}, known, {"": matched})
        parameters, families = read_models(facts)
        same = read.renamed({dataset: {model: model for model in models} for dataset, models in matched.items()})
        return cls(
            {dataset: models for dataset, models in matched.items() if models},
            gathered.scores,
            frozenset(e.name for e in methods if e.is_static),
            gathered.failures,
            gathered.mean_seconds(),
            notes=read.notes,
            runs=same.runs,
            test_rows=same.rows,
            parameters=parameters,
            families=families,
        )

    def table(
        self,
        measure: str = "weighted_kendall",
        *,
        resamples: int = 1000,
        seed: int = 0,
        reference: str | None = None,
    ) -> BenchmarkTable:
        """The papers' table: agreement with the truth by estimator and dataset, with intervals.

        The table also has the static baselines and, with three datasets or more, the mean rank on the other datasets.
        What it says beyond that (`BenchmarkTable.protocol`) is in its details.

        Args:
            measure: an attribute of `Agreement`: `"weighted_kendall"`, `"weighted_kendall_itm"`, `"kendall"`,
                `"spearman"`, `"pearson"`, `"pairwise_accuracy"`, `"top1_regret"`, `"topk_regret"` (of three), ...
            resamples: number of resamples of the bootstrap; 0 for no intervals.
            seed: of the bootstrap, the sub-pools and the draws of test rows.
            reference: the estimator whose figures all others are compared with in the details; None for `evidence`,
                the default of `select()`, or the best static baseline if `evidence` has no figure.

        Raises:
            UnknownNameError: there is no such measure, or no such row.
            InvalidInputError: `resamples` or `seed` is no whole number, or negative.
        """
        if not isinstance(resamples, int) or resamples < 0:
            raise InvalidInputError(
                f"resamples is {resamples!r}; expected a number of resamples such as 1000, or 0 for no intervals"
            )
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise InvalidInputError(f"seed is {seed!r}; expected a whole number of 0 or more")
        return BenchmarkTable.of(judge(self, find_measure(measure), resamples, seed, reference))

    def plot(self, kind: str = "scores", *, measure: str = "weighted_kendall") -> Figure:
        """A figure of matplotlib: `pip install "modelselect-automl[plots]"`.

        Args:
            kind: `"scores"`: score against accuracy, a panel for each estimator and dataset; `"time"`: the mean
                agreement of each estimator against the time that it takes for one model.
            measure: for `"time"`, an attribute of `Agreement`.

        Raises:
            InvalidInputError: there is no such kind or measure, or there are no times.
        """
        if kind not in PLOTS:
            raise InvalidInputError(f"kind is {kind!r}; expected one of {', '.join(PLOTS)}")
        points = {
            estimator: {
                dataset: {model: (score, self.truth[dataset][model]) for model, score in by_model.items()}
                for dataset, by_model in by_dataset.items()
            }
            for estimator, by_dataset in self.scores.items()
        }
        if kind == "scores":
            return scores_against_accuracies(points)
        return agreement_against_time(points, self.seconds, measure)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.table()

    def __str__(self) -> str:
        return str(self.table())

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def _with_static(chosen: list[Estimator]) -> list[Estimator]:
    """The chosen estimators and all other registered static baselines."""
    named = {estimator.name for estimator in chosen}
    return chosen + [e for e in get_host().estimators.values() if e.is_static and e.name not in named]


def _check_overlap(
    given: Mapping[str, Mapping[str, Mapping[str, Any]]], known: Matrix, kept: Mapping[str, Matrix]
) -> None:
    """Raises InvalidInputError if no dataset has two models with both a score and a known accuracy."""
    if any(len(models) > 1 for by_dataset in kept.values() for models in by_dataset.values()):
        return
    datasets = sorted({dataset for by_dataset in given.values() for dataset in by_dataset})
    shared = [dataset for dataset in datasets if dataset in known]
    if not shared:
        raise InvalidInputError(
            f"there are scores for the datasets {_some(datasets)} and accuracies for {_some(known)}; expected a "
            "dataset with both, by the same name"
        )
    models = {model for by_dataset in given.values() for model in by_dataset.get(shared[0], {})}
    raise InvalidInputError(
        f"on {shared[0]} there are scores for the models {_some(models)} and accuracies for "
        f"{_some(known[shared[0]])}; expected two or more models with both, by the same name"
    )


def _some(names: Any) -> str:
    shown = sorted(map(str, names))
    return ", ".join(map(repr, shown[:4])) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "") or "none"
