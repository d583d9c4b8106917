"""The figures of a benchmark, as data: how well each estimator agrees with the truth on each dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from modelselect.benchmarking.measures import Measure
from modelselect.benchmarking.protocol import Protocol
from modelselect.benchmarking.results import BenchmarkResults

Kind = Literal["method", "static", "history"]
METHOD: Kind = "method"
STATIC: Kind = "static"
"""A baseline that uses only metadata."""
HISTORY: Kind = "history"
"""A baseline that uses the accuracies on the other datasets."""

CONFIDENCE = 0.95

FEWEST_FOR_AN_INTERVAL = 5
"""Models: resamples of fewer are much alike, and their interval would be too narrow."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and its 95% bootstrap interval.

    Attributes:
        value: the figure.
        interval: (low, high); None without resamples, or for fewer than five models.
        n: number of models that the figure covers; for a mean, of datasets.
        of: number of models with a known accuracy; for a mean, of all datasets. If `n` is smaller, some have no score.
    """

    value: float
    interval: tuple[float, float] | None
    n: int
    of: int


@dataclass(frozen=True, slots=True)
class EstimatorRow:
    """One estimator in the table.

    Attributes:
        estimator: its name.
        kind: `"method"`, `"static"` (a static baseline) or `"history"` (the mean rank on the other datasets).
        figures: by dataset, without datasets on which the estimator scored fewer than two models.
        mean: of the figures, over the datasets.
        gains: by baseline or reference, how much better the estimator is, as a mean over datasets and over the models
            that both score. Above 0 is better for every measure.
        seconds: mean time for one model, without the forward pass; None if unknown.
    """

    estimator: str
    kind: Kind
    figures: Mapping[str, Figure]
    mean: Figure
    gains: Mapping[str, Figure]
    seconds: float | None


@dataclass(frozen=True)
class BenchmarkFigures:
    """All figures of a benchmark by one measure.

    Attributes:
        rows: one for each estimator with a figure: methods first, then baselines, each best first.
        datasets: names of the columns.
        measure: what the figures are.
        resamples: number of resamples of the bootstrap.
        static: the static baseline with the best mean, among those that score at least half of the models if there is
            one; None without static baselines.
        history: the baseline from other datasets, the mean rank elsewhere; None with fewer than three datasets.
        reference: what all estimators are compared with; None if neither `evidence` nor a static baseline has a
            figure.
        protocol: what the benchmark says beyond its table.
        absent: why an estimator has no figure, by estimator.
        evidence_seconds: mean time of the forward pass for one model and dataset.
        notes: what else a reader must know.
        benchmark: the results that the figures are computed from.
    """

    rows: tuple[EstimatorRow, ...]
    datasets: tuple[str, ...]
    measure: Measure
    resamples: int
    static: str | None
    history: str | None
    reference: str | None
    protocol: Protocol
    absent: Mapping[str, str]
    evidence_seconds: float | None
    notes: tuple[str, ...]
    benchmark: BenchmarkResults
