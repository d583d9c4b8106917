"""Several pieces of evidence about a pool, combined to one posterior: mean, variance, probabilities, contributions.

Every piece is on one scale, the normal score within the pool, and has a reliability: the correlation that it is
expected to have with the accuracy after fine-tuning. A candidate's true normal score has the prior N(0, 1). A piece
with value e and reliability rho is an observation of the true score with the likelihood N(rho · true, 1 - rho²). The
product of prior and likelihoods is the posterior, in closed form.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import NormalDist
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelselect.errors import InvalidInputError
from modelselect.estimators.estimator import Estimator
from modelselect.estimators.ranks import mean_ranks, with_ties
from modelselect.evidence.linear_algebra import Vector

_NORMAL = NormalDist()

MOST_RELIABLE = 0.97
"""The highest reliability that a piece counts with: its information is then 16 times that of the prior. So no piece
decides alone, not even one that has agreed with the accuracies perfectly so far."""

SHARED_ERROR = 0.6
"""Share of the gained precision that is believed: pieces err together.

Measured on seven benchmarks with 69 datasets: with this share, 80% intervals hold 81% of the true normal scores, and
95% intervals 94%. With all of the precision they hold 75% and 90%.
"""

DRAWS = 2_000
"""Draws from the posterior, from which probabilities and rank intervals are counted. The standard error of a
probability is then 1.1 points at most."""

WHOLE_COLUMN = 0.8
"""Share of a pool that a measurement must cover to count as one of the pool. Others are anchored; see `anchored`.

Measurements of most of a pool leave out a few candidates that failed, and those of the best candidates leave out most.
"""

LEAST_SPREAD = 0.25
"""The smallest spread of an anchored measurement, in deviations of the pool. Candidates that were expected to be equal
would otherwise stay equal, whatever the measurement says."""

PRIOR_WEIGHT = 4.0
"""Datasets that a shipped reliability counts as, when it is measured again on the user's history."""

EARLIER = "earlier rounds"
"""The piece that moves the candidates of a later round to where the rounds before expected them."""

BRIEF = "brief fine-tuning"
"""The piece of the accuracies after one epoch."""

FEWEST_IN_COMMON = 4
"""Candidates that two columns must share for a correlation between them."""


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
    given = with_ties(values)
    scores = np.full(given.shape, np.nan)
    known = np.isfinite(given)
    if not known.any():
        return scores
    levels = (mean_ranks(given[known]) - 0.5) / known.sum()
    quantiles = np.array([_NORMAL.inv_cdf(level) for level in levels])  # importing SciPy would take longer
    centred = quantiles - quantiles.mean()
    deviation = centred.std()
    scores[known] = centred / deviation if deviation > 1e-12 else 0.0
    return scores


