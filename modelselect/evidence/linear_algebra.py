"""Linear algebra in float64, read from the features in chunks of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

CPU = "cpu"

_CHUNK_BYTES = 1 << 24  # of float64 that is held at a time: large enough for full speed, small beside the memory
_BLOCK = 256  # columns of a matrix that are transposed at a time
EPSILON = np.finfo(np.float64).eps
_ILL_CONDITIONED = 1e-12  # reciprocal condition number below which a Cholesky factor is not trusted


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
    values[values <= values[-1] * len(values) * EPSILON] = 0.0
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
