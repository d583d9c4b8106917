"""Whether a probe's accuracies are higher than guessing gives: binomial tests, corrected for their number."""

from __future__ import annotations

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
    from scipy.special import betainc

    shares = counts / counts.sum()
    rate = float(np.square(shares).sum() if proportional else shares.max())
    rows = counts.sum() / ROWS_AS_ONE
    right = np.clip(accuracies * rows, 0, rows)
    # The upper tail of the binomial distribution, continued to numbers of rows that are not whole.
    tail: Vector = np.where(right > 0, betainc(np.maximum(right, 1e-9), rows - right + 1, rate), 1.0)
    return np.where(np.isnan(accuracies), np.nan, tail)


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
