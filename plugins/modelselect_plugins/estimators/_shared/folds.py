"""Cross-validation of linear models on features."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.evidence.linear_algebra import well_conditioned_factor

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


def standardised_in_span(train: NDArray[np.floating[Any]], test: NDArray[np.floating[Any]]) -> tuple[Matrix, Matrix]:
    """The same or, if there are fewer training rows than dimensions, their coordinates in the span of these rows.

    The weights of a linear model whose penalty is invariant to rotations lie in that span. So the model is the same,
    and smaller. Coordinates are the rows of the Cholesky factor of the inner products. These are singular, since the
    mean of the rows is 0. So each row gets one number more, the same for all, which goes when the mean is subtracted.

    Returns:
        (N, min(N, D)) training rows and (M, min(N, D)) test rows.
    """
    train, test = standardised(train, test)
    if train.shape[1] <= len(train):
        return train, test
    products = train @ train.T
    added = np.trace(products) / len(train) ** 2
    factor = well_conditioned_factor(products + added)
    if factor is None:  # rows depend on each other
        basis = np.linalg.qr(train.T)[0]
        return train @ basis, test @ basis
    from scipy.linalg import solve_triangular

    coordinates = solve_triangular(factor, train @ test.T + added, lower=True, check_finite=False).T
    mean = factor.mean(axis=0)
    return factor - mean, coordinates - mean
