"""Similarities of all pairs of rows as one vector, and the rank correlation of two such vectors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import NotApplicableError
from modelselect.evidence.linear_algebra import Matrix, Vector, chunks_of

Similarities = NDArray[np.floating[Any]]

MAX_ROWS = 20_000
"""Maximum number of rows for which all pairs are used: 0.8 GB for each vector of similarities."""

_MANY = (
    1 << 20
)  # with more pairs than this, no single one matters: float32 and binned ranks are more than twice as fast
_BINS = 1 << 18
_BINNING_ERROR = 1e-8  # maximum share of the ranks' variance that binning may lose
_BLOCK = 512  # rows of the pairwise matrix that are held at a time
_CACHED = 1 << 15  # numbers that are processed at a time


def check_pairs(name: str, n: int) -> None:
    """Refuses what would not fit.

    Raises:
        NotApplicableError: more than `MAX_ROWS` rows, or fewer than three.
    """
    if n > MAX_ROWS:
        raise NotApplicableError(
            f"{name} compares every pair of rows, and {n} rows have {n * (n - 1) // 2:,} of them; give at most "
            f"{MAX_ROWS:,} rows (a smaller probe)"
        )
    if n < 3:
        raise NotApplicableError(f"{name} compares pairs of rows, and {n} rows are too few; give three or more")


def standardization(array: NDArray[np.floating[Any]]) -> tuple[Vector, Vector]:
    """(K,) mean and (K,) standard deviation (ddof 0) of each column; 1 for a column that does not vary."""
    mean = sum((chunk.sum(axis=0) for _, chunk in chunks_of(array)), np.zeros(array.shape[1])) / len(array)
    squares = sum((np.square(chunk - mean).sum(axis=0) for _, chunk in chunks_of(array)), np.zeros(array.shape[1]))
    deviation = np.sqrt(squares / len(array))
    constant = deviation <= np.finfo(np.float64).eps * len(array) * np.abs(mean)
    return mean, np.where(constant, 1.0, deviation)


def correlation_rows(array: NDArray[np.floating[Any]]) -> Matrix:
    """(N, K) rows whose inner products are Pearson's correlations between the rows of the standardised array.

    Zero for a row that does not vary over the columns: it correlates with none.
    """
    mean, deviation = standardization(array)
    rows = np.empty(array.shape)
    for part, chunk in chunks_of(array):
        standard = (chunk - mean) / deviation
        rows[part] = unit_rows(standard - standard.mean(axis=1, keepdims=True))
    return rows


def unit_rows(array: Matrix) -> Matrix:
    """Each row over its length; zero where that is zero."""
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    result: Matrix = array / np.where(lengths > 0, lengths, 1.0)
    return result


def similarities(rows: Matrix) -> Similarities:
    """(N (N - 1) / 2,) inner product of every pair: pairs (1, 0), (2, 0), (2, 1), (3, 0), ...

    In float64, or in float32 where there are more than a million pairs.
    """
    n = len(rows)
    n_pairs = n * (n - 1) // 2
    result: Similarities = np.empty(n_pairs, dtype=np.float32 if n_pairs > _MANY else np.float64)
    typed: Similarities = rows.astype(result.dtype, copy=False)
    for start in range(0, n, _BLOCK):
        block = typed[start : start + _BLOCK] @ typed[: start + _BLOCK].T
        for i in range(start, min(start + _BLOCK, n)):
            first = i * (i - 1) // 2
            result[first : first + i] = block[i - start, :i]
    return result


def spearman(first: Similarities, second: Similarities) -> float:
    """Spearman's rank correlation of two vectors; NaN where one is constant.

    Of more than a million pairs the ranks are those of bins, so narrow that the result differs from the exact one by
    some 1e-7 at most; where they cannot be narrow enough, and of fewer pairs, it is exact. Without ties no ranks are
    written down then: sorting the second in the order of the first pairs them.
    """
    n = len(first)
    if n > _MANY:
        a, b = _Binned.of(first), _Binned.of(second)
        if a is not None and b is not None:
            products = sum(float(a.middles[a.bins[part]] @ b.middles[b.bins[part]]) for part in _blocks(n))
            return products / math.sqrt(a.squares * b.squares)
    order, tied = argsort(first)
    second = second[order]
    paired, also_tied = argsort(second)
    if tied or also_tied:
        x, y = ranks(first[order]) - (n + 1) / 2, ranks(second) - (n + 1) / 2
        lengths = np.sqrt((x @ x) * (y @ y))
        return float(x @ y / lengths) if lengths > 0 else float("nan")
    squares = 0.0  # squared differences of ranks
    for part in _blocks(n):
        difference = (paired[part] - np.arange(part.start, part.stop)).astype(np.float64)
        squares += float(difference @ difference)
    return 1.0 - 6.0 * squares / (float(n) ** 3 - n)


class _Binned(NamedTuple):
    """The bin of each value, among bins of equal width, and the rank of each bin, minus the mean rank."""

    bins: NDArray[np.int32]
    middles: NDArray[np.float64]
    squares: float  # sum of the squared ranks of all values

    @classmethod
    def of(cls, values: Similarities) -> _Binned | None:
        """None where the bins would lose too much."""
        n = len(values)
        least = float(values.min())
        spread = float(values.max()) - least
        if not spread > 0:
            return None
        bins = np.empty(n, dtype=np.int32)
        counts = np.zeros(_BINS, dtype=np.int64)
        for part in _blocks(n, 1 << 20):
            bins[part] = (values[part] - least) * ((_BINS - 1) / spread)
            counts += np.bincount(bins[part], minlength=_BINS)
        if (counts.astype(np.float64) ** 3).sum() > _BINNING_ERROR * float(n) ** 3:
            return None
        middles = np.cumsum(counts) - (counts + n) / 2
        return cls(bins, middles, float(counts @ np.square(middles)))


def spearman_with_two_groups(values: Similarities, second: NDArray[np.bool_]) -> float:
    """Spearman's rank correlation of values with membership in the second of two groups; NaN where one is constant.

    Half the work of `spearman`: only the sorted values and the ranks of the smaller group are needed.
    """
    n = len(values)
    smaller = second if 2 * np.count_nonzero(second) <= n else ~second
    members = np.sort(values[smaller])
    ordered = np.sort(values)
    below = np.searchsorted(ordered, members, side="left")
    up_to = np.searchsorted(ordered, members, side="right")
    excess = ((below + up_to + 1) / 2 - (n + 1) / 2).sum()  # sum of the members' ranks minus the mean rank
    rank_variance = (float(n) ** 3 - n) / 12
    # With many pairs, runs of ties shorter than this change the variance by no more than the bins may.
    run = max(int(math.sqrt(_BINNING_ERROR) * n), 1) if n > _MANY else 1
    if (ordered[run:] == ordered[:-run]).any():
        ties = np.diff(_starts(ordered), append=n).astype(np.float64)
        rank_variance -= (ties**3 - ties).sum() / 12
    group_variance = len(members) * (n - len(members)) / n
    if rank_variance <= 0 or group_variance == 0:
        return float("nan")
    correlation = float(excess / np.sqrt(rank_variance * group_variance))
    return correlation if smaller is second else -correlation


def ranks(values: Similarities) -> Vector:
    """Ranks from 1, ties their average."""
    order = np.argsort(values)
    starts = _starts(values[order])
    ends = np.append(starts[1:], len(values))
    result = np.empty(len(values))
    result[order] = np.repeat((starts + ends + 1) / 2, ends - starts)
    return result


def argsort(values: Similarities) -> tuple[NDArray[np.intp], bool]:
    """The order that sorts the values (equal ones in any order), and whether any are equal; faster than `np.argsort`.

    Sorts integers, of which the upper bits are the value, cut off, and the lower bits its index: sorting numbers is
    much faster than sorting through indices. Values that the cut made equal are then put in order.
    """
    n = len(values)
    low = np.uint64(2 ** max((n - 1).bit_length(), 1) - 1)  # the bits of the index
    least, spread = float(values.min()), float(np.ptp(values))
    if not spread > 0:
        return np.arange(n), n > 1
    keys = np.empty(n, dtype=np.uint64)
    order = np.empty(n, dtype=np.intp)
    repeated = np.zeros(n + 1, dtype=np.bool_)  # True if a key equals the one before
    below_one = 1 - 4 * np.finfo(np.float64).eps  # so that no sum in the next lines is rounded to 2
    for part in _blocks(n):
        # Numbers in [1, 2) share sign and exponent, 12 bits; the other bits have the same order as the numbers.
        bits = (1.0 + (values[part].astype(np.float64) - least) / spread * below_one).view(np.uint64)
        keys[part] = (bits << np.uint64(12)) & ~low | np.arange(part.start, part.stop, dtype=np.uint64)
    keys.sort()
    for part in _blocks(n):
        order[part] = keys[part] & low
        before = keys[max(part.start, 1) - 1 : part.stop - 1]
        after = keys[max(part.start, 1) : part.stop]
        repeated[max(part.start, 1) : part.stop] = (before ^ after) <= low
    unsettled = np.flatnonzero(repeated[:-1] | repeated[1:])
    subset = order[unsettled]
    subset = subset[np.lexsort((values[subset], keys[unsettled] & ~low))]
    order[unsettled] = subset
    settled = values[subset]
    return order, bool((settled[1:] == settled[:-1]).any())


def _blocks(n: int, size: int = _CACHED) -> Iterator[slice]:
    """Slices that stay in the cache."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def _starts(ordered: Similarities) -> NDArray[np.intp]:
    """Where each run of equal values begins."""
    return np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