def correlation(first: ArrayLike, second: ArrayLike, fewest: int = FEWEST_IN_COMMON) -> float:
    """Pearson correlation over the places where both are finite.

    NaN where there are fewer than `fewest` such places, or where one of both does not vary.

    >>> correlation([1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 6.0, float("nan")], fewest=3)
    1.0
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < fewest:
        return float("nan")
    a, b = a[both] - a[both].mean(), b[both] - b[both].mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 1e-12 else float("nan")


def remeasured(prior: float, correlations: Iterable[float], weight: float = PRIOR_WEIGHT) -> float:
    """A shipped reliability, corrected by the correlations that were found on the user's history; never below 0.

    A correlation over six candidates has a standard error of 0.4, so the shipped one counts as several datasets.

    >>> remeasured(0.5, [0.9, float("nan")], weight=3.0)
    0.6
    """
    found = [value for value in correlations if np.isfinite(value)]
    return max(0.0, (weight * prior + sum(found)) / (weight + len(found)))


def anchored(values: ArrayLike, mean: Vector) -> Vector:
    """Normal scores of a measurement of some of the pool, moved to where these candidates were expected.

    The first candidates of a pool are better than the others. Among themselves half of them are below their mean, and
    their normal scores alone would say that these are worse than the candidates that were not measured.

    Args:
        values: (n,) of the measurement; NaN where a candidate was not measured.
        mean: (n,) what was expected of each candidate before.

    Returns:
        (n,) normal scores as they are where the measurement covers `WHOLE_COLUMN` of the pool. Otherwise they get the
        mean and the deviation (at least `LEAST_SPREAD`) that was expected of the measured candidates.
    """
    scores = normal_scores(values)
    known = np.isfinite(scores)
    if not known.any() or known.mean() >= WHOLE_COLUMN:
        return scores
    moved: Vector = mean[known].mean() + scores * max(float(mean[known].std()), LEAST_SPREAD)
    return moved


@dataclass(frozen=True, eq=False)
class Piece:
    """One piece of evidence about the candidates of a pool.

    Attributes:
        name: what users read next to its contribution: `probe`, `history`, `size`. An estimator may use any but
            `EARLIER` and `BRIEF`.
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
        contributions: by piece, (n,) its share of `mean`; NaN where the piece says nothing. They add up to the mean
            that was expected before any accuracy was measured.
        seed: of the draws.
    """

    mean: Vector
    variance: Vector
    contributions: Mapping[str, Vector] = field(default_factory=dict)
    seed: int = 0

    def probability_better(self, first: int, second: int) -> float:
        """Probability that one candidate is better than another one, by their places in the pool."""
        spread = np.sqrt(self.variance[first] + self.variance[second])
        return math.erfc((self.mean[second] - self.mean[first]) / spread / math.sqrt(2)) / 2

    @cached_property
    def probability_best(self) -> Vector:
        """(n,) share of the draws in which each candidate is the best; they add up to 1."""
        winners = self._draws.argmax(axis=1)
        shares = np.bincount(winners, minlength=len(self.mean)) / len(winners)
        shared: Vector = np.bincount(self._levels, weights=shares) / np.bincount(self._levels)
        return shared[self._levels]

    def with_piece(self, piece: Piece) -> Posterior:
        """The posterior after one more piece of evidence, by a name that it does not have yet."""
        if piece.name in self.contributions:
            raise InvalidInputError(f"the posterior has a piece {piece.name!r} already; give another name")
        added = posterior([piece], len(self.mean))
        before, own = _precision(self.variance), _precision(added.variance)
        after = before + own - 1
        contributions = {name: values * before / after for name, values in self.contributions.items()}
        contributions[piece.name] = added.contributions[piece.name] * own / after
        mean = self.mean * before / after + np.nan_to_num(contributions[piece.name])
        return replace(self, mean=mean, variance=_variance(after), contributions=contributions)

    def with_accuracies(self, accuracies: ArrayLike, rows: int, error: float | None = None) -> Posterior:
        """The posterior after some candidates were fine-tuned. Their accuracies have a binomial error.

        Among themselves, the accuracies alone decide, as they decide the order of a leaderboard: all of these
        candidates start from the mean and the variance that were expected of them together, and have the mean error of
        their accuracies. So the most accurate one is the most probable to be the best of them. What was expected before
        says how they compare with the candidates that were not fine-tuned.

        Accuracies become numbers of the posterior's scale as in `anchored`, but linearly, since distances matter here.
        An accuracy alone compares with nothing and changes nothing.

        Args:
            accuracies: (n,) from 0 to 1; NaN for a candidate that was not fine-tuned.
            rows: number of rows that they were measured on.
            error: the mean standard error of a metric that is no accuracy; None for the binomial one.
        """
        measured = np.asarray(accuracies, np.float64)
        known = np.isfinite(measured)
        if known.sum() < 2:
            return self
        if error is None:
            share = (measured[known] * rows + 1) / (rows + 2)  # so that all rows right leaves a doubt
            error = float(np.sqrt(np.mean(share * (1 - share)) / rows))
        expected, before = self.mean[known], float(self.variance[known].mean())
        unit = max(float(expected.std()), LEAST_SPREAD) / max(float(measured[known].std()), error)
        trust = before / (before + (error * unit) ** 2)
        mean, variance = self.mean.copy(), self.variance.copy()
        mean[known] = expected.mean() + trust * unit * (measured[known] - measured[known].mean())
        variance[known] = (1 - trust) * before
        return replace(self, mean=mean, variance=variance)

    def rank_intervals(self, level: float = 0.8) -> NDArray[np.int64]:
        """(n, 2) lowest and highest rank of each candidate, which hold its rank in `level` of the draws.

        Raises:
            InvalidInputError: `level` is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise InvalidInputError(f"level is {level!r}; expected a share between 0 and 1, such as 0.8")
        ranks = 1 + np.argsort(np.argsort(-self._draws, axis=1), axis=1)
        tail = (1 - level) / 2
        ends = np.quantile(ranks, [tail, 1 - tail], axis=0, method="closest_observation").astype(np.int64)
        lowest, highest = np.full(ranks.shape[1], ranks.shape[1]), np.ones(ranks.shape[1], np.int64)
        np.minimum.at(lowest, self._levels, ends[0])
        np.maximum.at(highest, self._levels, ends[1])
        return np.stack([lowest[self._levels], highest[self._levels]], axis=1)

    @cached_property
    def _draws(self) -> Vector:
        """(draws, n) from the posterior. A candidate's draws do not depend on its place in the pool.

        The first column of the noise belongs to the candidate with the highest mean, and so on.
        """
        noise = np.random.default_rng(self.seed).standard_normal((DRAWS, len(self.mean)))
        column = np.argsort(np.argsort(-self._levels, kind="stable"))
        draws: Vector = self.mean + noise[:, column] * np.sqrt(self.variance)
        return draws

    @cached_property
    def _levels(self) -> NDArray[np.int64]:
        """(n,) the place of each candidate's mean, then variance, among the different ones, from the lowest, 0.

        Candidates of one level are equal up to rounding. Their probabilities and intervals are shared.
        """
        known = np.round([self.mean, self.variance], 9) + 0.0  # no -0.0
        levels: NDArray[np.int64] = np.unique(known, axis=1, return_inverse=True)[1].reshape(-1)
        return levels


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
    return Posterior(mean, _variance(precision), contributions, seed)


