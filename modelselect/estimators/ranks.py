"""Ranks within a pool: normalised, averaged, with ties."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from modelselect.errors import InvalidInputError
from modelselect.evidence.linear_algebra import Vector

TIE_DIGITS = 12
"""Decimals of a mean rank. More would let rounding, which depends on the order of summation, break ties."""


def normalised_ranks(scores: ArrayLike) -> Vector:
    """(n,) from 0 for the lowest to 1 for the highest; ties share their mean, a single score gets 0.5, NaN stays NaN.

    >>> normalised_ranks([3.0, float("nan"), 7.0, 3.0]).tolist()
    [0.25, nan, 1.0, 0.25]
    """
    from scipy.stats import rankdata

    given = np.asarray(scores, dtype=np.float64)
    there = ~np.isnan(given)
    ranks = np.full(given.shape, np.nan)
    n = int(there.sum())
    ranks[there] = (rankdata(given[there]) - 1) / (n - 1) if n > 1 else 0.5
    return ranks


def mean_rank(ranks: Mapping[str, Vector], weights: Mapping[str, float] | None = None) -> Vector:
    """Borda: (n,) weighted mean of normalised ranks over the estimators that rank a candidate; NaN if none does.

    Raises:
        InvalidInputError: a weight is negative, or all weights of the given estimators are zero.

    >>> mean_rank({"a": np.array([0.0, 1.0]), "b": np.array([1.0, np.nan])}, {"a": 3, "b": 1}).tolist()
    [0.25, 1.0]
    """
    given = dict.fromkeys(ranks, 1.0) if weights is None else {name: float(weights.get(name, 0)) for name in ranks}
    if min(given.values()) < 0 or not any(given.values()):
        raise InvalidInputError(
            f"weights are {dict(weights or {})}; expected numbers of 0 or more, and more than 0 for at least one of "
            f"{', '.join(ranks)}"
        )
    table = np.stack(list(ranks.values()))
    shares = np.array(list(given.values()))[:, None] * ~np.isnan(table)
    total = shares.sum(axis=0)
    summed = (shares * np.nan_to_num(table)).sum(axis=0)
    mean = np.full(table.shape[1], np.nan)
    np.divide(summed, total, out=mean, where=total > 0)
    return mean.round(TIE_DIGITS)
