"""Cross-validation of linear models on features."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def folds_of(n_rows: int, folds: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """The row numbers of each fold, ascending; the rows are dealt out at random."""
    shuffled = rng.permutation(n_rows)
    return [np.sort(shuffled[first :: min(folds, n_rows)]) for first in range(min(folds, n_rows))]


def sampled(n_rows: int, max_rows: int | None, rng: np.random.Generator) -> NDArray[np.int64] | None:
    """The numbers of `max_rows` random rows, ascending; None if there are no more rows than that."""
    if max_rows is None or n_rows <= max_rows:
        return None
    return np.sort(rng.permutation(n_rows)[:max_rows])


def standardised(train: NDArray[np.floating[Any]], test: NDArray[np.floating[Any]]) -> tuple[Matrix, Matrix]:
    """Features in deviations of the training rows; a constant column, up to rounding, is only moved."""
    train, test = train.astype(np.float64), test.astype(np.float64)
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    deviation[deviation <= 1e-12 * np.abs(mean)] = 1.0
    return (train - mean) / deviation, (test - mean) / deviation
