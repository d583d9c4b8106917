"""Statistics of the features by class, each computed once and shared by all estimators."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import NotApplicableError
from modelselect.evidence.checks import freeze, shared
from modelselect.evidence.linear_algebra import EPSILON, Matrix, Vector, chunk_rows, scatter_of
from modelselect.evidence.statistics import FeatureStatistics

_DISTINCT = 1e-3  # minimum within-class share of the scatter; below, the subtraction loses digits


class ClassStatistics:
    """Statistics that need features and class labels.

    The classes are those with rows, in ascending order, numbered 0 .. C-1; labels may have gaps.

    Args:
        features: the statistics that need no labels.
        labels: (N,) integers; every row is labelled.

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
                f"this method needs class labels, but the targets have shape {labels.shape}; give (N,) integer labels, "
                "or use 'logme'"
            )
        self.features = features
        self.classes, codes = np.unique(labels, return_inverse=True)
        self.codes: NDArray[np.intp] = codes.astype(np.intp, copy=False)
        freeze((self.classes, self.codes))

    @property
    def unrotated(self) -> ClassStatistics:
        """The same over the features themselves; self if they are their own `coordinates`."""
        return self._unrotated if self.features.is_wide else self

    @shared
    def _unrotated(self) -> ClassStatistics:
        return ClassStatistics(self.features.unrotated, self.codes)

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.features.n

    @property
    def n_classes(self) -> int:
        """C, the number of classes with rows."""
        return len(self.classes)

    @shared
    def counts(self) -> NDArray[np.int64]:
        """(C,) number of rows of each class."""
        return np.bincount(self.codes, minlength=self.n_classes).astype(np.int64)

    @shared
    def priors(self) -> Vector:
        """(C,) counts / N."""
        return self.counts / self.n

    @shared
    def indices(self) -> tuple[NDArray[np.intp], ...]:
        """For each class, the numbers of its rows, ascending."""
        return tuple(np.split(np.argsort(self.codes, kind="stable"), np.cumsum(self.counts)[:-1]))

    @shared
    def deviations(self) -> Matrix:
        """(C, min(N, D)) class means minus the mean of all rows, in `coordinates`."""
        return self.means - self.features.mean

    @shared
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
            array: (n, K), the rows `rows` of an array.
            rows: which rows these are.
            weights: (n,) weights of the rows; 1 by default.
        """
        from scipy.sparse import csc_array

        codes = self.codes[rows]
        entries = np.ones(len(codes)) if weights is None else weights
        membership = csc_array((entries, codes, np.arange(len(codes) + 1)), shape=(self.n_classes, len(codes)))
        return np.asarray(membership @ array)

    @shared
    def between_class_scatter(self) -> Matrix:
        """Sum over classes of n_c (mean_c - mean)(mean_c - mean)'."""
        weighted = np.sqrt(self.counts)[:, None] * self.deviations
        return weighted.T @ weighted

    @shared
    def within_class_scatter(self) -> Matrix:
        """Sum over rows of (x - mean_c)(x - mean_c)', where c is the row's class.

        The total scatter minus the between-class scatter. If the classes are so distinct that this difference would
        lose digits, the sum is computed from the rows.
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
        """True if no class varies, up to rounding."""
        total = float(np.trace(self.features.smaller_scatter))
        within = total - float(self.counts @ np.square(self.unrotated.deviations).sum(axis=1))
        if within <= _DISTINCT * total:
            within = float(self.squared_deviations.sum())
        return bool(total == 0 or within <= EPSILON * total)

    @shared
    def squared_deviations(self) -> Vector:
        """(C,) for each class, the sum over its rows of |x - mean_c|^2."""
        result = np.zeros(self.n_classes)
        means = self.unrotated.means
        for rows, chunk in self.features.unrotated.chunks():
            codes = self.codes[rows]
            distances = np.square(chunk - means[codes]).sum(axis=1)
            result += np.bincount(codes, weights=distances, minlength=self.n_classes)
        return result

    def smaller_class_gram(self, index: int) -> Matrix:
        """For the rows Z of class number `index`, minus the mean of all rows: the smaller of ZZ' and Z'Z."""
        rows = self.indices[index]
        if self.features.is_wide:
            return self.features.smaller_scatter[np.ix_(rows, rows)]
        step = len(rows) if len(rows) <= self.features.width else chunk_rows(self.features.width)
        total: Matrix | None = None
        for start in range(0, len(rows), step):
            chunk = np.asarray(self.features.coordinates[rows[start : start + step]], dtype=np.float64)
            centred = chunk - self.features.mean
            part = centred @ centred.T if len(rows) <= self.features.width else centred.T @ centred
            total = part if total is None else np.add(total, part, out=total)
        assert total is not None
        return total
