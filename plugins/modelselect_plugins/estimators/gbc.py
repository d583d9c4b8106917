"""GBC, the overlap of classes as Gaussians: the Gaussian Bhattacharyya coefficient.

M. Pandy, A. Agostinelli, J. Uijlings, V. Ferrari, T. Mensink: Transferability estimation using Bhattacharyya class
separability, CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import modelselect as ms
from modelselect.errors import InvalidInputError
from modelselect.evidence.class_statistics import ClassStatistics
from modelselect.evidence.linear_algebra import Matrix, chunks_of

_DIMENSIONS = 64  # of the PCA
_FLOOR = 1e-4  # of each variance


class GBC(ms.Estimator):
    """Minus the sum of the Bhattacharyya coefficients of all ordered pairs of classes: 0 if no two classes overlap.

    Each class is modelled as a Gaussian in feature space. The less any two of them overlap, the easier it is to
    distinguish the classes, and the better the candidate.

    In short: How little the classes overlap, as Gaussians.

    Formula: features are projected on 64 principal components (or used unchanged if D is not larger). Each class has
    one variance v in all directions, the mean over directions of its unbiased variances, each at least 1e-4. Distance
    of two classes: `|mu_1 - mu_2|^2 / (8 v) + (log v - log v_1 / 2 - log v_2 / 2) / 2` with `v = (v_1 + v_2) / 2`;
    score: `-sum exp(-distance)`.

    Args:
        dimensions: number of principal components; None for unchanged features.
        covariance: `"spherical"` or `"diagonal"`.
        biased: divide the variances by n_c instead of n_c - 1.

    Limits: Depends on the scale of the features: if all distances are large, every candidate scores 0; if all are
    small, each scores -C (C - 1). A class with one row has only the minimum variance.

    Code and paper: This follows the authors' code, in which the logarithm counts once and not once for each direction.

    - There is one variance for each class. The other form of the authors has one for each direction, and sums distances
      over directions: `covariance="diagonal"`.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> features = rng.normal(size=(100, 8)) + labels[:, None]
    >>> round(ms.score(features, labels, GBC()), 2)
    -0.71
    """

    name = "gbc"
    requires = frozenset({"features", "labels"})
    citation = (
        "M. Pandy, A. Agostinelli, J. Uijlings, V. Ferrari, T. Mensink: Transferability estimation using Bhattacharyya "
        "class separability, CVPR 2022"
    )

    def __init__(
        self,
        dimensions: int | None = _DIMENSIONS,
        covariance: Literal["spherical", "diagonal"] = "spherical",
        biased: bool = False,
    ) -> None:
        self.dimensions = dimensions
        self.covariance = covariance
        self.biased = biased

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        if self.covariance not in ("spherical", "diagonal"):
            raise InvalidInputError(f"covariance is {self.covariance!r}; expected 'spherical' or 'diagonal'")
        features, classes = evidence.feature_statistics, evidence.statistics
        space = features.features
        if self.dimensions is not None and self.dimensions < features.d:
            space = features.principal_components(self.dimensions)
        means, variances = _moments(space, classes, self.biased)
        if self.covariance == "spherical":
            variances = variances.mean(axis=1, keepdims=True)
        return {self.name: -_overlap(means, variances)}


def _moments(space: NDArray[np.floating[Any]], classes: ClassStatistics, biased: bool) -> tuple[Matrix, Matrix]:
    """(C, K) means and variances of each class, the variances at least the floor."""
    counts = classes.counts[:, None]
    means = sum((classes.sum_by_class(chunk, rows) for rows, chunk in chunks_of(space)), np.zeros(space.shape[1]))
    means = means / counts
    squares = sum(
        (classes.sum_by_class(np.square(chunk - means[classes.codes[rows]]), rows) for rows, chunk in chunks_of(space)),
        np.zeros(space.shape[1]),
    )
    return means, np.maximum(squares / np.maximum(counts - (not biased), 1), _FLOOR)


def _overlap(means: Matrix, variances: Matrix) -> float:
    """Sum over ordered pairs of exp(-distance)."""
    logs = np.log(variances).sum(axis=1)
    total = 0.0
    for c in range(len(means) - 1):
        between = (variances[c + 1 :] + variances[c]) / 2
        distances = (np.square(means[c + 1 :] - means[c]) / between).sum(axis=1) / 8
        distances += (np.log(between).sum(axis=1) - (logs[c + 1 :] + logs[c]) / 2) / 2
        total += 2 * float(np.exp(-distances).sum())
    return total


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [GBC()]
