"""Agreement of a ranking with the truth, on many resamples of the candidates at once, for bootstrap intervals.

A resample is the number of times that each candidate was drawn. Every figure follows from these counts in closed form,
and equals the figure of `modelselect.agreement` (of SciPy) for the candidates repeated as often as they were drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from modelselect.agreement import agreement
from modelselect.errors import UnknownNameError

Vector = NDArray[np.float64]
Counts = NDArray[np.int64]

SHORTLIST = 3
"""The `k` of `topk_regret`, as by default in `modelselect.agreement`."""

FEWEST_FOR_A_FIGURE = 2
"""Models: a single one has no order."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of agreement.

    Attributes:
        name: of the attribute of `Agreement`.
        label: its name in a table.
        higher_is_better: False for a loss.
        points: whether the figure has the unit of the truth, and is shown in percentage points.
        resampled: computes (B,) figures from (n,) scores, (n,) true values and (B, n) counts of how often each
            candidate was drawn. A correlation is 0 if all drawn candidates have the same score or the same true value.
    """

    name: str
    label: str
    higher_is_better: bool
    points: bool
    resampled: Callable[[Vector, Vector, Counts], Vector]

    def of(self, scores: Vector, truth: Vector) -> float:
        """The figure over all candidates, from (n,) scores and (n,) true values.

        >>> MEASURES["kendall"].of(np.array([0.9, 0.7, 0.1]), np.array([88.0, 90.0, 71.5])).__round__(3)
        0.333
        """
        return float(self.resampled(scores, truth, np.ones((1, len(scores)), np.int64))[0])


def find_measure(name: str) -> Measure:
    """The measure of that name.

    Raises:
        UnknownNameError: there is no such measure.

    >>> find_measure("kendall").label
    'Kendall'
    """
    if not isinstance(name, str) or name not in MEASURES:
        raise UnknownNameError("measure", str(name), MEASURES)
    return MEASURES[name]


def weighted_kendall(scores: Vector, truth: Vector, counts: Counts) -> Vector:
    """As `scipy.stats.weightedtau` with its defaults.

    S. Vigna: A weighted correlation index for rankings with ties, WWW 2015.

    A pair weighs 1/(r_i + 1) + 1/(r_j + 1), so a candidate's share of a sum over pairs is the sum of 1/(r + 1) over its
    copies. Their ranks are consecutive, so this sum is a difference of two harmonic numbers.

    >>> scores, truth = np.array([0.9, 0.7, 0.1]), np.array([88.0, 90.0, 71.5])
    >>> weighted_kendall(scores, truth, np.array([[1, 1, 1], [2, 0, 3]])).round(3).tolist()
    [0.182, 1.0]
    """
    return (_ranked_by(scores, truth, scores, truth, counts) + _ranked_by(truth, scores, scores, truth, counts)) / 2


def weighted_kendall_by_truth(scores: Vector, truth: Vector, counts: Counts) -> Vector:
    """As `weighted_kendall`, with ranks by the true values alone."""
    return _ranked_by(truth, scores, scores, truth, counts)


def _ranked_by(first: Vector, second: Vector, scores: Vector, truth: Vector, counts: Counts) -> Vector:
    """Weighted Kendall with ranks by the first values; the second ones break ties."""
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, counts.sum(axis=1).max(initial=0) + 1))])
    order = np.lexsort((second, first))[::-1]
    drawn = counts[:, order]
    ends = np.cumsum(drawn, axis=1)
    weights = np.empty(counts.shape)
    weights[:, order] = harmonic[ends] - harmonic[ends - drawn]
    return _ratio(*(np.einsum("bn,bn->b", weights, sums) for sums in _pairs(scores, truth, counts)))


def weighted_kendall_itm(scores: Vector, truth: Vector, counts: Counts) -> Vector:
    """Equation 1 of the ITM paper: a pair weighs 1/(G_i + G_j), where G = 1 is the truly best.

    Equal true values share their mean rank, and a pair that is equal on either side, such as two copies of a candidate,
    counts as 0 in the numerator alone.
    """
    above = (truth[:, None] > truth[None, :]).astype(float)
    equal = (truth[:, None] == truth[None, :]).astype(float)
    ranks = counts @ above + (counts @ equal + 1) / 2
    signs = np.sign(scores[:, None] - scores[None, :]) * np.sign(truth[:, None] - truth[None, :])
    agreeing, total = np.zeros(len(counts)), np.zeros(len(counts))
    for i in range(len(truth)):  # one candidate at a time, so that memory stays small
        weights = counts[:, i, None] * counts / (ranks[:, i, None] + ranks)
        agreeing += weights @ signs[i]
        total += weights.sum(axis=1) - counts[:, i] / (2 * ranks[:, i])  # a copy is no pair with itself
    found: Vector = np.divide(agreeing, total, out=np.zeros(len(counts)), where=total > 0)
    return found


def pairwise_accuracy(scores: Vector, truth: Vector, counts: Counts) -> Vector:
    """(Kendall's tau-b + 1) / 2: without ties the share of pairs in the right order."""
    return (kendall(scores, truth, counts) + 1) / 2


def kendall(scores: Vector, truth: Vector, counts: Counts) -> Vector:
    """Kendall's tau-b."""
    return _ratio(*((counts * sums).sum(axis=1) for sums in _pairs(scores, truth, counts)))


def pearson(scores: Vector, truth: Vector, counts: Counts) -> Vector:
    """Pearson's r."""
    x, y = (np.tile(values / (np.abs(values).max() or 1.0), (len(counts), 1)) for values in (scores, truth))
    return _correlation(x, y, scores, truth, counts)


def spearman(scores: Vector, truth: Vector, counts: Counts) -> Vector:
    """Spearman's rho; tied values share their mean rank."""
    x, y = (
        counts @ ((v[:, None] < v[None, :]) + 0.5 * (v[:, None] == v[None, :])).astype(float) for v in (scores, truth)
    )
    return _correlation(x, y, scores, truth, counts)


def top1_regret(scores: Vector, truth: Vector, counts: Counts) -> Vector:
    """The best true value minus that of the candidate predicted best; the mean over ties."""
    drawn = counts > 0
    best = np.where(drawn, truth, -np.inf).max(axis=1)
    first = np.where(drawn, scores, -np.inf).max(axis=1)
    chosen = counts * (scores == first[:, None])
    taken: Vector = best - (chosen * truth).sum(axis=1) / chosen.sum(axis=1)
    return taken


def topk_regret(scores: Vector, truth: Vector, counts: Counts) -> Vector:
    """The best true value minus the best of the `SHORTLIST` candidates predicted best; the mean over ties."""
    best: Vector = np.where(counts > 0, truth, -np.inf).max(axis=1)
    if len(np.unique(scores)) < len(scores):
        each = (agreement(np.repeat(scores, drawn), np.repeat(truth, drawn), k=SHORTLIST) for drawn in counts)
        return np.array([found.topk_regret for found in each])
    order = np.argsort(-scores)
    drawn = counts[:, order]
    listed = (np.cumsum(drawn, axis=1) - drawn < SHORTLIST) & (drawn > 0)
    taken: Vector = np.where(listed, truth[order], -np.inf).max(axis=1)
    return best - taken


def _pairs(scores: Vector, truth: Vector, counts: Counts) -> tuple[Vector, Vector, Vector]:
    """For each candidate, (B, n) sums over the drawn: signs of agreement, and how many differ in score and in truth."""
    in_scores, in_truth = (np.sign(v[:, None] - v[None, :]) for v in (scores, truth))
    drawn = counts.astype(float)  # products of integer matrices are slow
    return drawn @ (in_scores * in_truth), drawn @ np.abs(in_scores), drawn @ np.abs(in_truth)


def _ratio(agreeing: Vector, in_scores: Vector, in_truth: Vector) -> Vector:
    scale = np.sqrt(in_scores * in_truth)
    ratio: Vector = np.divide(agreeing, scale, out=np.zeros_like(agreeing), where=scale > 0)
    return ratio


def _correlation(x: Vector, y: Vector, scores: Vector, truth: Vector, counts: Counts) -> Vector:
    """Correlation of (B, n) values in the order of scores and truth, each counted as often as it was drawn."""
    total = counts.sum(axis=1, keepdims=True)
    x, y = (v - (counts * v).sum(axis=1, keepdims=True) / total for v in (x, y))
    _, in_scores, in_truth = _pairs(scores, truth, counts)
    ordered = ((counts * in_scores).sum(axis=1) > 0) & ((counts * in_truth).sum(axis=1) > 0)
    scale = np.sqrt((counts * x * x).sum(axis=1) * (counts * y * y).sum(axis=1))
    products = (counts * x * y).sum(axis=1)
    found: Vector = np.divide(products, scale, out=np.zeros(len(counts)), where=ordered & (scale > 0))
    return found


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        measure.name: measure
        for measure in (
            Measure("weighted_kendall", "weighted Kendall", True, False, weighted_kendall),
            Measure("weighted_kendall_by_truth", "weighted Kendall by truth", True, False, weighted_kendall_by_truth),
            Measure("weighted_kendall_itm", "weighted Kendall of ITM", True, False, weighted_kendall_itm),
            Measure("kendall", "Kendall", True, False, kendall),
            Measure("spearman", "Spearman", True, False, spearman),
            Measure("pearson", "Pearson", True, False, pearson),
            Measure("pairwise_accuracy", "pairwise accuracy", True, False, pairwise_accuracy),
            Measure("top1_regret", "top-1 regret", False, True, top1_regret),
            Measure("topk_regret", f"top-{SHORTLIST} regret", False, True, topk_regret),
        )
    }
)
"""The measures of a table, by name."""
