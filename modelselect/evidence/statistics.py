"""What estimators share: scatter matrices, decompositions, projections, class means; each once per evidence.

Everything is lazy, in float64, and read from the features in chunks of rows, so that memory-mapped float32 features are
never copied whole. Nothing depends on the order in which things are asked for: a number is the same to the last bit
whether one estimator runs or thirty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import NotApplicableError

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

CPU = "cpu"

_CHUNK_BYTES = 1 << 24  # of float64 that is held at a time: large enough for full speed, small beside the memory
_BLOCK = 256  # columns of a matrix that are transposed at a time
_LEADING = 64  # principal components that several methods ask for; found together, without the rest of the spectrum
_DISTINCT = 1e-3  # share of the within-class scatter below which subtracting the between-class part loses digits
_EPSILON = np.finfo(np.float64).eps
_ILL_CONDITIONED = 1e-12  # reciprocal condition number below which a Cholesky factor is not trusted


class FeatureStatistics:
    """What can be computed from the features alone.

    Where there are fewer rows than dimensions, everything is expressed in an orthonormal basis of the rows' span:
    `coordinates` keep all inner products and distances, and every matrix has the smaller side, `min(N, D)`.

    Args:
        features: (N, D) floats; read, never changed.
        device: where products and decompositions are computed: on a CUDA device, in float64 there, too; for any other,
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

    @cached_property
    def basis(self) -> Matrix | None:
        """(D, N) orthonormal basis of the rows' span: `features = coordinates @ basis.T`; None if N >= D."""
        return self._rotation[0] if self.is_wide else None

    @property
    def coordinates(self) -> NDArray[np.floating[Any]]:
        """(N, min(N, D)): the features, or where they are wide their coordinates in `basis`."""
        return self._rotation[1] if self.is_wide else self.features

    @cached_property
    def _rotation(self) -> tuple[Matrix, Matrix]:
        orthonormal, triangle = np.linalg.qr(np.asarray(self.features, dtype=np.float64).T)
        return orthonormal, np.ascontiguousarray(triangle.T)

    @cached_property
    def ones(self) -> Vector:
        """(min(N, D),) the vector of D ones, as far as it lies in the rows' span, in `coordinates`."""
        return np.ones(self.d) if self.basis is None else self.basis.sum(axis=0)

    def chunks(self) -> Iterator[tuple[slice, Matrix]]:
        """`coordinates` in float64, a slice of rows at a time. A chunk may be a view: do not write to it."""
        yield from chunks_of(self.coordinates)

    def centred_chunks(self) -> Iterator[tuple[slice, Matrix]]:
        """Like `chunks`, less the mean. All share one buffer, which may be written to, and holds until the next."""
        buffer = np.empty((min(chunk_rows(self.width), self.n), self.width))
        for rows, chunk in self.chunks():
            yield rows, np.subtract(chunk, self.mean, out=buffer[: len(chunk)])

    @cached_property
    def mean(self) -> Vector:
        """(min(N, D),) of `coordinates`."""
        total = np.zeros(self.width)
        for _, chunk in self.chunks():
            total += chunk.sum(axis=0)
        return total / self.n

    @cached_property
    def scatter(self) -> Matrix:
        """Total scatter: sum over rows of (x - mean)(x - mean)'. Zero where the rows are equal, but for rounding."""
        scatter = scatter_of((chunk for _, chunk in self.centred_chunks()), self.width, self.device)
        return scatter if np.trace(scatter) > self._rounding**2 else np.zeros_like(scatter)

    @cached_property
    def _rounding(self) -> float:
        """How long, over all rows, what subtracting the mean leaves of equal rows can be."""
        return float(max(self.n, self.d) * _EPSILON * np.sqrt(self.n) * np.linalg.norm(self.mean))

    @cached_property
    def gram(self) -> Matrix:
        """Uncentred: sum over rows of x x'. From the scatter, for adding the mean's part loses no digits."""
        return self.scatter + self.n * np.outer(self.mean, self.mean)

    @cached_property
    def total_variance(self) -> float:
        """Trace of the covariance, sum of squares over N - 1 (N where there is one row)."""
        return float(np.trace(self.scatter)) / max(self.n - 1, 1)

    @cached_property
    def scatter_eigh(self) -> tuple[Vector, Matrix]:
        """Eigenvalues, ascending, and eigenvectors (columns) of `scatter`. What is below rounding is exactly zero."""
        return positive_eigh(self.scatter, self.device)

    @cached_property
    def gram_eigh(self) -> tuple[Vector, Matrix]:
        """Eigenvalues, ascending, and eigenvectors (columns) of `gram`. What is below rounding is exactly zero.

        Where N <= D from the singular values of the features, which keep twice the digits.
        """
        if self.n > self.d:
            return positive_eigh(self.gram, self.device)
        _, singular, vectors = np.linalg.svd(np.asarray(self.coordinates, dtype=np.float64))
        singular[singular <= singular[0] * self.n * _EPSILON] = 0.0
        return np.square(singular[::-1]), vectors[::-1].T

    @cached_property
    def singular_values(self) -> Vector:
        """(min(N, D),) of the centred features, descending."""
        from scipy.linalg import eigvalsh

        values = eigvalsh(self.scatter, check_finite=False)[::-1]
        return np.sqrt(np.maximum(values, 0.0))

    def explained_variance(self, k: int) -> Vector:
        """Variances (ddof 1) of the first `k` principal components, descending; fewer where min(N, D) is less."""
        values = self._leading[0] if k <= _LEADING else self.scatter_eigh[0][::-1]
        return values[:k] / max(self.n - 1, 1)

    def components(self, k: int) -> Matrix:
        """(min(N, D), k) principal axes in `coordinates`; over the features, the largest entry of each is positive."""
        axes = self._leading[1] if k <= _LEADING else self._all_axes
        return axes[:, :k]

    def principal_components(self, k: int) -> Matrix:
        """(N, k) centred features projected on the first `k` principal axes: exact, not randomised.

        Fewer columns where min(N, D) is less than `k`. What lies below rounding (a direction in which the features do
        not vary) is exactly zero.
        """
        if k <= _LEADING:
            return self._leading_projection[:, :k]
        return self._project(self.components(k))

    @cached_property
    def _leading(self) -> tuple[Vector, Matrix]:
        from scipy.linalg import eigh

        first = max(self.width - _LEADING, 0)
        if first == 0 or self.device != CPU:
            values, vectors = (part[..., first:] for part in self.scatter_eigh)
        else:
            window = (first, self.width - 1)
            values, vectors = eigh(self.scatter, subset_by_index=window, driver="evr", check_finite=False)
            values[values <= values[-1] * self.width * _EPSILON] = 0.0
        return values[::-1], self._signed(vectors[:, ::-1])

    @cached_property
    def _all_axes(self) -> Matrix:
        return self._signed(self.scatter_eigh[1][:, ::-1])

    def _signed(self, axes: Matrix) -> Matrix:
        original = axes if self.basis is None else self.basis @ axes
        largest = original[np.abs(original).argmax(axis=0), np.arange(axes.shape[1])]
        return axes * np.where(largest < 0, -1.0, 1.0)

    @cached_property
    def _leading_projection(self) -> Matrix:
        return self._project(self._leading[1])

    def _project(self, axes: Matrix) -> Matrix:
        projected = np.empty((self.n, axes.shape[1]))
        for rows, chunk in self.centred_chunks():
            np.matmul(chunk, axes, out=projected[rows])
        largest = np.sqrt(np.square(projected).sum(axis=0).max(initial=0.0))
        nothing = max(largest * self.width * _EPSILON, self._rounding)
        projected[:, np.linalg.norm(projected, axis=0) <= nothing] = 0.0
        projected.flags.writeable = False
        return projected

    @cached_property
    def squared_norms(self) -> Vector:
        """(N,) squared distance of each row from the mean."""
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
        return bool(np.trace(self.within_class_scatter) <= _EPSILON * np.trace(self.features.scatter))

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


