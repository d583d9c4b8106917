"""Several pieces of evidence about a pool, combined to one posterior: mean, variance, probabilities, contributions.

Every piece is on one scale, the normal score within the pool, and has a reliability: the correlation that it is
expected to have with the accuracy after fine-tuning. A candidate's true normal score has the prior N(0, 1). A piece
with value e and reliability rho is an observation of the true score with the likelihood N(rho · true, 1 - rho²). The
product of prior and likelihoods is the posterior, in closed form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelselect.errors import InvalidInputError
from modelselect.estimators.ranks import with_ties
from modelselect.evidence.linear_algebra import Vector

MOST_RELIABLE = 0.97
"""The highest reliability that a piece counts with: no piece decides alone."""

SHARED_ERROR = 0.6
"""Share of the gained precision that is believed: pieces err together. With it, 80% intervals hold 80% of the truth."""

DRAWS = 2_000
"""Draws from the posterior, from which probabilities and rank intervals are counted."""


def normal_scores(values: ArrayLike) -> Vector:
    """Normal scores within a pool: the quantiles of N(0, 1) at the mid-ranks, with mean 0 and deviation 1.

    Args:
        values: (n,) numbers of any scale; NaN where a candidate has none.

    Returns:
        (n,) float64: `Phi^-1((rank - 1/2) / count)`, centred and divided by the population deviation; 0 where all
        finite values are equal; NaN where `values` is not finite. Values that are equal up to rounding share
        their mean rank.

    >>> normal_scores([10.0, 1000.0, 100.0]).round(4).tolist()
    [-1.2247, 1.2247, 0.0]
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    given = with_ties(values)
    scores = np.full(given.shape, np.nan)
    known = np.isfinite(given)
    if not known.any():
        return scores
    quantiles: Vector = ndtri((rankdata(given[known]) - 0.5) / known.sum())
    centred = quantiles - quantiles.mean()
    deviation = centred.std()
    scores[known] = centred / deviation if deviation > 1e-12 else 0.0
    return scores


@dataclass(frozen=True, eq=False)
class Piece:
    """One piece of evidence about the candidates of a pool.

    Attributes:
        name: what users read beside its contribution: `probe`, `history`, `size`.
        values: (n,) normal scores within the pool; NaN where the piece says nothing of a candidate.
        reliability: expected correlation with the accuracy after fine-tuning, one number or (n,), from 0 to 1.
    """

    name: str
    values: Vector
    reliability: Vector | float


@dataclass(frozen=True, eq=False)
class Posterior:
    """What all pieces together say of a pool.

    Attributes:
        mean: (n,) expected normal score of each candidate.
        variance: (n,) of it; 1 where nothing is known.
        contributions: by piece, (n,) its share of `mean`; NaN where the piece says nothing. They add up to the mean.
        seed: of the draws.
    """

    mean: Vector
    variance: Vector
    contributions: Mapping[str, Vector] = field(default_factory=dict)
    seed: int = 0

    def probability_better(self, first: int, second: int) -> float:
        """Probability that one candidate is better than another one, by their places in the pool."""
        from scipy.special import ndtr

        spread = np.sqrt(self.variance[first] + self.variance[second])
        return float(ndtr((self.mean[first] - self.mean[second]) / spread))

    @cached_property
    def probability_best(self) -> Vector:
        """(n,) share of the draws in which each candidate is the best; they add up to 1."""
        winners = self._draws.argmax(axis=1)
        return np.bincount(winners, minlength=len(self.mean)) / len(winners)

    def rank_intervals(self, level: float = 0.8) -> NDArray[np.int64]:
        """(n, 2) lowest and highest rank of each candidate, which hold its rank in `level` of the draws.

        Raises:
            InvalidInputError: `level` is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise InvalidInputError(f"level is {level!r}; expected a share between 0 and 1, such as 0.8")
        ranks = 1 + np.argsort(np.argsort(-self._draws, axis=1), axis=1)
        tail = (1 - level) / 2
        return np.quantile(ranks, [tail, 1 - tail], axis=0, method="closest_observation").T.astype(np.int64)

    @cached_property
    def _draws(self) -> Vector:
        """(draws, n) from the posterior, the same for one seed."""
        noise = np.random.default_rng(self.seed).standard_normal((DRAWS, len(self.mean)))
        draws: Vector = self.mean + noise * np.sqrt(self.variance)
        return draws


def posterior(pieces: Sequence[Piece], count: int, seed: int = 0) -> Posterior:
    """The posterior of a pool, from all pieces; a piece counts for the candidates that it says something of.

    With the precision `Lambda = 1 + sum of rho² / (1 - rho²)`, the mean is `sum of rho / (1 - rho²) · value / Lambda`,
    and the variance is `1 / (1 + 0.6 (Lambda - 1))`: without the factor, intervals are too narrow, since pieces err
    together.

    Args:
        pieces: with names of their own, each for the whole pool.
        count: number of candidates, n.
        seed: of the draws of probabilities and rank intervals.

    Raises:
        InvalidInputError: a piece has another length, a reliability that is not from 0 to 1, or a name used twice.

    >>> found = posterior([Piece("probe", normal_scores([0.9, 0.7, 0.2]), 0.8)], count=3)
    >>> found.mean.round(2).tolist(), found.variance.round(2).tolist()
    ([0.98, 0.0, -0.98], [0.48, 0.48, 0.48])
    """
    names = [piece.name for piece in pieces]
    if len(set(names)) < len(names):
        raise InvalidInputError(f"pieces are named {', '.join(names)}; expected a name of its own for each")
    precision = np.ones(count)
    weighted: dict[str, Vector] = {}
    for piece in pieces:
        values, rho = np.asarray(piece.values, np.float64), np.asarray(piece.reliability, np.float64)
        if values.shape != (count,) or rho.shape not in ((), (count,)):
            raise InvalidInputError(
                f"the piece {piece.name!r} has values of shape {values.shape} and a reliability of shape {rho.shape}; "
                f"expected ({count},), and one number or ({count},)"
            )
        known = np.isfinite(values) & np.isfinite(np.broadcast_to(rho, (count,)))
        if not ((rho >= 0) & (rho <= 1) | np.isnan(rho)).all():
            raise InvalidInputError(f"the reliability of {piece.name!r} is {piece.reliability}; expected 0 to 1")
        rho = np.where(known, np.minimum(rho, MOST_RELIABLE), 0.0)
        precision += rho**2 / (1 - rho**2)
        weighted[piece.name] = np.where(known, rho / (1 - rho**2) * np.where(known, values, 0.0), np.nan)
    contributions = {name: values / precision for name, values in weighted.items()}
    mean = np.sum([np.nan_to_num(values) for values in contributions.values()], axis=0) if pieces else np.zeros(count)
    return Posterior(mean, 1 / (1 + SHARED_ERROR * (precision - 1)), contributions, seed)
