"""`Metric`: how good predictions are. The functions agree with those of scikit-learn and SciPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.utils.measures import Measure

Array = NDArray[Any]

RESAMPLES = 500
"""Number of resamples of the held-out rows that an interval is taken from."""


@dataclass(frozen=True)
class Metric:
    """How good predictions are.

    Attributes:
        name: in records: lower case, digits and underscores.
        title: in texts.
        measure: takes targets and predictions, one row for each; returns a number.
        higher_is_better: False for errors. The first metric of a task orders candidates, so it has to be True there.
        guessing: takes targets; returns what a prediction reaches that does not look at the input. None if that is not
            known, and for accuracy, where it is one divided by the number of classes.
        in_percent: whether it is a share between 0 and 1, which texts show in per cent.
        of_scores: of parts of rows, whether its predictions are (N, ..., C) probabilities of the classes, and not the
            most probable one.
    """

    name: str
    title: str
    measure: Callable[[Array, Array], float]
    higher_is_better: bool = True
    guessing: Callable[[Array], float] | None = None
    in_percent: bool = True
    of_scores: bool = False

    @property
    def shown(self) -> Measure:
        """What texts call it, and how they show it."""
        return Measure(self.title, self.in_percent)

    def interval(self, targets: Array, predictions: Array, seed: int = 0) -> tuple[float, float]:
        """The 95% interval of the metric by the bootstrap over rows.

        B. Efron, R. J. Tibshirani: An Introduction to the Bootstrap, 1993 (percentile interval).

        Args:
            targets: N rows.
            predictions: N rows.
            seed: of the resamples.
        """
        rng = np.random.default_rng([seed, len(targets)])
        rows = (rng.integers(0, len(targets), len(targets)) for _ in range(RESAMPLES))
        found = [value for value in self.resampled(targets, predictions, rows) if math.isfinite(value)]
        if not found:
            return -math.inf, math.inf
        low, high = np.quantile(found, [0.025, 0.975])
        return float(low), float(high)

    def resampled(self, targets: Array, predictions: Array, resamples: Iterable[Array]) -> Iterator[float]:
        """The metric of each resample of the rows, which is given as (N,) row numbers."""
        return (self.measure(targets[rows], predictions[rows]) for rows in resamples)


def accuracy(targets: Array, predictions: Array) -> float:
    """Share of equal rows, from (N,) classes."""
    return float((targets == predictions).mean())


def r2(targets: Array, predictions: Array) -> float:
    """Share of the variance that is explained: the mean over the columns of (N, T) that vary; NaN if none does.

    >>> r2(np.array([[0.0], [1.0], [2.0]]), np.array([[0.0], [1.0], [1.0]]))
    0.5
    """
    total = np.square(targets - targets.mean(axis=0)).sum(axis=0)
    missed = np.square(targets - predictions).sum(axis=0)
    varies = total > 0
    return float((1 - missed[varies] / total[varies]).mean()) if varies.any() else math.nan


def r2_of_the_mean(targets: Array) -> float:
    """0, whatever the targets are: the mean explains no variance."""
    return 0.0


def prevalence(targets: Array) -> float:
    """Mean share of the rows that have a label, over the labels that vary: the mAP of scores that are all equal."""
    return mean_average_precision(targets, np.zeros(targets.shape))


def mean_absolute_error(targets: Array, predictions: Array) -> float:
    """Mean of |target - prediction| over (N, T)."""
    return float(np.abs(targets - predictions).mean())


def spearman(targets: Array, predictions: Array) -> float:
    """Rank correlation: the mean over the columns of (N, T); NaN if a column does not vary."""
    from scipy.stats import rankdata

    a, b = (rankdata(each, axis=0) for each in (targets, predictions))
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    scale = np.sqrt(np.square(a).sum(axis=0) * np.square(b).sum(axis=0))
    return float(((a * b).sum(axis=0) / scale).mean()) if (scale > 0).all() else math.nan


def _precisions_and_recalls(targets: Array, scores: Array) -> tuple[Array, Array, Array]:
    """Precision, recall and new hits at each score, from the highest on; rows of one score come together."""
    order = np.argsort(-scores, kind="stable")
    hits, ranked = np.cumsum(targets[order]), scores[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    return hits[ends] / (ends + 1), hits[ends] / max(hits[-1], 1), np.diff(hits[ends], prepend=0)


def average_precision(targets: Array, scores: Array) -> float:
    """Area under the curve of precision over recall, by steps, from (N,) of 0 and 1; NaN without a 1.

    >>> average_precision(np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1])).__round__(4)
    0.8333
    """
    if not targets.any():
        return math.nan
    precision, _, gained = _precisions_and_recalls(targets, scores)
    return float((gained * precision).sum() / targets.sum())


def average_precision_2007(targets: Array, scores: Array) -> float:
    """Mean of the highest precision at a recall of 0, 0.1, ..., 1 or more, from (N,) of 0 and 1; NaN without a 1.

    M. Everingham, L. Van Gool, C. Williams, J. Winn, A. Zisserman: The PASCAL visual object classes challenge, 2010,
    section 4.2: the measure of its years until 2009.

    >>> average_precision_2007(np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1])).__round__(4)
    0.8485
    """
    if not targets.any():
        return math.nan
    precision, recall, _ = _precisions_and_recalls(targets, scores)
    best = np.maximum.accumulate(precision[::-1])[::-1]  # from this recall on
    return float(best[np.searchsorted(recall, np.arange(11) / 10 - 1e-12)].mean())


def mean_average_precision(
    targets: Array, scores: Array, of_label: Callable[[Array, Array], float] = average_precision
) -> float:
    """Mean of `average_precision` over the labels that some rows have and others have not; NaN if there are none.

    Args:
        targets: (N, C) of 0 and 1; NaN for what is not known and does not count.
        scores: (N, C), higher for labels that are more probable.
        of_label: the measure of one label.
    """
    found = []
    for column in range(targets.shape[1]):
        known = ~np.isnan(targets[:, column])
        own = targets[known, column]
        if len(own) and 0 < own.sum() < len(own):
            found.append(of_label(own, scores[known, column]))
    return float(np.mean(found)) if found else math.nan


def f1(targets: Array, scores: Array) -> float:
    """Mean over labels of the F1 score, where a label counts as predicted from a score of 0 (a logit) on.

    Args:
        targets: (N, C) of 0 and 1; NaN for what is not known and does not count.
        scores: (N, C) logits.
    """
    known = ~np.isnan(targets)
    has, says = known & (targets == 1), known & (scores >= 0)
    right, wrong = (has & says).sum(axis=0), (has ^ says).sum(axis=0)
    return float(np.where(2 * right + wrong > 0, 2 * right / np.maximum(2 * right + wrong, 1), 0.0).mean())


ACCURACY = Metric("accuracy", "accuracy", accuracy)
"""Share of the rows whose class is right."""

R2 = Metric("r2", "R²", r2, guessing=r2_of_the_mean, in_percent=False)
"""Share of the variance of numbers that is explained."""

MEAN_ABSOLUTE_ERROR = Metric(
    "mean_absolute_error", "mean absolute error", mean_absolute_error, higher_is_better=False, in_percent=False
)
"""Mean distance of a predicted number from the right one."""

SPEARMAN = Metric("spearman", "Spearman correlation", spearman, in_percent=False)
"""Rank correlation of predicted and right numbers."""

MEAN_AVERAGE_PRECISION = Metric("mean_average_precision", "mAP", mean_average_precision, guessing=prevalence)
"""Mean average precision of labels, each by its own order of the rows."""

MEAN_AVERAGE_PRECISION_2007 = Metric(
    "mean_average_precision_2007", "mAP (VOC 2007)", partial(mean_average_precision, of_label=average_precision_2007)
)
"""The same by the eleven points of PASCAL VOC 2007."""

F1 = Metric("f1", "F1", f1)
"""Mean over labels of the F1 score."""
