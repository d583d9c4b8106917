"""Estimators judged against the truth, with paired bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelselect.benchmarking.figures import (
    CONFIDENCE,
    FEWEST_FOR_A_FIGURE,
    FEWEST_FOR_AN_INTERVAL,
    HISTORY,
    METHOD,
    STATIC,
    BenchmarkFigures,
    EstimatorRow,
    Figure,
    Kind,
)
from modelselect.benchmarking.measures import Measure, Vector
from modelselect.benchmarking.results import FEWEST_FOR_MEAN_RANK, MEAN_RANK, BenchmarkResults, mean_rank_elsewhere


def judge(benchmark: BenchmarkResults, measure: Measure, resamples: int, seed: int) -> BenchmarkFigures:
    """Compares every estimator with the truth and with the baselines. See `Benchmark.table`.

    The bootstrap draws models and datasets with replacement, and a drawn model with all its datasets (A. B. Owen: The
    pigeonhole bootstrap, Annals of Applied Statistics 2007). All datasets have the same models, so a lucky pool of
    models is lucky on every dataset. All estimators are judged on the same draws. Scores are not computed anew.
    """
    scores = dict(benchmark.scores)
    kinds: dict[str, Kind] = {name: STATIC if name in benchmark.static else METHOD for name in scores}
    if len(benchmark.truth) >= FEWEST_FOR_MEAN_RANK:
        scores[MEAN_RANK] = mean_rank_elsewhere(benchmark.truth)
        kinds[MEAN_RANK] = HISTORY
    truth = {d: by_model for d, by_model in benchmark.truth.items() if len(by_model) >= FEWEST_FOR_A_FIGURE}
    datasets = tuple(truth)
    models = benchmark.models
    random = np.random.default_rng(seed)
    bootstrap = _Bootstrap(
        {model: column for column, model in enumerate(models)},
        random.multinomial(len(models), np.full(len(models), 1 / len(models)), size=resamples),
        random.integers(0, len(datasets), (resamples, len(datasets))),
    )
    judged: dict[str, dict[str, _Judged]] = {}
    for name, by_dataset in scores.items():
        judged[name] = {}
        for dataset in datasets:
            known = by_dataset.get(dataset, {})
            if len(known) >= FEWEST_FOR_A_FIGURE:
                judged[name][dataset] = bootstrap.judge(measure, known, truth[dataset])
    shown = {name: by_dataset for name, by_dataset in judged.items() if by_dataset}
    sign = 1.0 if measure.higher_is_better else -1.0
    means = {name: float(np.mean([cell.value for cell in cells.values()])) for name, cells in shown.items()}

    def best(kind: Kind) -> str | None:
        """The best mean; those that score half of the models come first, since chance may order a few models well."""
        of_kind = [name for name in shown if kinds[name] == kind]
        half = sum(map(len, truth.values())) / 2
        covers = {name: sum(cell.n for cell in shown[name].values()) >= half for name in of_kind}
        return max(of_kind, key=lambda name: (covers[name], sign * means[name]), default=None)

    static, history = best(STATIC), best(HISTORY)
    rows = []
    for name, cells in shown.items():
        gains = {}
        for baseline in (static, history):
            if baseline is not None and baseline != name:
                gain = _gain(bootstrap, measure, sign, scores[name], scores[baseline], truth)
                if gain is not None:
                    gains[baseline] = gain
        figures = {
            dataset: Figure(cell.value, _interval(cell.replicates, cell.n), cell.n, len(truth[dataset]))
            for dataset, cell in cells.items()
        }
        rows.append(
            EstimatorRow(
                name, kinds[name], figures, bootstrap.mean(cells, datasets), gains, benchmark.seconds.get(name)
            )
        )
    rows.sort(key=lambda row: (row.kind != METHOD, -sign * row.mean.value, row.estimator))
    absent = {name: _why_absent(benchmark, name) for name in (*scores, *benchmark.failures) if name not in shown}
    return BenchmarkFigures(
        rows=tuple(rows),
        datasets=datasets,
        measure=measure,
        resamples=resamples,
        static=static,
        history=history,
        absent=absent,
        evidence_seconds=benchmark.evidence_seconds,
        notes=benchmark.notes,
        benchmark=benchmark,
    )


@dataclass(frozen=True, slots=True)
class _Judged:
    """A figure on one dataset over n models, and the (B,) figures on resamples; NaN for fewer than two models."""

    value: float
    replicates: Vector
    n: int


@dataclass(frozen=True, slots=True)
class _Bootstrap:
    """B draws: each model's column, (B, models) how often each was drawn, (B, datasets) which datasets were drawn."""

    columns: Mapping[str, int]
    counts: NDArray[np.int64]
    drawn: NDArray[np.int64]

    def judge(self, measure: Measure, scores: Mapping[str, float], truth: Mapping[str, float]) -> _Judged:
        names = list(scores)
        x, y = np.array([scores[name] for name in names]), np.array([truth[name] for name in names])
        value = float(measure.resampled(x, y, np.ones((1, len(names)), np.int64))[0])
        counts = self.counts[:, [self.columns[name] for name in names]]
        replicates = np.full(len(counts), np.nan)
        enough = (counts > 0).sum(axis=1) >= FEWEST_FOR_A_FIGURE
        if enough.any():
            replicates[enough] = measure.resampled(x, y, counts[enough])
        return _Judged(value, replicates, len(names))

    def mean(self, cells: Mapping[str, _Judged], datasets: Sequence[str]) -> Figure:
        """The mean over the datasets with a figure; its interval also draws datasets."""
        value = float(np.mean([cell.value for cell in cells.values()]))
        table = np.stack([cells[d].replicates if d in cells else np.full(len(self.counts), np.nan) for d in datasets])
        drawn = table[self.drawn, np.arange(len(self.counts))[:, None]]
        there = ~np.isnan(drawn)
        replicates = np.full(len(drawn), np.nan)
        np.divide(np.where(there, drawn, 0.0).sum(axis=1), there.sum(axis=1), out=replicates, where=there.any(axis=1))
        return Figure(value, _interval(replicates, max(cell.n for cell in cells.values())), len(cells), len(datasets))


def _gain(
    bootstrap: _Bootstrap,
    measure: Measure,
    sign: float,
    scores: Mapping[str, Mapping[str, float]],
    baseline: Mapping[str, Mapping[str, float]],
    truth: Mapping[str, Mapping[str, float]],
) -> Figure | None:
    """How much better than a baseline, over the models that both score, on the same draws; None if they are too few."""
    cells = {}
    for dataset, known in truth.items():
        both = [m for m in scores.get(dataset, {}) if m in baseline.get(dataset, {})]
        if len(both) >= FEWEST_FOR_A_FIGURE:
            own, other = (
                bootstrap.judge(measure, {m: given[dataset][m] for m in both}, known) for given in (scores, baseline)
            )
            cells[dataset] = _Judged(
                sign * (own.value - other.value), sign * (own.replicates - other.replicates), len(both)
            )
    return bootstrap.mean(cells, tuple(truth)) if cells else None


def _interval(replicates: Vector, n: int) -> tuple[float, float] | None:
    known = replicates[~np.isnan(replicates)]
    if not len(known) or n < FEWEST_FOR_AN_INTERVAL:
        return None
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _why_absent(benchmark: BenchmarkResults, name: str) -> str:
    reasons = [f.reason for by_model in benchmark.failures.get(name, {}).values() for f in by_model.values()]
    return reasons[0] if reasons else "no dataset has two models with a score"
