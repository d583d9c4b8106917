"""`Benchmark`: what estimators said of candidates on datasets, beside what fine-tuning found there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from modelselect.benchmarking.benchmark import check_overlap, registered, with_static
from modelselect.benchmarking.figures import HISTORY, METHOD, STATIC, BenchmarkTable
from modelselect.benchmarking.gathering import Gathered
from modelselect.benchmarking.judging import judge
from modelselect.errors import Failure, InvalidInputError
from modelselect.estimators.estimator import Estimator, evaluate
from modelselect.estimators.ranks import normalised_ranks
from modelselect.evidence.evidence import Evidence

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, ConsoleOptions, RenderResult

MEAN_RANK = "mean rank elsewhere"
"""The baseline that remembers: a candidate's mean rank by true accuracy on the *other* datasets."""

FEWEST_FOR_MEAN_RANK = 3
"""Datasets from which on there are two others to take the mean over."""

Matrix = Mapping[str, Mapping[str, float]]
"""By dataset and model."""


@dataclass(frozen=True)
class Benchmark:
    """Scores and truth of models on datasets, as plain data. Made by `benchmark()`, `of_scores` or `of_evidence`.

    Attributes:
        truth: accuracy after fine-tuning, from 0 to 1, by dataset and model. What is not known is not there.
        scores: each estimator's score, by estimator, dataset and model; higher is better. Only of models with a truth.
        static: names of the estimators that are static baselines.
        failures: why a score is not there, by estimator, dataset and model.
        seconds: each estimator's time for one model, in the mean, when first computed; without the forward pass.
        evidence_seconds: the forward pass's time for one model and dataset, in the mean; None where there was none.
        notes: what a reader of the table must know besides.
        provenance: where it all comes from; JSON-able.
    """

    truth: Matrix
    scores: Mapping[str, Matrix]
    static: frozenset[str] = frozenset()
    failures: Mapping[str, Mapping[str, Mapping[str, Failure]]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)
    evidence_seconds: float | None = field(default=None, compare=False)
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def of_scores(
        cls, scores: Any, truth: Any, *, static: frozenset[str] | None = None, columns: Mapping[str, str] | None = None
    ) -> Benchmark:
        """Of scores that exist already: published ones, or another tool's.

        Args:
            scores: a CSV file or a DataFrame with the columns `dataset`, `model`, `estimator` and `score`, or with
                `dataset`, `model` and a column of scores for each estimator; or a mapping estimator -> dataset ->
                model -> score. Higher is better.
            truth: as in `benchmark()`; models are matched by the same name.
            static: which of the estimators are static baselines; None for those with the name of a registered one.
            columns: what files call `dataset`, `model`, `accuracy`, `estimator` and `score`, where otherwise.

        Raises:
            InvalidInputError: a table cannot be read; no dataset has two models with both a score and a truth.

        >>> truth = {"pets": {"a": 0.9, "b": 0.8, "c": 0.7}}
        >>> found = Benchmark.of_scores({"mine": {"pets": {"a": 3.0, "b": 1.0, "c": 2.0}}}, truth)
        >>> found.table("kendall").rows[0].mean.value.__round__(2)
        0.33
        """
        from modelselect.benchmarking.truth import read_scores, read_truth

        known, notes = read_truth(truth, columns)
        given = read_scores(scores, columns)
        if static is None:
            static = frozenset(e.name for e in registered() if e.is_static)
        kept: dict[str, dict[str, dict[str, float]]] = {}
        for estimator, by_dataset in given.items():
            for dataset, by_model in by_dataset.items():
                both = {model: value for model, value in by_model.items() if model in known.get(dataset, {})}
                if both:
                    kept.setdefault(estimator, {})[dataset] = both
        datasets = {dataset for by_dataset in kept.values() for dataset in by_dataset}
        check_overlap(given, known, kept)
        matched = {d: dict(models) for d, models in known.items() if d in datasets}
        return cls(matched, kept, static & kept.keys(), notes=tuple(notes))

    @classmethod
    def of_evidence(
        cls,
        evidence: Mapping[str, Mapping[str, Mapping[str, Any] | Evidence]],
        truth: Any,
        estimators: str | Estimator | list[str | Estimator] | None = None,
        *,
        seed: int = 0,
    ) -> Benchmark:
        """Of evidence that exists already: arrays, and no model.

        Args:
            evidence: by dataset and model, the fields of evidence: `{"features": (N, D), "labels": (N,), ...}`.
            truth: as in `benchmark()`; models are matched by the same name.
            estimators: names or instances; None for every registered one. Static baselines stand beside them where the
                evidence has `metadata`.
            seed: for stochastic estimators.

        Raises:
            InvalidInputError: the truth cannot be read, or knows none of the datasets.

        >>> rng = np.random.default_rng(0)
        >>> labels = np.repeat([0, 1], 20)
        >>> rows = {f"gap {gap}": rng.normal(size=(40, 4)) + gap * labels[:, None] for gap in (0, 1, 3)}
        >>> evidence = {"toy": {name: {"features": x, "labels": labels} for name, x in rows.items()}}
        >>> truth = {"toy": {"gap 0": 0.5, "gap 1": 0.8, "gap 3": 0.99}}
        >>> Benchmark.of_evidence(evidence, truth, "logme").table("kendall").rows[0].mean.value
        1.0
        """
        import time

        from modelselect.benchmarking.truth import read_truth
        from modelselect.host.host import get_host
        from modelselect.host.lookup import choose_estimators

        known, notes = read_truth(truth)
        methods = with_static(choose_estimators(get_host(), "all" if estimators is None else estimators))
        gathered = Gathered()
        matched: dict[str, dict[str, float]] = {}
        for dataset, by_model in evidence.items():
            matched[dataset] = {m: known[dataset][m] for m in by_model if m in known.get(dataset, {})}
            components: dict[str, dict[str, Mapping[str, float]]] = {}
            for model in matched[dataset]:
                fields = by_model[model]
                shown = fields if isinstance(fields, Evidence) else Evidence.of(seed=seed, **fields)
                for estimator in methods:
                    begun = time.perf_counter()
                    try:
                        components.setdefault(estimator.name, {})[model] = evaluate(estimator, shown)
                    except Exception as error:  # an estimator may raise anything; it costs this one cell
                        gathered.fail(estimator.name, dataset, model, Failure.from_exception("score", error))
                    else:
                        gathered.took(estimator.name, time.perf_counter() - begun)
            gathered.combine(methods, dataset, components)
        check_overlap({"": evidence}, known, {"": matched})
        return cls(
            {dataset: models for dataset, models in matched.items() if models},
            gathered.scores,
            frozenset(e.name for e in methods if e.is_static),
            gathered.failures,
            gathered.mean_seconds(),
            notes=tuple(notes),
        )

    @property
    def datasets(self) -> tuple[str, ...]:
        """In the order given."""
        return tuple(self.truth)

    @property
    def models(self) -> tuple[str, ...]:
        """All with a known accuracy on some dataset, in the order in which they appear."""
        return tuple(dict.fromkeys(model for by_model in self.truth.values() for model in by_model))

    def table(self, measure: str = "weighted_kendall", *, resamples: int = 1000, seed: int = 0) -> BenchmarkTable:
        """The papers' table: agreement with the truth by estimator and dataset, with intervals.

        Static baselines stand beside the methods and, with three datasets or more, the mean rank on the other datasets.

        Args:
            measure: `"weighted_kendall"`, `"kendall"`, `"spearman"`, `"pearson"` or `"top1_regret"`.
            resamples: of the bootstrap; 0 for no intervals.
            seed: of the bootstrap.

        Raises:
            UnknownNameError: no such measure.
            InvalidInputError: `resamples` is negative.
        """
        if not isinstance(resamples, int) or resamples < 0:
            raise InvalidInputError(f"resamples is {resamples!r}; expected 0 for no intervals, else 1000 or so")
        kinds = {name: STATIC if name in self.static else METHOD for name in self.scores}
        scores = dict(self.scores)
        if len(self.truth) >= FEWEST_FOR_MEAN_RANK:
            scores[MEAN_RANK] = mean_rank_elsewhere(self.truth)
            kinds[MEAN_RANK] = HISTORY
        return judge(self, scores, kinds, measure, resamples, seed)

    def to_pandas(self) -> pd.DataFrame:
        """One row for each dataset and model: `dataset`, `model`, `accuracy` (0 to 1), and each estimator's score.

        `Benchmark.of_scores` reads it again, as scores and as truth.
        """
        import pandas as pd

        rows = [
            {"dataset": dataset, "model": model, "accuracy": accuracy}
            | {name: by_dataset.get(dataset, {}).get(model) for name, by_dataset in self.scores.items()}
            for dataset, by_model in self.truth.items()
            for model, accuracy in by_model.items()
        ]
        return pd.DataFrame(rows, columns=["dataset", "model", "accuracy", *self.scores])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.table()

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def mean_rank_elsewhere(truth: Matrix) -> dict[str, dict[str, float]]:
    """For each dataset, the models' mean normalised rank by accuracy on the other datasets, where they have one.

    >>> found = mean_rank_elsewhere({"x": {"a": 0.9, "b": 0.1}, "y": {"a": 0.2, "b": 0.3}, "z": {"a": 0.5, "b": 0.4}})
    >>> found["x"], found["y"]
    ({'a': 0.5, 'b': 0.5}, {'a': 1.0, 'b': 0.0})
    """
    ranks = {
        dataset: dict(zip(by_model, normalised_ranks(list(by_model.values())).tolist(), strict=True))
        for dataset, by_model in truth.items()
    }
    found: dict[str, dict[str, float]] = {}
    for dataset, by_model in truth.items():
        others = [by for other, by in ranks.items() if other != dataset]
        elsewhere = {model: [by[model] for by in others if model in by] for model in by_model}
        found[dataset] = {model: round(float(np.mean(known)), 12) for model, known in elsewhere.items() if known}
    return found
