"""What estimators share: scatter matrices, decompositions, projections, class means; each computed once per evidence.

Everything is lazy, in float64, and computed from chunks of rows, so that memory-mapped float32 features are never
copied whole. Results do not depend on the order in which they are requested: they are the same to the last bit, whether
one estimator runs or thirty.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.evidence.checks import shared
from modelselect.evidence.linear_algebra import (
    CPU,
    EPSILON,
    Matrix,
    Tridiagonal,
    Vector,
    chunk_rows,
    chunks_of,
    positive_eigh,
    scatter_of,
    well_conditioned_factor,
)

_LEADING = 64  # principal components that several methods need, computed together and alone


class FeatureStatistics:
    """Statistics that need only features.

    If there are fewer rows than dimensions, matrices are expressed in an orthonormal basis of the rows' span:
    `coordinates` keep all inner products and distances, and matrices have the smaller side, `min(N, D)`. Neither the
    basis nor the coordinates are computed for what follows from the rows or from their inner products.

    Args:
        features: (N, D) floats; never changed.
        device: where products and decompositions are computed: on a CUDA device (in float64), or, for any other value,
            on the CPU.
        rotate: False keeps the features as `coordinates`, also if there are fewer rows than dimensions.

    >>> statistics = FeatureStatistics(np.array([[0.0, 0.0, 3.0], [4.0, 0.0, 3.0]]))
    >>> statistics.n, statistics.d, statistics.width
    (2, 3, 2)
    >>> bool(np.isclose(statistics.total_variance, 8.0))
    True
    """

    def __init__(self, features: NDArray[np.floating[Any]], device: str = CPU, rotate: bool = True) -> None:
        self.features = features
        self.device = device if device.split(":")[0] == "cuda" else CPU
        self.n: int = features.shape[0]
        self.d: int = features.shape[1]
        self.rotate = rotate

    @property
    def width(self) -> int:
        """The number of columns of `coordinates`: the smaller side, min(N, D)."""
        return self.n if self.is_wide else self.d

    @property
    def is_wide(self) -> bool:
        """True if there are fewer rows than dimensions, so that `coordinates` are not the features."""
        return self.rotate and self.n < self.d

    @property
    def unrotated(self) -> FeatureStatistics:
        """The same features, which are their own `coordinates`; self if there are as many rows as dimensions."""
        return self._unrotated if self.is_wide else self

    @shared
    def _unrotated(self) -> FeatureStatistics:
        return FeatureStatistics(self.features, self.device, rotate=False)

    @property
    def coordinates(self) -> NDArray[np.floating[Any]]:
        """(N, min(N, D)): the features or, if there are fewer rows than dimensions, their coordinates in `basis`."""
        return self._triangle if self.is_wide else self.features

    @shared
    def basis(self) -> Matrix | None:
        """(D, N) orthonormal basis of the rows' span: `features = coordinates @ basis.T`; None if N >= D."""
        if not self.is_wide:
            return None
        if self.has_independent_rows:
            return self.in_feature_space(np.eye(self.n))
        orthonormal: Matrix = np.linalg.qr(np.asarray(self.features, dtype=np.float64).T)[0]
        return orthonormal

    def in_feature_space(self, vectors: Matrix) -> Matrix:
        """(D, k): `basis` times (min(N, D), k) vectors in `coordinates`; a basis is not formed for it."""
        if not self.is_wide:
            return vectors
        if not self.has_independent_rows:
            assert self.basis is not None
            result: Matrix = self.basis @ vectors
            return result
        from scipy.linalg import solve_triangular

        weights = solve_triangular(self._triangle, vectors, lower=True, trans="T", check_finite=False)
        return self.unrotated.cross(weights)

    @property
    def has_independent_rows(self) -> bool:
        """True if the rows are linearly independent, and not only by rounding errors; False if N >= D."""
        return self._factor is not None

    @shared
    def _factor(self) -> Matrix | None:
        return well_conditioned_factor(self.products) if self.is_wide else None

    @shared
    def _triangle(self) -> Matrix:
        if self._factor is not None:
            return self._factor
        triangle: Matrix = np.linalg.qr(np.asarray(self.features, dtype=np.float64).T, mode="r")  # type: ignore[assignment]
        return np.ascontiguousarray(triangle.T)

    @shared
    def ones(self) -> Vector:
        """(min(N, D),) the vector of D ones, projected on the rows' span, in `coordinates`."""
        if not self.is_wide:
            return np.ones(self.d)
        if not self.has_independent_rows:
            assert self.basis is not None
            return np.asarray(self.basis.sum(axis=0))
        from scipy.linalg import solve_triangular

        sums = self.features.sum(axis=1, dtype=np.float64)
        result: Vector = solve_triangular(self._triangle, sums, lower=True, check_finite=False)
        return result

    def chunks(self) -> Iterator[tuple[slice, Matrix]]:
        """`coordinates` in float64, a slice of rows at a time. A chunk may be a view: do not write to it."""
        yield from chunks_of(self.coordinates)

    def centred_chunks(self) -> Iterator[tuple[slice, Matrix]]:
        """Like `chunks`, minus the mean. All chunks share one writable buffer, valid until the next chunk."""
        buffer = np.empty((min(chunk_rows(self.width), self.n), self.width))
        for rows, chunk in self.chunks():
            yield rows, np.subtract(chunk, self.mean, out=buffer[: len(chunk)])

    @shared
    def mean(self) -> Vector:
        """(min(N, D),) of `coordinates`."""
        total = np.zeros(self.width)
        for _, chunk in self.chunks():
            total += chunk.sum(axis=0)
        return total / self.n

    @shared
    def scatter(self) -> Matrix:
        """Total scatter: sum over rows of (x - mean)(x - mean)'. Zero if the rows are equal up to rounding."""
        return self._unless_equal(scatter_of((chunk for _, chunk in self.centred_chunks()), self.width, self.device))

    @shared
    def _centred_products(self) -> Matrix:
        mean = self.unrotated.mean
        step = chunk_rows(self.n)
        columns = (slice(start, start + step) for start in range(0, self.d, step))
        parts = (np.subtract(self.features[:, part], mean[part], dtype=np.float64).T for part in columns)
        return self._unless_equal(scatter_of(parts, self.n, self.device))

    def _unless_equal(self, scatter: Matrix) -> Matrix:
        return scatter if np.trace(scatter) > self._rounding**2 else np.zeros_like(scatter)

    @property
    def smaller_scatter(self) -> Matrix:
        """With Z the rows minus their mean, the smaller of ZZ' and Z'Z: both have the same positive eigenvalues."""
        return self._centred_products if self.is_wide else self.scatter

    @shared
    def products(self) -> Matrix:
        """(N, N) inner products of the rows; only if there are fewer rows than dimensions.

        Computed from those of the centred rows, since adding the mean's part loses no digits.
        """
        mean = self.unrotated.mean
        return self._centred_products + (self.along_mean[:, None] + (self.along_mean + mean @ mean))

    @shared
    def along_mean(self) -> Vector:
        """(N,) inner product of each row, minus the mean, with the mean; zero if the rows are equal up to rounding."""
        result = np.zeros(self.n)
        if not self.smaller_scatter.any():
            return result
        for rows, chunk in self.unrotated.centred_chunks():
            result[rows] = chunk @ self.unrotated.mean
        return result

    @shared
    def _rounding(self) -> float:
        """Upper bound of the norm, over all rows, that rounding leaves after subtracting the mean from equal rows."""
        return float(max(self.n, self.d) * EPSILON * np.sqrt(self.n) * np.linalg.norm(self.unrotated.mean))

    @shared
    def gram(self) -> Matrix:
        """Uncentred: sum over rows of x x'. Computed from the scatter, since adding the mean's part loses no digits."""
        return self.scatter + self.n * np.outer(self.mean, self.mean)

    @shared
    def total_variance(self) -> float:
        """Trace of the covariance matrix, with denominator N - 1 (1 if there is one row)."""
        return float(np.trace(self.smaller_scatter)) / max(self.n - 1, 1)

    @shared
    def scatter_eigh(self) -> tuple[Vector, Matrix]:
        """Eigenvalues, ascending, and eigenvectors (columns) of `scatter`. Values below rounding are exactly zero."""
        return positive_eigh(self.scatter, self.device)

    @shared
    def gram_eigh(self) -> tuple[Vector, Matrix]:
        """Eigenvalues, ascending, and eigenvectors (columns) of `gram`. Values below rounding are exactly zero.

        If N <= D, from the singular values of the features, which keep twice the digits.
        """
        if self.n > self.d:
            return positive_eigh(self.gram, self.device)
        _, singular, vectors = np.linalg.svd(np.asarray(self.coordinates, dtype=np.float64))
        singular[singular <= singular[0] * self.n * EPSILON] = 0.0
        return np.square(singular[::-1]), vectors[::-1].T

    @shared
    def tridiagonal(self) -> Tridiagonal:
        """Of the smaller one of F'F and FF', where F are the features, not centred."""
        return Tridiagonal.of(self.products if self.is_wide else self.gram)

    @shared
    def singular_values(self) -> Vector:
        """(min(N, D),) singular values of the centred features, descending."""
        from scipy.linalg import eigvalsh

        values = eigvalsh(self.smaller_scatter, check_finite=False)[::-1]
        return np.sqrt(np.maximum(values, 0.0))

    def explained_variance(self, k: int) -> Vector:
        """Variances (ddof 1) of the first `k` principal components, descending; at most min(N, D) of them."""
        return self._spectrum(k)[0][:k] / max(self.n - 1, 1)

    def components(self, k: int) -> Matrix:
        """(min(N, D), k) principal axes in `coordinates`. In feature space, each axis's largest entry is positive."""
        axes = self.scatter_eigh[1][:, ::-1][:, :k] if self.is_wide else self._spectrum(k)[1][:, :k]
        axes = axes * _signs(self.in_feature_space(axes))
        axes.flags.writeable = False
        return axes

    def principal_components(self, k: int) -> Matrix:
        """(N, k) centred features projected on the first `k` principal axes: exact, not randomised.

        At most min(N, D) columns. Components below the rounding error (directions in which the features do not vary)
        are exactly zero. If there are fewer rows than dimensions, they are the eigenvectors of the rows' inner products
        times the singular values.
        """
        return self._leading_projection[:, :k] if k <= _LEADING else self._projection(k)

    @shared
    def _leading_projection(self) -> Matrix:
        return self._projection(_LEADING)

    def _projection(self, k: int) -> Matrix:
        if self.is_wide:
            values, vectors = (part[..., :k] for part in self._spectrum(k))
            projected = vectors * np.sqrt(values)
            projected *= _signs(self.unrotated.cross(projected))  # the axes, times the singular values
        else:
            axes = self.components(k)
            projected = np.empty((self.n, axes.shape[1]))
            for rows, chunk in self.centred_chunks():
                np.matmul(chunk, axes, out=projected[rows])
        largest = np.sqrt(np.square(projected).sum(axis=0).max(initial=0.0))
        nothing = max(largest * self.width * EPSILON, self._rounding)
        projected[:, np.linalg.norm(projected, axis=0) <= nothing] = 0.0
        projected.flags.writeable = False
        return projected

    def _spectrum(self, k: int) -> tuple[Vector, Matrix]:
        """At least the first `k` eigenvalues, descending, and eigenvectors of `smaller_scatter`."""
        if k <= _LEADING:
            return self._leading
        values, vectors = self._smaller_scatter_eigh
        return values[::-1], vectors[:, ::-1]

    @property
    def _smaller_scatter_eigh(self) -> tuple[Vector, Matrix]:
        return self._centred_products_eigh if self.is_wide else self.scatter_eigh

    @shared
    def _centred_products_eigh(self) -> tuple[Vector, Matrix]:
        return positive_eigh(self._centred_products, self.device)

    @shared
    def _leading(self) -> tuple[Vector, Matrix]:
        from scipy.linalg import eigh

        first = max(self.width - _LEADING, 0)
        if first == 0 or self.device != CPU:
            values, vectors = (part[..., first:] for part in self._smaller_scatter_eigh)
        else:
            window = (first, self.width - 1)
            values, vectors = eigh(self.smaller_scatter, subset_by_index=window, driver="evr", check_finite=False)
            values[values <= values[-1] * self.width * EPSILON] = 0.0
        return values[::-1], vectors[:, ::-1]

    @shared
    def squared_norms(self) -> Vector:
        """(N,) squared distance of each row from the mean row."""
        norms = np.empty(self.n)
        for rows, chunk in self.unrotated.centred_chunks():
            norms[rows] = np.square(chunk, out=chunk).sum(axis=1)
        return norms

    def cross(self, targets: NDArray[np.floating[Any]]) -> Matrix:
        """(min(N, D), T): `coordinates` transposed times (N, T) targets."""
        result = np.zeros((self.width, targets.shape[1]))
        for rows, chunk in self.chunks():
            result += chunk.T @ targets[rows]
        return result


def _signs(vectors: Matrix) -> Vector:
    """(k,) -1 for each column whose largest entry is negative, and 1 for the others."""
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])]
    return np.where(largest < 0, -1.0, 1.0)
