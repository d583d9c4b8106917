"""H-score, the share of the features' variance that the labels explain, summed over whitened directions.

Y. Bao, Y. Li, S.-L. Huang, L. Zhang, L. Zheng, A. Zamir, L. Guibas: An information-theoretic approach to
transferability in task transfer learning, ICIP 2019; regularised form: S. Ibrahim, N. Ponomareva, R. Mazumder: Newer is
not always better: Rethinking transferability metrics, their peculiarities, stability and performance, ECML PKDD 2022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

import modelselect as ms
from modelselect.evidence.class_statistics import ClassStatistics
from modelselect.evidence.linear_algebra import Matrix, solve_positive
from modelselect.evidence.statistics import FeatureStatistics
from modelselect_plugins.estimators._shared.discriminant import shrunk
from modelselect_plugins.estimators._shared.regime import invalid_if_wide

_ROUNDING = 1e-12
"""Differences below this share of a squared norm are rounding."""


class HScore(ms.Estimator):
    """`tr(cov(f)^+ cov(E[f | y]))`: between 0 and C - 1.

    It is the share of the features' variance that the labels explain, summed over whitened directions. If the class
    means are far apart relative to the spread of all rows, a linear classifier has an easy task.

    In short: Spread between classes against the total spread.

    Formula: `tr(cov(f)^+ cov(E[f | y]))`; regularised: `(1 - a) tr(cov_a(f)^-1 cov(E[f | y]))`, where cov_a is the
    covariance with Ledoit and Wolf's shrinkage by an amount a.

    Args:
        regularized: use the shrinkage; None: only if N <= D.

    Limits: Without shrinkage the score is C - 1 for any labels if N <= D (a warning says so, and a mean rank over
    several estimators leaves it out), and it grows with D / N before that. So a candidate with N slightly above D has
    a higher score than the same features with shrinkage: if some candidates of a pool have N <= D, use
    `regularized=True`.

    Code and paper: Both forms agree with the common code, in which cov(E[f | y]) is divided by N - 1, and the shrunk
    cov(f) by N. The choice by N and D is our addition.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> features = rng.normal(size=(100, 8)) + labels[:, None]
    >>> round(ms.score(features, labels, HScore()), 2)
    0.69
    """

    name = "h_score"
    requires = frozenset({"features", "labels"})
    citation = (
        "Y. Bao, Y. Li, S.-L. Huang, L. Zhang, L. Zheng, A. Zamir, L. Guibas: An information-theoretic approach to "
        "transferability in task transfer learning, ICIP 2019"
    )
    version = 2

    def __init__(self, regularized: bool | None = None) -> None:
        self.regularized = regularized

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        features, classes = evidence.feature_statistics, evidence.statistics
        if self.regularized or (self.regularized is None and features.n <= features.d):
            shrinkage = ledoit_wolf_shrinkage(features)
            covariance = shrunk(features.smaller_scatter / features.n, shrinkage, features.d)
            factor = (1 - shrinkage) / max(features.n - 1, 1)
            if features.is_wide:
                return {self.name: factor * _explained_by_products(classes, covariance)}
        else:
            invalid_if_wide(
                self.name, features, "is the number of classes less one, whatever the labels", "Use regularized=True."
            )
            if features.has_independent_rows:
                return {self.name: float(classes.n_classes - 1)}
            covariance, factor = features.scatter, 1.0
        deviations = classes.deviations
        explained = classes.counts[:, None] * deviations * solve_positive(covariance, deviations.T).T
        return {self.name: factor * float(explained.sum())}


def _explained_by_products(classes: ClassStatistics, shrunk_products: Matrix) -> float:
    """Sum over classes of `n_c m_c' A^-1 m_c`, with m_c the class mean minus the mean of all rows, for N < D.

    With Z the centred rows, `A = a Z'Z + b I` is the shrunk covariance and `shrunk_products` is `a ZZ' + b I`. Since
    `Z A^-1 Z' = ZZ' (a ZZ' + b I)^-1`, no D x D matrix and no coordinates are needed.
    """
    every = slice(0, classes.n)
    sums = classes.sum_by_class(classes.features.smaller_scatter, every) / classes.counts[:, None]
    solved = solve_positive(shrunk_products, sums.T)
    return float(np.trace(classes.sum_by_class(solved, every)))


def ledoit_wolf_shrinkage(features: FeatureStatistics) -> float:
    """How far to shrink the covariance (ddof 0) to a multiple of the identity: 0 (not at all) to 1.

    Source: O. Ledoit, M. Wolf: A well-conditioned estimator for large-dimensional covariance matrices, 2004.
    """
    n, d = features.n, features.d
    trace = float(np.trace(features.smaller_scatter)) / n
    squared_norm = float(np.square(features.smaller_scatter).sum()) / n**2
    distance = (squared_norm - trace * trace / d) / d  # between the covariance and the multiple of the identity
    error = (float(np.square(features.squared_norms).sum()) / n - squared_norm) / (n * d)
    # A covariance that is a multiple of the identity, as every one in one dimension, leaves only rounding.
    return min(error, distance) / distance if distance > _ROUNDING * squared_norm / d else 0.0


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [HScore()]
