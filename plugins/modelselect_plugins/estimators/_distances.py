"""Euclidean distances between rows, in blocks, so that no more than a block of the N x N matrix is ever held."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def centred(features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """A float64 copy with mean zero: distances stay, and the cancellation in `squared_distances` gets small."""
    result = np.array(features, dtype=np.float64)
    result -= result.mean(axis=0)
    return result


def squared_norms(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) squared lengths."""
    norms: NDArray[np.float64] = np.einsum("nd,nd->n", rows, rows)
    return norms


def squared_distances(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    a_norms: NDArray[np.float64],
    b_norms: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(A, B) squared Euclidean distances from the rows' squared norms and one matrix product; none below 0.

    >>> a, b = np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [0.0, 0.0]])
    >>> squared_distances(a, b, squared_norms(a), squared_norms(b))
    array([[25.,  0.]])
    """
    result: NDArray[np.float64] = a @ b.T
    result *= -2
    result += a_norms[:, None]
    result += b_norms
    return np.maximum(result, 0, out=result)


def nearest_rows(rows: NDArray[np.float64], k: int, chunk: int = 1024) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The k nearest other rows of each row, nearest first: numbers and squared distances, both (N, min(k, N - 1)).

    Each pair of chunks is computed once and serves both. A tie goes to either.

    >>> nearest_rows(np.array([[0.0], [1.0], [4.0]]), 1)[0].ravel().tolist()
    [1, 0, 1]
    """
    n_rows = len(rows)
    k = min(k, n_rows - 1)
    norms = squared_norms(rows)
    numbers = np.zeros((n_rows, k), dtype=np.int64)
    distances = np.full((n_rows, k), np.inf)
    starts = range(0, n_rows, chunk)
    for a_start in starts:
        a = slice(a_start, min(a_start + chunk, n_rows))
        for b_start in range(a_start, n_rows, chunk):
            b = slice(b_start, min(b_start + chunk, n_rows))
            block = squared_distances(rows[a], rows[b], norms[a], norms[b])
            if a_start == b_start:
                np.fill_diagonal(block, np.inf)
            else:
                _merge(numbers[b], distances[b], block.T, a_start)
            _merge(numbers[a], distances[a], block, b_start)
    return numbers, distances


def _merge(numbers: NDArray[np.int64], distances: NDArray[np.float64], block: NDArray[np.float64], first: int) -> None:
    """Updates, in place, the k nearest so far by a block of further distances whose columns start at row `first`."""
    k = distances.shape[1]
    if k == 1:
        column = block.argmin(axis=1)
        found = block[np.arange(len(block)), column]
        closer = found < distances[:, 0]
        numbers[closer, 0] = column[closer] + first
        distances[closer, 0] = found[closer]
        return
    if block.shape[1] > k:
        columns = np.argpartition(block, k - 1, axis=1)[:, :k]
        block = np.take_along_axis(block, columns, axis=1)
    else:
        columns = np.broadcast_to(np.arange(block.shape[1]), block.shape)
    every = np.concatenate([distances, block], axis=1)
    order = np.argsort(every, axis=1, kind="stable")[:, :k]
    numbers[...] = np.take_along_axis(np.concatenate([numbers, columns + first], axis=1), order, axis=1)
    distances[...] = np.take_along_axis(every, order, axis=1)
