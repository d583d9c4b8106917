"""Ranks within a pool: normalised, averaged, with ties. Numbers that are equal up to rounding are ties everywhere."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import ArrayLike

from modelselect.errors import InvalidInputError
from modelselect.evidence.linear_algebra import Vector

RELATIVE_ROUNDING = 1e-9
"""Two scores tie if they differ by less than this share of the larger one.

Sums and decompositions in float64 err by 1e-15 to 1e-11 of their result, depending on the order of the operations.
Features are float32, with an error of 6e-8, so that no difference below this share comes from the data. The share is
taken of the two scores and not of the largest in the pool, since some scores span many orders of magnitude.
"""

ABSOLUTE_ROUNDING = 1e-14
"""Two scores tie if they differ by less than this: near 0 a sum of numbers near 1 has no relative accuracy."""


def with_ties(values: ArrayLike) -> Vector:
    """The values, where values that are equal up to rounding are replaced with the lowest of them.

    Args:
        values: (n,) numbers; those that are not finite stay as they are.

    >>> with_ties([5.0, 4.99999999999999, 4.9, float("nan")]).tolist()
    [4.99999999999999, 4.99999999999999, 4.9, nan]
    """
    merged = np.array(values, dtype=np.float64)
    finite = np.flatnonzero(np.isfinite(merged))
    ascending = finite[np.argsort(merged[finite], kind="stable")]
    ordered = merged[ascending]
    larger = np.maximum(np.abs(ordered[1:]), np.abs(ordered[:-1]))
    apart = np.diff(ordered) > np.maximum(RELATIVE_ROUNDING * larger, ABSOLUTE_ROUNDING)
    group = np.concatenate([[0], np.cumsum(apart)])[: len(ordered)]
    merged[ascending] = ordered[np.searchsorted(group, group)]
    return merged


def normalised_ranks(scores: ArrayLike) -> Vector:
    """(n,) from 0 for the lowest to 1 for the highest; ties share their mean, a single score gets 0.5, NaN stays NaN.

    >>> normalised_ranks([3.0, float("nan"), 7.0, 3.0]).tolist()
    [0.25, nan, 1.0, 0.25]
    """
    given = with_ties(scores)
    there = ~np.isnan(given)
    ranks = np.full(given.shape, np.nan)
    n = int(there.sum())
    ranks[there] = (mean_ranks(given[there]) - 1) / (n - 1) if n > 1 else 0.5
    return ranks


def mean_ranks(values: ArrayLike) -> Vector:
    """(n,) ranks of finite values, 1 for the lowest; equal values share their mean rank.

    >>> mean_ranks([3.0, 7.0, 3.0]).tolist()
    [1.5, 3.0, 1.5]
    """
    _, places, counts = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    ranks: Vector = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks


def voters(scores: Mapping[str, Vector], invalid: Collection[str]) -> list[str]:
    """Names of the estimators whose ranks are averaged: those whose scores are valid.

    All of them, if a candidate would have no rank otherwise.

    Args:
        scores: by estimator, (n,) scores or ranks; NaN where there is none.
        invalid: names of estimators that say of a candidate of this pool that its score is invalid. Their votes on the
            other candidates are left out, too: some candidates would be ranked by other estimators than the rest.

    >>> known, unknown = np.array([0.4, 0.5]), np.array([0.4, np.nan])
    >>> voters({"a": known, "b": known}, {"b"}), voters({"a": unknown, "b": known}, {"b"})
    (['a'], ['a', 'b'])
    """
    valid = [name for name in scores if name not in invalid]
    scored = [np.any([~np.isnan(scores[name]) for name in names], axis=0) for names in (list(scores), valid)]
    return valid if valid and (scored[0] == scored[1]).all() else list(scores)


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
    return with_ties(mean)
