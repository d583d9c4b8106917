"""Comparing architecture embeddings: similarity, neighbours, clusters."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelselect.errors import InvalidInputError

_STARTS = 10
"""Divisions that are tried for clusters."""

_STEPS = 300
"""Maximum number of steps of one division."""


def similarity(vectors: ArrayLike) -> NDArray[np.float32]:
    """(n, n) cosine similarities between the rows of (n, dim) vectors; 0 for zero vectors.

    >>> similarity([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]]).tolist()
    [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    units = directions(vectors)
    return np.clip(units @ units.T, -1.0, 1.0).astype(np.float32)


def nearest(vectors: ArrayLike, of: int | ArrayLike, k: int = 5) -> list[tuple[int, float]]:
    """The k most similar rows as (row, cosine similarity), in descending order; ties keep their order.

    Args:
        vectors: (n, dim).
        of: a row's index, which is then left out of the result; or a vector (dim,) of the same space.
        k: maximum number of results.

    Raises:
        InvalidInputError: the row does not exist, or the vector has another dimension.

    >>> nearest([[1.0, 0.0], [1.0, 1.0], [0.0, 3.0]], 0, k=2)
    [(1, 0.7071067811865475), (2, 0.0)]
    """
    units = directions(vectors)
    if isinstance(of, (int, np.integer)):
        if not -len(units) <= of < len(units):
            raise InvalidInputError(f"there is no row {of} among {len(units)} vectors; expected 0 to {len(units) - 1}")
        own = int(of) % len(units)
        query = units[own]
    else:
        own = -1
        query = directions(np.atleast_2d(of))[0]
        if query.shape != units.shape[1:]:
            raise InvalidInputError(f"the vector has dimension {query.size}; expected {units.shape[1]}, as in vectors")
    return _nearest(units, query, own, k)


def nearest_of_each(vectors: ArrayLike, k: int = 5) -> list[list[tuple[int, float]]]:
    """What `nearest` gives for each row of (n, dim) vectors.

    >>> nearest_of_each([[1.0, 0.0], [1.0, 1.0], [0.0, 3.0]], k=1)
    [[(1, 0.7071067811865475)], [(0, 0.7071067811865475)], [(1, 0.7071067811865475)]]
    """
    units = directions(vectors)
    return [_nearest(units, query, own, k) for own, query in enumerate(units)]


def _nearest(units: NDArray[np.float64], query: NDArray[np.float64], own: int, k: int) -> list[tuple[int, float]]:
    cosines = np.clip(units @ query, -1.0, 1.0)
    order = np.argsort(-cosines, kind="stable")
    return [(row, float(cosines[row])) for row in order[order != own][: max(k, 0)].tolist()]


def clusters(vectors: ArrayLike, k: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Cluster of each row of (n, dim) vectors, 0 to k-1 in order of first appearance: k-means on their directions.

    Vectors are first scaled to unit length, so that clusters are based on cosines, as in `nearest`. The paper
    (section 3.2) does not give the number of clusters.

    Args:
        vectors: (n, dim).
        k: number of clusters; there are fewer if there are fewer distinct directions.
        seed: of the first centres.

    Raises:
        InvalidInputError: k is not between 1 and n.

    >>> clusters([[5.0, 0.1], [0.0, 1.0], [1.0, 0.0]], 2).tolist()
    [0, 1, 0]
    """
    units = directions(vectors)
    if not 1 <= k <= len(units):
        raise InvalidInputError(f"{len(units)} vectors cannot form {k} clusters; expected 1 to {len(units)}")
    distinct, found = np.unique(units, axis=0, return_inverse=True)
    found = found.ravel() if k > 1 else np.zeros(len(units), dtype=np.int64)
    if 1 < k < len(distinct):
        found = _k_means(units, k, np.random.default_rng(seed))
    by_appearance = {label: index for index, label in enumerate(dict.fromkeys(found.tolist()))}
    return np.array([by_appearance[label] for label in found.tolist()], dtype=np.int64)


def directions(vectors: ArrayLike) -> NDArray[np.float64]:
    """(n, dim) vectors scaled to length 1; zero vectors stay zero."""
    try:
        matrix = np.asarray(vectors, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(f"vectors are no numbers of shape (n, dim) ({error})") from None
    if matrix.ndim != 2:
        raise InvalidInputError(f"vectors have shape {matrix.shape}; expected (n, dim)")
    if not np.isfinite(matrix).all():
        raise InvalidInputError("vectors hold NaN or infinite values; embed the architectures again")
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix / np.where(lengths == 0, 1.0, lengths)


def _k_means(rows: NDArray[np.float64], k: int, random: np.random.Generator) -> NDArray[np.int64]:
    """(n,) the best of several divisions into k clusters, each by Lloyd's steps from centres drawn as in k-means++.

    Source: D. Arthur and S. Vassilvitskii, k-means++: the advantages of careful seeding, SODA 2007. scikit-learn has
    it, too, and takes a second to be imported.
    """
    divisions = [_lloyd(rows, _spread(rows, k, random)) for _ in range(_STARTS)]
    return min(divisions, key=lambda division: division[1])[0]


def _spread(rows: NDArray[np.float64], k: int, random: np.random.Generator) -> NDArray[np.float64]:
    """(k, dim) rows: of a few drawn by their squared distance from those before, the one that leaves the least.

    There are fewer than k if all other rows are equal to one of them, up to rounding.
    """
    centres = rows[[random.integers(len(rows))]]
    left = _squared_distances(rows, centres)[:, 0]
    while len(centres) < k and left.any():
        drawn = rows[random.choice(len(rows), 2 + int(np.log(k)), p=left / left.sum())]
        each = np.minimum(left[:, None], _squared_distances(rows, drawn))
        best = each.sum(0).argmin()
        centres, left = np.vstack([centres, drawn[best]]), each[:, best]
    return centres


def _lloyd(rows: NDArray[np.float64], centres: NDArray[np.float64]) -> tuple[NDArray[np.int64], float]:
    """(n,) the cluster of each row once no row changes, and the sum of squared distances from the centres."""
    labels = np.full(len(rows), -1)
    for _ in range(_STEPS):
        distances = _squared_distances(rows, centres)
        before, labels = labels, distances.argmin(1)
        if np.array_equal(before, labels):
            break
        members = labels == np.arange(len(centres))[:, None]
        counts = members.sum(1, keepdims=True)
        centres = np.where(counts > 0, members @ rows / np.maximum(counts, 1), centres)
    return labels, float(distances.min(1).sum())


def _squared_distances(rows: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, k) from each row to each centre."""
    squared: NDArray[np.float64] = np.square(rows).sum(1)[:, None] - 2 * rows @ centres.T + np.square(centres).sum(1)
    return squared.clip(min=0)
