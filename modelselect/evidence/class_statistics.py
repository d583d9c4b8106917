"""Statistics of the features by class, each computed once and shared by all estimators."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import NotApplicableError
from modelselect.evidence.linear_algebra import EPSILON, Matrix, Vector, chunk_rows, scatter_of
from modelselect.evidence.statistics import FeatureStatistics

_DISTINCT = 1e-3  # share of the within-class scatter below which subtracting the between-class part loses digits


class ClassStatistics:
    """What can be computed from features and class labels.

    Classes are those that are present, in ascending order, numbered 0 .. C-1: gaps in the labels do no harm.

    Args:
        features: the label-free statistics, shared.
        labels: (N,) integers, all of them labelled.

    Raises:
        NotApplicableError: the labels are (N, T) targets.

    >>> features = FeatureStatistics(np.array([[0.0], [2.0], [7.0]]))
    >>> statistics = ClassStatistics(features, np.array([3, 3, 8]))
    >>> statistics.classes.tolist(), statistics.counts.tolist(), statistics.means.tolist()
    ([3, 8], [2, 1], [[1.0], [7.0]])
    """

    def __init__(self, features: FeatureStatistics, labels: NDArray[np.integer[Any]]) -> None:
        if labels.ndim != 1:
            raise NotApplicableError(
                f"this method is defined for classes and was given targets of shape {labels.shape}; give (N,) integer "
                "labels, or use 'logme'"
            )
        self.features = features
        self.classes, codes = np.unique(labels, return_inverse=True)
        self.codes: NDArray[np.intp] = codes.astype(np.intp, copy=False)

    @property
    def n(self) -> int:
        """Rows."""
        return self.features.n

    @property
    def n_classes(self) -> int:
        """C: the classes that are present."""
        return len(self.classes)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(C,) rows of each class."""
        return np.bincount(self.codes, minlength=self.n_classes).astype(np.int64)

    @cached_property
    def priors(self) -> Vector:
        """(C,) counts / N."""
        return self.counts / self.n

    @cached_property
    def indices(self) -> list[NDArray[np.intp]]:
        """For each class its rows' numbers, ascending."""
        return np.split(np.argsort(self.codes, kind="stable"), np.cumsum(self.counts)[:-1])

    @cached_property
    def deviations(self) -> Matrix:
        """(C, min(N, D)) class means less the mean of all, in `coordinates`."""
        return self.means - self.features.mean

    @cached_property
    def means(self) -> Matrix:
        """(C, min(N, D)) class means, in `coordinates`."""
        sums = np.zeros((self.n_classes, self.features.width))
        for rows, chunk in self.features.chunks():
            sums += self.sum_by_class(chunk, rows)
        result: Matrix = sums / self.counts[:, None]
        return result

    def sum_by_class(self, array: Matrix, rows: slice, weights: Vector | None = None) -> Matrix:
        """(C, K) sums over the rows of each class.

        Args:
            array: (n, K), which holds the rows `rows`.
            rows: which.
            weights: (n,) of the rows; one by default.
        """
        from scipy.sparse import csc_array

        codes = self.codes[rows]
        entries = np.ones(len(codes)) if weights is None else weights
        membership = csc_array((entries, codes, np.arange(len(codes) + 1)), shape=(self.n_classes, len(codes)))
        return np.asarray(membership @ array)

    @cached_property
    def between_class_scatter(self) -> Matrix:
        """Sum over classes of n_c (mean_c - mean)(mean_c - mean)'."""
        weighted = np.sqrt(self.counts)[:, None] * self.deviations
        return weighted.T @ weighted

    @cached_property
    def within_class_scatter(self) -> Matrix:
        """Sum over rows of (x - mean_c)(x - mean_c)', c the row's class.

        The total scatter less the between-class part; where the classes are so distinct that the difference would lose
        digits, from the rows themselves.
        """
        if not self.features.scatter.any():
            return np.zeros_like(self.features.scatter)  # all rows are equal
        difference = self.features.scatter - self.between_class_scatter
        if np.trace(difference) > _DISTINCT * np.trace(self.features.scatter):
            return difference
        means = self.means
        centred = (chunk - means[self.codes[rows]] for rows, chunk in self.features.chunks())
        return scatter_of(centred, self.features.width)

    @property
    def is_collapsed(self) -> bool:
        """True if no class varies, to working precision."""
        return bool(np.trace(self.within_class_scatter) <= EPSILON * np.trace(self.features.scatter))

    @cached_property
    def squared_deviations(self) -> Vector:
        """(C,) for each class the sum over its rows of |x - mean_c|^2."""
        result = np.zeros(self.n_classes)
        for rows, chunk in self.features.chunks():
            codes = self.codes[rows]
            distances = np.square(chunk - self.means[codes]).sum(axis=1)
            result += np.bincount(codes, weights=distances, minlength=self.n_classes)
        return result

    def smaller_class_gram(self, index: int) -> Matrix:
        """Of the rows Z of class number `index`, less the mean of all: ZZ' or Z'Z, whichever has fewer entries."""
        rows = self.indices[index]
        step = len(rows) if len(rows) <= self.features.width else chunk_rows(self.features.width)
        total: Matrix | None = None
        for start in range(0, len(rows), step):
            chunk = np.asarray(self.features.coordinates[rows[start : start + step]], dtype=np.float64)
            centred = chunk - self.features.mean
            part = centred @ centred.T if len(rows) <= self.features.width else centred.T @ centred
            total = part if total is None else np.add(total, part, out=total)
        assert total is not None
        return total
