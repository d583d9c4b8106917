"""`knn`, `linear_probe` and `h_score` for numbers, and the first two for sets of labels.

The tasks put them in the place of those for classes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import NotApplicableError
from modelselect.estimators.estimator import Estimator
from modelselect.evidence.evidence import Evidence
from modelselect.evidence.linear_algebra import solve_positive
from modelselect.tasks import MEAN_AVERAGE_PRECISION, R2, OneVsRest
from modelselect.tasks.one_vs_rest import FEWEST
from modelselect_plugins.estimators._shared.discriminant import shrunk
from modelselect_plugins.estimators._shared.distances import centred, nearest_rows
from modelselect_plugins.estimators._shared.folds import folds_of, sampled, standardised, standardised_in_span
from modelselect_plugins.estimators.h_score import HScore, ledoit_wolf_shrinkage
from modelselect_plugins.estimators.knn import KNN
from modelselect_plugins.estimators.linear_probe import LinearProbe, logistic_regression

Vector = NDArray[np.float64]


class NearestNumbers(KNN):
    """Leave-one-out R², in per cent, of the mean of the k nearest rows' numbers. `knn` on numbers.

    Args:
        k: number of neighbours; with fewer than k other rows, all of them.

    >>> import modelselect as ms
    >>> ms.score([[0.0], [0.1], [5.0], [5.1]], [[1.0], [1.0], [7.0], [7.0]], NearestNumbers())
    100.0
    """

    targets = frozenset({"numbers"})

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.features is not None
        assert evidence.labels is not None
        neighbours, _ = nearest_rows(centred(evidence.features), self.k)
        return {self.name: _per_cent(self.name, evidence.labels, evidence.labels[neighbours].mean(axis=1))}


class NearestLabels(KNN):
    """The mean over labels of the leave-one-out accuracy of the k nearest rows, in per cent. `knn` on sets of labels.

    The neighbours are searched once for all labels. If labels are missing, each label is scored on the rows where it is
    known. A label counts if two rows have it and two have it not.

    Args:
        k: number of neighbours; with fewer than k other rows, all of them.

    >>> import modelselect as ms
    >>> ms.score([[0.0], [0.1], [5.0], [5.1]], [[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]], NearestLabels())
    50.0
    """

    targets = frozenset({"label_sets"})

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.features is not None
        assert evidence.labels is not None
        sets = evidence.labels.astype(np.float64)
        counted = (sets.sum(axis=0) >= FEWEST) & ((1 - sets).sum(axis=0) >= FEWEST)
        if np.isnan(sets).any() or not counted.any():
            return OneVsRest(KNN(self.k)).score(evidence)
        neighbours, _ = nearest_rows(centred(evidence.features), self.k)
        votes = sets[neighbours].mean(axis=1)
        said = np.where(votes == 0.5, sets[neighbours[:, 0]], votes > 0.5)  # a tie goes to the nearest
        return {self.name: 100 * float((said == sets)[:, counted].mean())}


class RegressionProbe(Estimator):
    """R², in per cent, of ridge regression on frozen features in cross-validation. `linear_probe` on numbers.

    Features and numbers are standardised by the training folds.

    Args:
        folds: number of folds of the cross-validation.
        regularisation: inverse strength of the penalty: scikit-learn's `Ridge(alpha=1 / regularisation)`.
        max_rows: with more rows than this, one sample of this size; None uses all rows.

    >>> import modelselect as ms
    >>> x = np.linspace(0, 1, 40)[:, None]
    >>> ms.score(x, 3 * x + 1, RegressionProbe()) > 99
    True
    """

    name = "linear_probe"
    requires = LinearProbe.requires
    targets = frozenset({"numbers"})
    citation = LinearProbe.citation
    stochastic = True

    def __init__(self, folds: int = 5, regularisation: float = 1.0, max_rows: int | None = 10_000) -> None:
        self.folds = folds
        self.regularisation = regularisation
        self.max_rows = max_rows

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.features is not None
        assert evidence.labels is not None
        rng = np.random.default_rng(evidence.seed)
        features, numbers = evidence.features, evidence.labels
        if (rows := sampled(len(numbers), self.max_rows, rng)) is not None:
            features, numbers = features[rows], numbers[rows]
        predicted = np.empty(numbers.shape, np.float64)
        for test in folds_of(len(numbers), self.folds, rng):
            train = np.setdiff1d(np.arange(len(numbers)), test)
            x, x_test = standardised(features[train], features[test])
            mean, deviation = numbers[train].mean(axis=0), numbers[train].std(axis=0)
            deviation = np.where(deviation > 0, deviation, 1.0)
            y, penalty = (numbers[train] - mean) / deviation, 1 / self.regularisation
            if x.shape[1] > len(x):  # the smaller of the two systems
                solution = x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(len(x)), y)
            else:
                solution = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
            predicted[test] = x_test @ solution * deviation + mean
        return {self.name: _per_cent(self.name, numbers, predicted)}


class HScoreOfNumbers(HScore):
    """`tr(cov(f)^+ cov(E[f | y]))` with a linear E[f | y]: the sum of squared canonical correlations. On numbers.

    It lies between 0 and T, the number of targets. Of classes that are written as C numbers, 0 and 1, it is the
    `h_score` of the classes.

    Args:
        regularized: use the shrinkage of `h_score`; None: only if N <= D.

    >>> import modelselect as ms
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(100, 3))
    >>> round(ms.score(x, x[:, :1] + rng.normal(size=(100, 1)), HScoreOfNumbers()), 2)
    0.59
    """

    targets = frozenset({"numbers"})

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.labels is not None
        features = evidence.feature_statistics
        basis = _orthonormal(evidence.labels.astype(np.float64))
        if not basis.shape[1]:
            raise NotApplicableError(f"{self.name} needs numbers that differ, and these rows all have the same")
        scatter, shrinkage, factor = features.smaller_scatter, 0.0, 1.0
        if self.regularized or (self.regularized is None and features.n <= features.d):
            shrinkage = ledoit_wolf_shrinkage(features)
            scatter = shrunk(scatter / features.n, shrinkage, features.d)
            factor = (1 - shrinkage) / max(features.n - 1, 1)
        if features.is_wide:  # as for classes, without a D x D matrix
            explained = basis * solve_positive(scatter, features.smaller_scatter @ basis)
        else:
            along = features.cross(basis)
            explained = along * solve_positive(scatter, along)
        return {self.name: factor * float(explained.sum())}


class LabelProbe(LinearProbe):
    """mAP, in per cent, of a logistic regression for each label in cross-validation. `linear_probe` on sets of labels.

    Features are standardised by the training folds. Rows of which a label is not known do not count for it.

    Args:
        folds: number of folds of the cross-validation.
        regularisation: inverse strength of the penalty, scikit-learn's `C`.
        iterations: maximum number of iterations of L-BFGS.
        max_rows: with more rows than this, one sample of this size; None uses all rows.
    """

    targets = frozenset({"label_sets"})

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.features is not None
        assert evidence.labels is not None
        rng = np.random.default_rng(evidence.seed)
        features, sets = evidence.features, evidence.labels.astype(np.float64)
        if (rows := sampled(len(sets), self.max_rows, rng)) is not None:
            features, sets = features[rows], sets[rows]
        scores = np.zeros(sets.shape)
        for test in folds_of(len(sets), self.folds, rng):
            train = np.setdiff1d(np.arange(len(sets)), test)
            x, x_test = standardised_in_span(features[train], features[test])
            for column in range(sets.shape[1]):
                scores[test, column] = self._logits(x, sets[train, column], x_test)
        found = MEAN_AVERAGE_PRECISION.measure(sets, scores)
        if not np.isfinite(found):
            raise NotApplicableError(f"{self.name} needs a label that some rows have and others have not")
        return {self.name: 100 * found}

    def _logits(self, train: Vector, has: Vector, test: Vector) -> Vector:
        known = ~np.isnan(has)
        if not 0 < has[known].sum() < known.sum():  # all rows of these folds have the label, or none
            return np.zeros(len(test))
        weights, bias = logistic_regression(
            train[known], has[known].astype(np.int64), self.regularisation, self.iterations
        )
        return (test @ weights + bias)[:, 0]


def _orthonormal(numbers: Vector) -> Vector:
    """(N, rank) an orthonormal basis of the columns of (N, T), each minus its mean."""
    basis, sizes, _ = np.linalg.svd(numbers - numbers.mean(axis=0), full_matrices=False)
    least = np.finfo(np.float64).eps * max(numbers.shape) * max(np.abs(numbers).max(initial=0.0), 1e-300)
    spanned: Vector = basis[:, sizes > least * np.sqrt(len(numbers))]
    return spanned


def _per_cent(name: str, numbers: Vector, predicted: Vector) -> float:
    found = R2.measure(numbers.astype(np.float64), predicted)
    if not np.isfinite(found):
        raise NotApplicableError(f"{name} needs numbers that differ, and these rows all have the same")
    return 100 * found
