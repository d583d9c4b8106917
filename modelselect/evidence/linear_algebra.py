"""Linear algebra in float64, read from the features in chunks of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

CPU = "cpu"

_CHUNK_BYTES = 1 << 24  # float64 values in memory at a time: enough for full speed, little memory
_BLOCK = 256  # columns that are transposed at a time
EPSILON = np.finfo(np.float64).eps
_ILL_CONDITIONED = 1e-12  # reciprocal condition number below which a Cholesky factor is not used


def softmax(logits: Matrix) -> Matrix:
    """Softmax of each row, without overflow."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Matrix = shifted / shifted.sum(axis=1, keepdims=True)
    return result


def positive_eigh(matrix: Matrix, device: str = CPU) -> tuple[Vector, Matrix]:
    """Eigenvalues, ascending, and eigenvectors (columns) of a symmetric positive semidefinite matrix.

    Eigenvalues below the rounding error are set to zero.
    """
    if device == CPU:
        from scipy.linalg import eigh

        values, vectors = eigh(matrix, driver="evd", check_finite=False)
    else:
        import torch

        values, vectors = (part.cpu().numpy() for part in torch.linalg.eigh(torch.tensor(matrix, device=device)))
    values[values <= values[-1] * len(values) * EPSILON] = 0.0
    return values, vectors


def solve_positive(matrix: Matrix, right: Matrix) -> Matrix:
    """The minimum-norm least-squares solution of `matrix @ x = right`, for a symmetric positive semidefinite matrix.

    By Cholesky factorisation, or by eigendecomposition if the matrix is singular up to rounding.
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
    """(K, K) sum of Z'Z over chunks Z, each (n, K) in C order. Only one triangle is computed, in place."""
    if device != CPU:
        return _scatter_on(device, chunks, width)
    from scipy.linalg.blas import dsyrk

    total = np.zeros((width, width), order="F")
    for chunk in chunks:
        total = dsyrk(1.0, chunk.T, beta=1.0, c=total, overwrite_c=1, lower=1)
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
