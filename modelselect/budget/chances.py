"""Which candidates may still win: probabilities of a place, from scores and their replicates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from modelselect.evidence.linear_algebra import Vector

_DRAWS = 4000
"""Number of draws of the scores that another probe might give. A probability of 1% then has a relative error of a
sixth."""


@dataclass(frozen=True)
class WinProbabilities:
    """The probabilities that candidates have a place.

    Attributes:
        best: (n,) the probability that the candidate is the best.
        among: (n,) the probability that it is among the best k.
        decided: the probability that the k candidates that lead now are the best k, in any order.
    """

    best: Vector
    among: Vector
    decided: float


def win_probabilities(
    totals: ArrayLike, replicates: ArrayLike, halved: ArrayLike, places: int, seed: int = 0
) -> WinProbabilities:
    """Probabilities by the normal distribution: scores move with the choice of rows, and with their number.

    The replicates say how far the choice of rows moves scores, and which scores move together. The scores on half of
    the rows say how far the number of rows moves them: if doubling the rows changed the order by more than the choice
    of rows explains, then doubling them again may change it as much.

    Args:
        totals: (n,) scores; NaN for a candidate without a score, which has probability 0.
        replicates: (B, n) totals on other probes of this size. A column of NaN is unknown, and taken to be as uncertain
            as the most uncertain of the others.
        halved: (n,) totals on half of the rows; NaN if unknown.
        places: k, the number of places.
        seed: the seed of the draws. A candidate's draws go with the place of its score, not with its place in the pool.

    >>> found = win_probabilities([1.0, 0.9, 0.0], [[1.1, 0.8, 0.0], [0.9, 1.0, 0.0]], [1.0, 0.9, 0.0], places=1)
    >>> found.best.round(1).tolist()
    [0.6, 0.4, 0.0]
    """
    totals, replicates, halved = (np.asarray(given, np.float64) for given in (totals, replicates, halved))
    there = ~np.isnan(totals)
    n, draws = len(totals), len(replicates)
    rng = np.random.default_rng([seed, n])
    moved = np.full((_DRAWS, n), -np.inf)
    spread = replicates - replicates.mean(axis=0) if draws > 1 else np.full((2, n), np.nan)
    deviations = spread.std(axis=0, ddof=1)
    known = there & ~np.isnan(deviations)
    width = float(np.ptp(totals[there])) if there.any() else 0.0
    unknown = float(deviations[known].max()) if known.any() else width
    noise = rng.normal(size=(_DRAWS, len(spread))) @ np.where(known, spread, 0.0) / math.sqrt(len(spread) - 1)
    extra = np.where(known, 0.0, unknown) ** 2 + _excess(totals, spread, halved, known)
    jitter = 1e-9 * (width or 1.0)  # candidates with equal scores share their places
    column = np.argsort(np.argsort(-totals, kind="stable"))
    noise += np.sqrt(extra + jitter**2) * rng.normal(size=(_DRAWS, n))[:, column]
    moved[:, there] = (totals + noise)[:, there]
    order = np.argsort(-moved, axis=1)
    k = min(places, n)
    in_first = np.zeros((_DRAWS, n), np.bool_)
    np.put_along_axis(in_first, order[:, :k], True, axis=1)
    in_first &= there
    now = np.argsort(-np.where(there, totals, -np.inf), kind="stable")[: min(places, int(there.sum()))]
    return WinProbabilities(
        best=np.bincount(order[:, 0], minlength=n) / _DRAWS * there if n else np.zeros(0),
        among=in_first.mean(axis=0),
        decided=float(in_first[:, now].all(axis=1).mean()),
    )


def _excess(totals: Vector, spread: Vector, halved: Vector, known: Any) -> float:
    """Variance by which totals moved from half of the rows to all, beyond what the choice of rows explains.

    From half of m rows to all m, a mean moves with a variance of 1/(m/2) - 1/m = 1/m times that of a row. This is the
    variance of the mean itself. A movement that all candidates share does not change their order.
    """
    both = known & ~np.isnan(halved)
    if both.sum() < 2:
        return 0.0
    change = (totals - halved)[both]
    own = spread[:, both] - spread[:, both].mean(axis=1, keepdims=True)
    return max(0.0, float(np.var(change, ddof=1) - own.var(axis=0, ddof=1).mean()))


def eliminated(among: Vector, risk: float, keep: int) -> list[int]:
    """Which candidates are eliminated: the least probable, as long as all of them together have less than `risk`.

    Args:
        among: (n,) probabilities.
        risk: the probability that one of them would have won a place.
        keep: number of candidates to keep, at least.

    >>> eliminated(np.array([0.97, 0.02, 0.004, 0.006]), risk=0.02, keep=1)
    [2, 3]
    """
    order = np.argsort(among, kind="stable")[: max(len(among) - keep, 0)]
    return sorted(order[np.cumsum(among[order]) <= risk].tolist())
