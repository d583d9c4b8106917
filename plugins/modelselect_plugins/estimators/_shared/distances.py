"""Euclidean distances between rows, in blocks, so that the N x N matrix is never in memory as a whole."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def centred(features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """A float64 copy with mean zero: distances stay, and the cancellation in `squared_distances` gets small."""
    result = np.array(features, dtype=np.float64)
    result -= result.mean(axis=0)
    return result


def squared_norms(rows: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """(N,) squared lengths."""
    norms: NDArray[np.floating[Any]] = np.einsum("nd,nd->n", rows, rows)
    return norms


def squared_distances(
    a: NDArray[np.floating[Any]],
    b: NDArray[np.floating[Any]],
    a_norms: NDArray[np.floating[Any]],
    b_norms: NDArray[np.floating[Any]],
) -> NDArray[np.floating[Any]]:
    """(A, B) squared Euclidean distances from the rows' squared norms and one matrix product; none below 0.

    The product is half as dear where `a` is `b`.

    >>> a, b = np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [0.0, 0.0]])
    >>> squared_distances(a, b, squared_norms(a), squared_norms(b))
    array([[25.,  0.]])
    """
    result: NDArray[np.floating[Any]] = a @ b.T
    result *= -2
    result += a_norms[:, None]
    result += b_norms
    np.maximum(result, 0, out=result)
    return result


def nearest_rows(rows: NDArray[np.float64], k: int, chunk: int = 1024) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The k nearest other rows of each row, nearest first: numbers and squared distances, both (N, min(k, N - 1)).

    Searched in float32, at half the cost, for one more than k, which are then measured in float64. Where those that
    were not found could be as near, for all that float32 can tell, the row is searched again in float64. A tie goes to
    either.

    Args:
        rows: (N, D), centred, so that rounding is small beside distances.
        k: at least 1.
        chunk: rows whose distances are held at a time.

    >>> nearest_rows(np.array([[0.0], [1.0], [4.0]]), 1)[0].ravel().tolist()
    [1, 0, 1]
    """
    n_rows = len(rows)
    k = min(k, n_rows - 1)
    scale = float(np.sqrt(squared_norms(rows).max())) or 1.0
    numbers, found = _search((rows / scale).astype(np.float32), min(k + 1, n_rows - 1), chunk)
    distances = np.empty(numbers.shape)
    for start in range(0, n_rows, chunk):
        part = slice(start, start + chunk)
        for j in range(numbers.shape[1]):
            distances[part, j] = squared_norms(rows[part] - rows[numbers[part, j]])
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    numbers = np.take_along_axis(numbers, order, axis=1)
    distances = np.take_along_axis(distances, order, axis=1)
    if k < n_rows - 1:
        least_missed = (found[:, -1].astype(np.float64) - _ROUNDING) * scale**2
        doubtful = np.flatnonzero(distances[:, -1] >= least_missed)
        norms = squared_norms(rows)
        for start in range(0, len(doubtful), chunk):
            again = doubtful[start : start + chunk]
            block = squared_distances(rows[again], rows, norms[again], norms)
            block[np.arange(len(again)), again] = np.inf
            numbers[again], distances[again] = _smallest(block, k)
    return numbers, distances


_ROUNDING = 32 * float(np.finfo(np.float32).eps)  # error of a squared distance between float32 rows of length at most 1


def _search(rows: NDArray[np.float32], k: int, chunk: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(N, k) numbers and squared distances of the k nearest. Each pair of chunks is computed once and serves both."""
    n_rows = len(rows)
    norms = squared_norms(rows)
    numbers = np.zeros((n_rows, k), dtype=np.int64)
    distances = np.full((n_rows, k), np.inf, dtype=np.float32)
    starts = range(0, n_rows, chunk)
    for a_start in starts:
        a = slice(a_start, min(a_start + chunk, n_rows))
        for b_start in range(a_start, n_rows, chunk):
            b = slice(b_start, min(b_start + chunk, n_rows))
            block = squared_distances(rows[a], rows[b], norms[a], norms[b])
            if a_start == b_start:
                np.fill_diagonal(block, np.inf)
            else:
                _merge(numbers[b], distances[b], block.T.copy(), a_start)
            _merge(numbers[a], distances[a], block, b_start)
    return numbers, distances


def _merge(
    numbers: NDArray[np.int64], distances: NDArray[np.floating[Any]], block: NDArray[np.floating[Any]], first: int
) -> None:
    """Updates, in place, the k nearest so far by a block of further distances whose columns start at row `first`."""
    k = distances.shape[1]
    columns, found = _smallest(block, min(k, block.shape[1]))
    every = np.concatenate([distances, found], axis=1)
    order = np.argsort(every, axis=1, kind="stable")[:, :k]
    numbers[...] = np.take_along_axis(np.concatenate([numbers, columns + first], axis=1), order, axis=1)
    distances[...] = np.take_along_axis(every, order, axis=1)


_FEW = 4  # up to this number, one after the other is faster


def _smallest(block: NDArray[np.floating[Any]], k: int) -> tuple[NDArray[np.int64], NDArray[np.floating[Any]]]:
    """(A, k) columns and values of the k smallest of each row of an (A, B) block, ascending. May change the block."""
    if k > _FEW:
        columns = np.argpartition(block, k - 1, axis=1)[:, :k] if k < block.shape[1] else np.argsort(block, axis=1)
        values = np.take_along_axis(block, columns, axis=1)
        order = np.argsort(values, axis=1, kind="stable")
        return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)
    rows = np.arange(len(block))
    columns = np.empty((len(block), k), dtype=np.int64)
    values = np.empty((len(block), k), dtype=block.dtype)
    for j in range(k):
        columns[:, j] = block.argmin(axis=1)
        values[:, j] = block[rows, columns[:, j]]
        block[rows, columns[:, j]] = np.inf
    return columns, values