# --- linear algebra ---------------------------------------------------------------------------------------------------


def softmax(logits: Matrix) -> Matrix:
    """Of each row, without overflow."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Matrix = shifted / shifted.sum(axis=1, keepdims=True)
    return result


def positive_eigh(matrix: Matrix, device: str = CPU) -> tuple[Vector, Matrix]:
    """Eigenvalues, ascending, and eigenvectors (columns) of a symmetric matrix that has no negative ones.

    Eigenvalues below rounding are exactly zero.
    """
    if device == CPU:
        from scipy.linalg import eigh

        values, vectors = eigh(matrix, driver="evd", check_finite=False)
    else:
        import torch

        values, vectors = (part.cpu().numpy() for part in torch.linalg.eigh(torch.from_numpy(matrix).to(device)))
    values[values <= values[-1] * len(values) * _EPSILON] = 0.0
    return values, vectors


def solve_positive(matrix: Matrix, right: Matrix) -> Matrix:
    """The least-squares solution of `matrix @ x = right` of least norm, `matrix` symmetric and not negative.

    By Cholesky factorisation; by eigendecomposition where the matrix is singular to working precision.
    """
    from scipy.linalg import cho_solve
    from scipy.linalg.lapack import dpocon, dpotrf

    factor, info = dpotrf(matrix, lower=1, clean=0)
    if info == 0:
        reciprocal_condition, _ = dpocon(factor, np.abs(matrix).sum(axis=0).max(), uplo="L")
        if reciprocal_condition > _ILL_CONDITIONED:
            solution: Matrix = cho_solve((factor, True), right, check_finite=False)
            return solution
    values, vectors = positive_eigh(matrix)
    kept = values > 0
    return vectors[:, kept] @ ((vectors[:, kept].T @ right) / values[kept, None])


def log_determinant(matrix: Matrix) -> float:
    """Natural logarithm of the determinant of a symmetric positive definite matrix."""
    factor = np.linalg.cholesky(matrix)
    return 2.0 * float(np.log(np.diagonal(factor)).sum())


def nuclear_norm(matrix: Matrix) -> float:
    """Sum of the singular values, from the Gram matrix of the smaller side."""
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    values = np.linalg.eigvalsh(tall.T @ tall)
    return float(np.sqrt(np.maximum(values, 0.0)).sum())


def scatter_of(chunks: Iterable[Matrix], width: int, device: str = CPU) -> Matrix:
    """(K, K) sum over chunks Z, (n, K) each and in C order, of Z'Z: one triangle is computed, in place."""
    if device != CPU:
        return _scatter_on(device, chunks, width)
    from scipy.linalg.blas import dsyrk

    total = np.zeros((width, width), order="F")
    for chunk in chunks:
        total = dsyrk(1.0, chunk.T, beta=1.0, c=total, overwrite_c=1, lower=1)
    for start in range(0, width, _BLOCK):  # the other triangle, by blocks that stay in the cache
        stop = start + _BLOCK
        total[start:stop, stop:] = total[stop:, start:stop].T
        lower = np.tril(total[start:stop, start:stop])
        total[start:stop, start:stop] = lower + np.tril(lower, -1).T
    return total


def _scatter_on(device: str, chunks: Iterable[Matrix], width: int) -> Matrix:
    import torch

    total = torch.zeros((width, width), dtype=torch.float64, device=device)
    for chunk in chunks:
        rows = torch.from_numpy(chunk).to(device)
        total.addmm_(rows.T, rows)
    result: Matrix = ((total + total.T) / 2).cpu().numpy()
    return result


def chunks_of(array: NDArray[np.floating[Any]]) -> Iterator[tuple[slice, Matrix]]:
    """An (N, K) array in float64, a slice of rows at a time. A chunk may be a view: do not write to it."""
    step = chunk_rows(array.shape[1])
    for start in range(0, len(array), step):
        rows = slice(start, start + step)
        yield rows, np.asarray(array[rows], dtype=np.float64)


def chunk_rows(width: int) -> int:
    """How many rows of this many columns are held in float64 at a time."""
    return max(_CHUNK_BYTES // (8 * width), 1)
