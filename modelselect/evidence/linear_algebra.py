"""Linear algebra in float64, read from the features in chunks of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import EvidenceError

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

CPU = "cpu"

_CHUNK_BYTES = 1 << 24  # float64 values in memory at a time: enough for full speed, little memory
_BLOCK = 256  # columns that are transposed at a time
EPSILON = np.finfo(np.float64).eps
_ILL_CONDITIONED = 1e-12  # reciprocal condition number below which a Cholesky factor is not used
_FAR_FROM_SINGULAR = 1e-8  # the same, where the factor replaces an orthogonal decomposition


def softmax(logits: Matrix) -> Matrix:
    """Softmax of each row, without overflow."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Matrix = shifted / shifted.sum(axis=1, keepdims=True)
    return result


def positive_eigh(matrix: Matrix, device: str = CPU) -> tuple[Vector, Matrix]:
    """Eigenvalues, ascending, and eigenvectors (columns) of a symmetric positive semidefinite matrix.

    Eigenvalues below the rounding error are set to zero.

    Raises:
        EvidenceError: the matrix holds NaN or infinite values.
    """
    if not np.isfinite(matrix).all():
        raise EvidenceError(
            "products of the features are not finite: their numbers are too large or too small for float64. Scale them "
            "to ordinary sizes."
        )
    if device == CPU:
        from scipy.linalg import eigh

        values, vectors = eigh(matrix, driver="evd", check_finite=False)
    else:
        import torch

        values, vectors = (part.cpu().numpy() for part in torch.linalg.eigh(torch.tensor(matrix, device=device)))
    values[values <= values[-1] * len(values) * EPSILON] = 0.0
    return values, vectors


def well_conditioned_factor(matrix: Matrix) -> Matrix | None:
    """Lower Cholesky factor, in C order, of a symmetric matrix; None unless the matrix is far from singular."""
    from scipy.linalg.lapack import dpocon, dpotrf

    factor, info = dpotrf(matrix.T, lower=0, clean=1)
    if info != 0:
        return None
    reciprocal_condition, _ = dpocon(factor, np.abs(matrix).sum(axis=0).max(), uplo="U")
    return np.asarray(factor.T) if reciprocal_condition > _FAR_FROM_SINGULAR else None


class Tridiagonal(NamedTuple):
    """A symmetric matrix S = Q T Q', where Q is orthogonal and T has three diagonals.

    Solving with T + r is linear in the size, so all that is asked of S + r for many numbers r costs one decomposition,
    without eigenvectors.

    Attributes:
        diagonal: (K,) of T.
        off_diagonal: (K - 1,) the entries of T next to the diagonal.
        eigenvalues: (K,) ascending; those below the rounding error are zero.
        reflectors: (K - 1, K - 1) what Q is made of, as LAPACK's dsytrd leaves it.
        scales: (K - 1,) of the reflectors, as dsytrd leaves them.
    """

    diagonal: Vector
    off_diagonal: Vector
    eigenvalues: Vector
    reflectors: Matrix
    scales: Vector

    @classmethod
    def of(cls, matrix: Matrix) -> Tridiagonal:
        """Of a symmetric positive semidefinite matrix."""
        from scipy.linalg.lapack import dsterf, dsytrd, dsytrd_lwork

        size = len(matrix)
        if size == 1:  # LAPACK's wrappers refuse empty arrays
            return cls(matrix[0], np.empty(0), matrix[0], np.empty((0, 0)), np.empty(0))
        reduced, diagonal, off_diagonal, scales, _ = dsytrd(
            matrix.T, lower=1, lwork=int(dsytrd_lwork(size, lower=1)[0])
        )
        values, _ = dsterf(diagonal, off_diagonal)
        values[values <= values[-1] * size * EPSILON] = 0.0
        return cls(diagonal, off_diagonal, values, np.asfortranarray(reduced[1:, : size - 1]), scales)

    def rotated(self, vectors: Matrix) -> Matrix:
        """(K, k): Q' times (K, k) vectors."""
        from scipy.linalg.lapack import dormqr

        result = np.array(vectors, dtype=np.float64, order="F")
        if len(self.scales):
            size = 64 * result.shape[1]
            result[1:] = dormqr("L", "T", self.reflectors, self.scales, result[1:], size)[0]
        return result

    def solve(self, shift: float, right: Matrix) -> Matrix | None:
        """(K, k): the inverse of T + shift times (K, k) vectors; None if T + shift is not positive definite."""
        if len(self.diagonal) == 1:
            return right / (self.diagonal + shift)
        from scipy.linalg.lapack import dptsv

        _, _, solution, info = dptsv(self.diagonal + shift, self.off_diagonal, right)
        return solution if info == 0 else None


def solve_positive(matrix: Matrix, right: Matrix, least: float = 0.0) -> Matrix:
    """The minimum-norm least-squares solution of `matrix @ x = right`, for a symmetric positive semidefinite matrix.

    By Cholesky factorisation, or by eigendecomposition if the matrix is singular up to rounding.

    Args:
        matrix: (K, K).
        right: (K, k).
        least: a number that no eigenvalue of the matrix is below, if one is known. It can show that the matrix is not
            singular.
    """
    from scipy.linalg import cho_solve
    from scipy.linalg.lapack import dpocon, dpotrf

    factor, info = dpotrf(matrix, lower=1, clean=0)
    if info == 0:
        reciprocal_condition, _ = dpocon(factor, np.abs(matrix).sum(axis=0).max(), uplo="L")
        regular = least > len(matrix) * EPSILON * np.linalg.norm(matrix)
        if regular or reciprocal_condition > _ILL_CONDITIONED:
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
    """(K, K) sum of Z'Z over chunks Z, each (n, K). Only one triangle is computed, in place."""
    if device != CPU:
        return _scatter_on(device, chunks, width)
    from scipy.linalg.blas import dsyrk

    total = np.zeros((width, width), order="F")
    for chunk in chunks:
        turned = not chunk.flags.f_contiguous
        rows = chunk.T if turned else chunk  # in the order of LAPACK, so that nothing is copied
        total = dsyrk(1.0, rows, beta=1.0, c=total, overwrite_c=1, lower=1, trans=not turned)
    for start in range(0, width, _BLOCK):  # the other triangle, in blocks that fit into the cache
        stop = start + _BLOCK
        total[start:stop, stop:] = total[stop:, start:stop].T
        lower = np.tril(total[start:stop, start:stop])
        total[start:stop, start:stop] = lower + np.tril(lower, -1).T
    return total


def _scatter_on(device: str, chunks: Iterable[Matrix], width: int) -> Matrix:
    import torch

    total = torch.zeros((width, width), dtype=torch.float64, device=device)
    for chunk in chunks:
        rows = torch.tensor(chunk, device=device)
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
    """Number of rows with this many columns that are held in float64 at a time."""
    return max(_CHUNK_BYTES // (8 * width), 1)
