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
    Vector,
    chunk_rows,
    chunks_of,
    positive_eigh,
    scatter_of,
)

_LEADING = 64  # principal components that several methods need, computed together and alone


class FeatureStatistics:
    """Statistics that need only features.

    If there are fewer rows than dimensions, everything is expressed in an orthonormal basis of the rows' span:
    `coordinates` keep all inner products and distances, and matrices have the smaller side, `min(N, D)`.

    Args:
        features: (N, D) floats; never changed.
        device: where products and decompositions are computed: on a CUDA device (in float64), or, for any other value,
            on the CPU.

    >>> statistics = FeatureStatistics(np.array([[0.0, 0.0, 3.0], [4.0, 0.0, 3.0]]))
    >>> statistics.n, statistics.d, statistics.width
    (2, 3, 2)
    >>> bool(np.isclose(statistics.total_variance, 8.0))
    True
    """

    def __init__(self, features: NDArray[np.floating[Any]], device: str = CPU) -> None:
        self.features = features
        self.device = device if device.split(":")[0] == "cuda" else CPU
        self.n: int = features.shape[0]
        self.d: int = features.shape[1]

    @property
    def width(self) -> int:
        """The smaller side, min(N, D): the number of columns of `coordinates`."""
        return min(self.n, self.d)

    @property
    def is_wide(self) -> bool:
        """True if there are fewer rows than dimensions."""
        return self.n < self.d

    @shared
    def basis(self) -> Matrix | None:
        """(D, N) orthonormal basis of the rows' span: `features = coordinates @ basis.T`; None if N >= D."""
        return self._rotation[0] if self.is_wide else None

    @property
    def coordinates(self) -> NDArray[np.floating[Any]]:
        """(N, min(N, D)): the features or, if there are fewer rows than dimensions, their coordinates in `basis`."""
        return self._rotation[1] if self.is_wide else self.features

    @shared
    def _rotation(self) -> tuple[Matrix, Matrix]:
        orthonormal, triangle = np.linalg.qr(np.asarray(self.features, dtype=np.float64).T)
        return orthonormal, np.ascontiguousarray(triangle.T)

    @shared
    def ones(self) -> Vector:
        """(min(N, D),) the vector of D ones, projected on the rows' span, in `coordinates`."""
        return np.ones(self.d) if self.basis is None else self.basis.sum(axis=0)

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
        scatter = scatter_of((chunk for _, chunk in self.centred_chunks()), self.width, self.device)
        return scatter if np.trace(scatter) > self._rounding**2 else np.zeros_like(scatter)

    @shared
    def _rounding(self) -> float:
        """Upper bound of the norm, over all rows, that rounding leaves after subtracting the mean from equal rows."""
        return float(max(self.n, self.d) * EPSILON * np.sqrt(self.n) * np.linalg.norm(self.mean))

    @shared
    def gram(self) -> Matrix:
        """Uncentred: sum over rows of x x'. Computed from the scatter, since adding the mean's part loses no digits."""
        return self.scatter + self.n * np.outer(self.mean, self.mean)

    @shared
    def total_variance(self) -> float:
        """Trace of the covariance matrix, with denominator N - 1 (1 if there is one row)."""
        return float(np.trace(self.scatter)) / max(self.n - 1, 1)

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
    def singular_values(self) -> Vector:
        """(min(N, D),) singular values of the centred features, descending."""
        from scipy.linalg import eigvalsh

        values = eigvalsh(self.scatter, check_finite=False)[::-1]
        return np.sqrt(np.maximum(values, 0.0))

    def explained_variance(self, k: int) -> Vector:
        """Variances (ddof 1) of the first `k` principal components, descending; at most min(N, D) of them."""
        values = self._leading[0] if k <= _LEADING else self.scatter_eigh[0][::-1]
        return values[:k] / max(self.n - 1, 1)

    def components(self, k: int) -> Matrix:
        """(min(N, D), k) principal axes in `coordinates`. In feature space, each axis's largest entry is positive."""
        axes = self._leading[1] if k <= _LEADING else self._all_axes
        return axes[:, :k]

    def principal_components(self, k: int) -> Matrix:
        """(N, k) centred features projected on the first `k` principal axes: exact, not randomised.

        At most min(N, D) columns. Components below the rounding error (directions in which the features do not vary)
        are exactly zero.
        """
        if k <= _LEADING:
            return self._leading_projection[:, :k]
        return self._project(self.components(k))

    @shared
    def _leading(self) -> tuple[Vector, Matrix]:
        from scipy.linalg import eigh

        first = max(self.width - _LEADING, 0)
        if first == 0 or self.device != CPU:
            values, vectors = (part[..., first:] for part in self.scatter_eigh)
        else:
            window = (first, self.width - 1)
            values, vectors = eigh(self.scatter, subset_by_index=window, driver="evr", check_finite=False)
            values[values <= values[-1] * self.width * EPSILON] = 0.0
        return values[::-1], self._signed(vectors[:, ::-1])

    @shared
    def _all_axes(self) -> Matrix:
        return self._signed(self.scatter_eigh[1][:, ::-1])

    def _signed(self, axes: Matrix) -> Matrix:
        original = axes if self.basis is None else self.basis @ axes
        largest = original[np.abs(original).argmax(axis=0), np.arange(axes.shape[1])]
        return axes * np.where(largest < 0, -1.0, 1.0)

    @shared
    def _leading_projection(self) -> Matrix:
        return self._project(self._leading[1])

    def _project(self, axes: Matrix) -> Matrix:
        projected = np.empty((self.n, axes.shape[1]))
        for rows, chunk in self.centred_chunks():
            np.matmul(chunk, axes, out=projected[rows])
        largest = np.sqrt(np.square(projected).sum(axis=0).max(initial=0.0))
        nothing = max(largest * self.width * EPSILON, self._rounding)
        projected[:, np.linalg.norm(projected, axis=0) <= nothing] = 0.0
        projected.flags.writeable = False
        return projected

    @shared
    def squared_norms(self) -> Vector:
        """(N,) squared distance of each row from the mean row."""
        norms = np.empty(self.n)
        for rows, chunk in self.centred_chunks():
            norms[rows] = np.square(chunk, out=chunk).sum(axis=1)
        return norms

    def cross(self, targets: NDArray[np.floating[Any]]) -> Matrix:
        """(min(N, D), T): `coordinates` transposed times (N, T) targets."""
        result = np.zeros((self.width, targets.shape[1]))
        for rows, chunk in self.chunks():
            result += chunk.T @ targets[rows]
        return result
