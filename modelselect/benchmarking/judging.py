"""Estimators judged against the truth, with paired bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelselect.benchmarking.dispersion import ceiling, dispersion
from modelselect.benchmarking.figures import (
    CONFIDENCE,
    FEWEST_FOR_AN_INTERVAL,
    HISTORY,
    METHOD,
    STATIC,
    BenchmarkFigures,
    EstimatorRow,
    Figure,
    Kind,
)
from modelselect.benchmarking.measures import FEWEST_FOR_A_FIGURE, Measure, Vector
from modelselect.benchmarking.pools import Pools, ablations, win_rates
from modelselect.benchmarking.protocol import Protocol
from modelselect.benchmarking.repeats import summarised
from modelselect.benchmarking.results import (
    FEWEST_FOR_MEAN_RANK,
    MEAN_RANK,
    BenchmarkResults,
    Matrix,
    mean_rank_elsewhere,
)
from modelselect.errors import UnknownNameError
from modelselect.host.defaults import DEFAULT_ESTIMATORS

PARAMETERS = "parameters"
"""The static baseline whose scores are numbers of parameters: they count where the metadata of a model has none."""


def judge(
    benchmark: BenchmarkResults, measure: Measure, resamples: int, seed: int, reference: str | None
) -> BenchmarkFigures:
    """Compares every estimator with the truth and with the baselines. See `Benchmark.table`.

    The bootstrap draws models and datasets with replacement, and a drawn model with all its datasets (A. B. Owen: The
    pigeonhole bootstrap, Annals of Applied Statistics 2007). All datasets have the same models, so a lucky pool of
    models is lucky on every dataset. All estimators are judged on the same draws. Scores are not computed anew.

    Raises:
        UnknownNameError: no estimator with a figure has the name of the reference.
    """
    scores = dict(benchmark.scores)
    kinds: dict[str, Kind] = {name: STATIC if name in benchmark.static else METHOD for name in scores}
    if len(benchmark.truth) >= FEWEST_FOR_MEAN_RANK:
        scores[MEAN_RANK], kinds[MEAN_RANK] = mean_rank_elsewhere(benchmark.truth), HISTORY
    truth = {d: by_model for d, by_model in benchmark.truth.items() if len(by_model) >= FEWEST_FOR_A_FIGURE}
    judging = _Judging(measure, scores, truth, _Bootstrap.of(benchmark.models, len(truth), resamples, seed))
    cells = {name: found for name in scores if (found := judging.cells(name))}
    means = {name: judging.mean(found) for name, found in cells.items()}

    def best(kind: Kind) -> str | None:
        """The best mean; those that score half of the models come first, since chance may order a few models well."""
        of_kind = [name for name in cells if kinds[name] == kind]
        half = sum(map(len, truth.values())) / 2
        covers = {name: sum(cell.n for cell in cells[name].values()) >= half for name in of_kind}
        return max(of_kind, key=lambda name: (covers[name], judging.sign * means[name].value), default=None)

    static, history = best(STATIC), best(HISTORY)
    reference = _reference(reference, list(cells), static)
    bars = [bar for bar in dict.fromkeys((static, history, reference)) if bar is not None]
    rows = [
        EstimatorRow(
            name,
            kinds[name],
            {
                dataset: Figure(cell.value, _interval(cell.replicates, cell.n), cell.n, len(truth[dataset]))
                for dataset, cell in found.items()
            },
            means[name],
            {bar: gain for bar in bars if bar != name and (gain := judging.gain(name, bar)) is not None},
            benchmark.seconds.get(name),
        )
        for name, found in cells.items()
    ]
    rows.sort(key=lambda row: (row.kind != METHOD, -judging.sign * row.mean.value, row.estimator))
    absent = {name: _why_absent(benchmark, name) for name in (*scores, *benchmark.failures) if name not in cells}
    judged = {row.estimator: scores[row.estimator] for row in rows}
    return BenchmarkFigures(
        rows=tuple(rows),
        datasets=tuple(truth),
        measure=measure,
        resamples=resamples,
        static=static,
        history=history,
        reference=reference,
        protocol=_protocol(benchmark, judged, truth, measure, seed),
        absent=absent,
        evidence_seconds=benchmark.evidence_seconds,
        notes=benchmark.notes,
        benchmark=benchmark,
    )


def _protocol(
    benchmark: BenchmarkResults, scores: Mapping[str, Matrix], truth: Matrix, measure: Measure, seed: int
) -> Protocol:
    counted = {model: n for by_model in scores.get(PARAMETERS, {}).values() for model, n in by_model.items()}
    return Protocol(
        dispersion(truth),
        ceiling(benchmark.runs, truth, benchmark.test_rows, measure, seed),
        win_rates(scores, truth, measure, seed=seed),
        ablations(scores, truth, {**counted, **benchmark.parameters}, benchmark.families, measure),
        summarised(benchmark.sweep, truth, measure),
    )


def _reference(given: str | None, names: Sequence[str], static: str | None) -> str | None:
    """The reference that was named, or the default estimator, or the best static baseline."""
    if given is not None and given not in names:
        raise UnknownNameError("reference", given, names)
    return given or next((name for name in DEFAULT_ESTIMATORS if name in names), static)


@dataclass(frozen=True, slots=True)
class _Judged:
    """A figure on one dataset over n models, and the (B,) figures on resamples; NaN for fewer than two models."""

    value: float
    replicates: Vector
    n: int


@dataclass(frozen=True, slots=True)
class _Bootstrap:
    """B draws of the models, after the models as they are; and (B, datasets) which datasets were drawn."""

    pools: Pools
    drawn: NDArray[np.int64]

    @classmethod
    def of(cls, models: Sequence[str], datasets: int, resamples: int, seed: int) -> _Bootstrap:
        random = np.random.default_rng(seed)
        counts = random.multinomial(len(models), np.full(len(models), 1 / len(models)), size=resamples)
        drawn = random.integers(0, datasets, (resamples, datasets))
        return cls(Pools.of(models, np.concatenate([np.ones((1, len(models)), np.int64), counts])), drawn)


class _Judging:
    """The figures of all estimators on the same draws; each is computed once."""

    def __init__(self, measure: Measure, scores: Mapping[str, Matrix], truth: Matrix, bootstrap: _Bootstrap) -> None:
        self.sign = 1.0 if measure.higher_is_better else -1.0
        self._measure, self._scores, self._truth, self._bootstrap = measure, scores, truth, bootstrap
        self._found: dict[tuple[str, str, frozenset[str]], _Judged] = {}

    def cells(self, name: str) -> dict[str, _Judged]:
        """By dataset, without those on which the estimator scored fewer than two models."""
        return {
            dataset: self._judge(name, dataset, models)
            for dataset in self._truth
            if len(models := self._models(name, dataset)) >= FEWEST_FOR_A_FIGURE
        }

    def gain(self, name: str, baseline: str) -> Figure | None:
        """How much better than a baseline, over the models that both score, on the same draws; None if too few."""
        cells = {}
        for dataset in self._truth:
            both = self._models(name, dataset) & self._models(baseline, dataset)
            if len(both) >= FEWEST_FOR_A_FIGURE:
                own, other = (self._judge(each, dataset, both) for each in (name, baseline))
                cells[dataset] = _Judged(
                    self.sign * (own.value - other.value), self.sign * (own.replicates - other.replicates), len(both)
                )
        return self.mean(cells) if cells else None

    def mean(self, cells: Mapping[str, _Judged]) -> Figure:
        """The mean over the datasets with a figure; its interval also draws datasets."""
        value = float(np.mean([cell.value for cell in cells.values()]))
        resamples = len(self._bootstrap.drawn)
        absent = np.full(resamples, np.nan)
        table = np.stack([cells[d].replicates if d in cells else absent for d in self._truth])
        drawn = table[self._bootstrap.drawn, np.arange(resamples)[:, None]]
        there = ~np.isnan(drawn)
        replicates = np.full(resamples, np.nan)
        np.divide(np.where(there, drawn, 0.0).sum(axis=1), there.sum(axis=1), out=replicates, where=there.any(axis=1))
        n = max(cell.n for cell in cells.values())
        return Figure(value, _interval(replicates, n), len(cells), len(self._truth))

    def _models(self, name: str, dataset: str) -> frozenset[str]:
        return frozenset(self._scores[name].get(dataset, {}))

    def _judge(self, name: str, dataset: str, models: frozenset[str]) -> _Judged:
        key = name, dataset, models
        if key not in self._found:
            known = {model: value for model, value in self._scores[name][dataset].items() if model in models}
            value, *replicates = self._bootstrap.pools.figures(self._measure, known, self._truth[dataset])
            self._found[key] = _Judged(float(value), np.array(replicates), len(known))
        return self._found[key]


def _interval(replicates: Vector, n: int) -> tuple[float, float] | None:
    known = replicates[~np.isnan(replicates)]
    if not len(known) or n < FEWEST_FOR_AN_INTERVAL:
        return None
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _why_absent(benchmark: BenchmarkResults, name: str) -> str:
    reasons = [f.reason for by_model in benchmark.failures.get(name, {}).values() for f in by_model.values()]
    return reasons[0] if reasons else "no dataset has two models with a score"