def _variance(precision: Vector) -> Vector:
    """(n,) variance of the posterior, of whose gained precision only a share is believed."""
    variance: Vector = 1 / (1 + SHARED_ERROR * (precision - 1))
    return variance


def _precision(variance: Vector) -> Vector:
    """(n,) the precision that gave this variance: the inverse of `_variance`."""
    precision: Vector = 1 + (1 / variance - 1) / SHARED_ERROR
    return precision


def check_name(name: object) -> None:
    """Raises InvalidInputError if an estimator may not call a piece of evidence so."""
    if not isinstance(name, str) or not name or name in (EARLIER, BRIEF):
        raise InvalidInputError(f"a piece of evidence is named {name!r}; expected a text, not {EARLIER!r} or {BRIEF!r}")


@dataclass(frozen=True, eq=False)
class Pool:
    """What is known of the candidates of a pool besides their scores.

    Attributes:
        candidates: ids without revision, in the order of the scores.
        facts: the metadata of each, with what was measured on the loaded module.
        history: a `modelselect.history.HistoryView` about these candidates and the dataset; None without a history.
    """

    candidates: tuple[str, ...]
    facts: tuple[Mapping[str, Any], ...]
    history: Any = None

    def take(self, places: Sequence[int]) -> Pool:
        """The candidates at these places."""
        return Pool(tuple(self.candidates[i] for i in places), tuple(self.facts[i] for i in places), self.history)


@runtime_checkable
class Weigher(Protocol):
    """An estimator that ranks a pool by several pieces of evidence: its scores, the history, facts of the candidates.

    If `select()` ranks by such an estimator, the score of a candidate is its posterior mean, and the leaderboard shows
    what each piece contributes. An estimator fulfils this contract by having the method `pieces`.
    """

    @property
    def name(self) -> str:
        """The estimator's name."""
        ...

    def pieces(self, scores: Sequence[Mapping[str, float]], pool: Pool | None = None) -> Sequence[Piece]:
        """The pieces of evidence about a pool.

        Args:
            scores: the components of each candidate, as the estimator's `score` returned them.
            pool: what else is known of the candidates; None where nothing is.
        """
        ...


def uses_history(estimator: Estimator) -> bool:
    """Whether the transfer history changes the estimator's scores: it reads the history, or weighs it as evidence."""
    return "history" in estimator.reads or isinstance(estimator, Weigher)


def history_metrics(estimators: Iterable[Estimator]) -> list[str]:
    """The names of those estimators whose scores on other datasets, not the accuracies, an estimator goes by.

    An estimator says so in an attribute `history_metric`, as `fennec` does.
    """
    found = (getattr(estimator, "history_metric", None) for estimator in estimators)
    return sorted({name for name in found if isinstance(name, str)})


def sole_weigher(estimators: Sequence[object]) -> Weigher | None:
    """The one estimator that a pool is ranked by, if it weighs evidence; None for another one, or for several.

    A mean rank over several estimators has no pieces.
    """
    only = estimators[0] if len(estimators) == 1 else None
    return only if isinstance(only, Weigher) else None
