"""Linear discriminant analysis from class statistics; equal to scikit-learn's two solvers, which use the rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelselect.evidence.class_statistics import ClassStatistics
from modelselect.evidence.linear_algebra import Matrix, Vector, softmax
from modelselect.evidence.statistics import FeatureStatistics

_TOLERANCE = 1e-4  # of singular values, as in scikit-learn


class LinearDiscriminant(NamedTuple):
    """A linear classifier with Gaussian classes of equal covariance, and the projection that separates them best.

    Attributes:
        weights: (C, D).
        offsets: (C,), including log priors.
        transform: (D, at most C - 1) projection.
    """

    weights: Matrix
    offsets: Vector
    transform: Matrix

    def posteriors(self, features: FeatureStatistics) -> Matrix:
        """(N, C) class probabilities of each row of `coordinates`."""
        return posteriors(features, self.weights, self.offsets)


def posteriors(features: FeatureStatistics, weights: Matrix, offsets: Vector) -> Matrix:
    """(N, C) softmax of `coordinates @ weights.T + offsets`."""
    result = np.empty((features.n, len(weights)))
    for rows, chunk in features.chunks():
        result[rows] = softmax(chunk @ weights.T + offsets)
    return result


def mean_of_true_class(probabilities: Matrix, codes: NDArray[np.intp]) -> float:
    """The mean over rows of the probability given to the row's own class."""
    return float(probabilities[np.arange(len(codes)), codes].mean())


def discriminant(classes: ClassStatistics) -> LinearDiscriminant:
    """Without shrinkage; directions without within-class variance are left out (scikit-learn's solver `"svd"`).

    The covariance is the scatter over N, as in scikit-learn's current releases (older ones divide by N - C).
    """
    scatter = classes.within_class_scatter
    deviation = np.sqrt(np.diagonal(scatter) / classes.n)
    deviation = np.where(deviation > 0, deviation, 1.0)
    values, vectors = np.linalg.eigh(scatter / classes.n / np.outer(deviation, deviation))
    kept = values > _TOLERANCE**2
    whitening = vectors[:, kept] / deviation[:, None] / np.sqrt(values[kept])

    between = np.sqrt(classes.counts / max(classes.n_classes - 1, 1))[:, None] * (classes.deviations @ whitening)
    _, singular, axes = np.linalg.svd(between, full_matrices=False)
    transform = whitening @ axes[singular > _TOLERANCE * singular.max(initial=0.0)].T

    projected = classes.deviations @ transform
    weights = projected @ transform.T
    offsets = np.log(classes.priors) - np.square(projected).sum(axis=1) / 2 - weights @ classes.features.mean
    return LinearDiscriminant(weights, offsets, transform[:, : classes.n_classes - 1])


def shrunk_discriminant(classes: ClassStatistics, shrinkage: float, target: str = "trace") -> LinearDiscriminant:
    """With the covariances shrunk to a multiple of the identity (scikit-learn's solver `"eigen"`).

    Args:
        classes: of the rows.
        shrinkage: a, from 0 to 1.
        target: `"trace"` for tr(S) / D I, as scikit-learn has it; `"identity"` for I.

    Raises:
        LinAlgError: no within-class variance at all.
    """
    from scipy.linalg import cho_solve, cholesky, eigh

    within, total = classes.within_class_scatter / classes.n, classes.features.scatter / classes.n
    if target == "identity":
        within, total = (with_diagonal((1 - shrinkage) * each, shrinkage) for each in (within, total))
    else:
        within, total = shrunk(within, shrinkage), shrunk(total, shrinkage)
    _, axes = eigh(total - within, within)
    means = classes.means
    weights = cho_solve((cholesky(within, lower=True), True), means.T).T
    offsets = np.log(classes.priors) - (weights * means).sum(axis=1) / 2
    return LinearDiscriminant(weights, offsets, axes[:, ::-1][:, : classes.n_classes - 1])


def shrunk(covariance: Matrix, shrinkage: float, dimensions: int | None = None) -> Matrix:
    """`(1 - a) S + a tr(S) / D I`; `dimensions` is D where the matrix lives in a subspace."""
    added = shrinkage * np.trace(covariance) / (dimensions or len(covariance))
    return with_diagonal((1 - shrinkage) * covariance, added)


def with_diagonal(matrix: Matrix, added: float) -> Matrix:
    """The matrix, whose diagonal `added` was added to, in place."""
    matrix[np.diag_indices_from(matrix)] += added
    return matrix
