"""`CountedMetric`: a metric of sums over rows, such as F1 over all sentences, whose interval counts each row once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.tasks.metrics import Metric

Array = NDArray[Any]


@dataclass(frozen=True)
class CountedMeasure:
    """A metric by its counts.

    Attributes:
        counts: takes targets and predictions of N rows; returns (N, ...) what each row counts.
        of_sums: takes the sum of the counts over rows; returns the metric.
    """

    counts: Callable[[Array, Array], Array]
    of_sums: Callable[[Array], float]

    def __call__(self, targets: Array, predictions: Array) -> float:
        return self.of_sums(self.counts(targets, predictions).sum(axis=0))


@dataclass(frozen=True)
class CountedMetric(Metric):
    """A metric that follows from sums over the rows. The interval resamples what each row counts.

    Attributes:
        measure: what each row counts, and the metric of the sums.
    """

    measure: CountedMeasure

    def resampled(self, targets: Array, predictions: Array, resamples: Iterable[Array]) -> Iterator[float]:
        counts = self.measure.counts(targets, predictions)
        times = (np.bincount(rows, minlength=len(counts)) for rows in resamples)
        return (self.measure.of_sums(np.tensordot(each, counts, axes=1)) for each in times)


def counted_right(targets: Array, predictions: Array) -> Array:
    """(N, 2) how many parts of each row are right, and how many count: those with a class from 0."""
    known = targets >= 0
    right = known & (targets == predictions)
    return np.stack([each.reshape(len(targets), -1).sum(1) for each in (right, known)], axis=1)


def share(sums: Array) -> float:
    """The first sum as a share of the second; NaN of none."""
    return float(sums[0] / sums[1]) if sums[1] else math.nan


def most_frequent(targets: Array) -> float:
    """The share of the class that most parts have: the accuracy of a prediction that does not look at the input."""
    known = targets[targets >= 0]
    return float(np.bincount(known).max() / len(known)) if len(known) else math.nan
