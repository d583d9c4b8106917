"""Whether a probe's accuracies are higher than guessing gives: binomial tests, corrected for their number."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelselect.errors import InvalidInputError
from modelselect.evidence.linear_algebra import Vector

PROPORTIONAL: Mapping[str, bool] = {"knn": True, "linear_probe": False}
"""By estimator, whether its guesses are distributed like the classes.

The nearest neighbour of a row is another row, with its class. So guesses are right with the probability `sum of p²`
over the shares p of the classes. A regression may learn to guess the largest class, which is right with the probability
`max p`.
"""

ROWS_AS_ONE = 2.0
"""Rows that count as one independent row.

Two rows that are each other's nearest are both right or both wrong, and folds share training rows. On noise of 2 to 256
dimensions the variance of both accuracies was at most 1.9 times that of independent rows.
"""


_MOST_TERMS = 2000
"""Terms of a continued fraction, at most. A million rows need 400."""


def better_than_guessing(
    accuracies: Mapping[str, ArrayLike], counts: ArrayLike, level: float = 0.05
) -> NDArray[np.bool_]:
    """Which candidates' features tell the classes apart, by accuracies on rows that were not learned from.

    Each accuracy is compared with the rate of right guesses by a one-sided binomial test. The best of many accuracies
    is above that rate by chance, so `level` is divided by their number (Bonferroni). If no candidate passes, none is
    better than guessing.

    The rate is that of the method. The nearest neighbour's guesses are distributed like the classes (`sum of p²` over
    the shares p of the classes). A linear probe is compared with the share of the largest class.

    Args:
        accuracies: (n,) scores in per cent of the candidates, by estimator: `knn` with k = 1, `linear_probe`, or both;
            NaN where a candidate has none.
        counts: (C,) rows of each class, of those rows that the accuracies were measured on.
        level: the probability that any candidate passes if no features say anything of the classes.

    Returns:
        (n,) True for a candidate with an accuracy that is higher than guessing gives. False as well where the
        rows are too few to tell.

    Raises:
        InvalidInputError: another estimator, lengths that differ, fewer than two classes, or accuracies that are no per
            cent.

    >>> better_than_guessing({"knn": [26.0, 31.0, 70.0]}, counts=[25, 25, 25, 25]).tolist()
    [False, False, True]
    """
    rows = np.asarray(counts, dtype=np.float64)
    columns = {name: np.asarray(column, dtype=np.float64) for name, column in accuracies.items()}
    _check(columns, rows, level)
    known = np.sum([np.isfinite(column).sum() for column in columns.values()])
    answers = [
        _chance(column / 100, rows, PROPORTIONAL[name]) < level / max(known, 1) for name, column in columns.items()
    ]
    answer: NDArray[np.bool_] = np.any(answers, axis=0)
    return answer


def _chance(accuracies: Vector, counts: Vector, proportional: bool) -> Vector:
    """(n,) probability that guessing is at least as accurate; NaN where there is no accuracy."""
    shares = counts / counts.sum()
    rate = float(np.square(shares).sum() if proportional else shares.max())
    rows = counts.sum() / ROWS_AS_ONE
    right = np.clip(accuracies * rows, 0, rows)
    # The upper tail of the binomial distribution, continued to numbers of rows that are not whole.
    tails = [
        1.0 if not count > 0 else _incomplete_beta(max(count, 1e-9), rows - count + 1, rate) for count in right.tolist()
    ]
    return np.where(np.isnan(accuracies), np.nan, tails)


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (DLMF 8.17.22), to 9 digits.

    `scipy.special.betainc` gives the same; importing it takes longer than all else that a second run does here.
    """
    if not 0 < x < 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # where the fraction of the complement converges faster
        return 1 - _incomplete_beta(b, a, 1 - x)
    smallest, value, numerator, denominator = 1e-300, 1.0, 1.0, 0.0
    for step in range(_MOST_TERMS):
        m = step // 2
        if step == 0:
            term = 1.0
        elif step % 2 == 0:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        denominator = 1 / (1 + term * denominator or smallest)
        numerator = (1 + term / numerator) or smallest
        value *= numerator * denominator
        if abs(numerator * denominator - 1) < 1e-15:
            break
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(logarithm) * (value - 1) / a


def _check(columns: Mapping[str, Vector], counts: Vector, level: float) -> None:
    if not columns or not columns.keys() <= PROPORTIONAL.keys():
        raise InvalidInputError(
            f"got accuracies of {', '.join(columns) or 'no estimator'}; expected {' or '.join(PROPORTIONAL)}"
        )
    shapes = {column.shape for column in columns.values()}
    if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
        raise InvalidInputError(f"got accuracies of shapes {sorted(shapes)}; expected one number for each candidate")
    if counts.ndim != 1 or (counts > 0).sum() < 2 or (counts < 0).any():
        raise InvalidInputError(f"got {counts.tolist()} rows of the classes; expected at least two classes with rows")
    if not all(((column >= 0) & (column <= 100) | np.isnan(column)).all() for column in columns.values()):
        raise InvalidInputError("got accuracies below 0 or above 100; expected per cent")
    if not 0 < level < 1:
        raise InvalidInputError(f"level is {level!r}; expected a probability between 0 and 1, such as 0.05")
