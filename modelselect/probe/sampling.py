"""Stratified, seeded sampling: how many rows of each class, and which."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SAMPLE, _HOLDOUT = 0, 1  # makes the two draws from one seed different


def allocate(counts: ArrayLike, size: int) -> NDArray[np.int64]:
    """How many rows of each class a stratified sample of `size` takes, by largest remainder.

    A class whose share is below one row gets one row, if `size` allows one row for every class; the other classes
    divide the rest. If no share is below one row, no class is a whole row off its share. Ties go to the earlier class.

    Args:
        counts: (C,) available rows.
        size: rows to take.

    Returns:
        (C,) with sum `min(size, sum(counts))`.

    >>> allocate([900, 90, 10], 100).tolist()
    [90, 9, 1]
    >>> allocate([1000, 1000, 1], 10).tolist()
    [5, 4, 1]
    """
    counts = np.asarray(counts, np.int64)
    if size >= counts.sum():
        return counts.copy()
    chosen = np.zeros_like(counts)
    sharing = counts > 0
    if size >= sharing.sum():
        # A class that gets more than its share leaves less for the others, so another may fall below one row.
        while (small := sharing & (counts * (size - chosen.sum()) < counts[sharing].sum())).any():
            chosen[small] = 1
            sharing &= ~small
    left = size - int(chosen.sum())
    shares = np.where(sharing, counts, 0) * left
    total = max(int(counts[sharing].sum()), 1)
    chosen += shares // total
    most_left_over = np.argsort(-(shares % total), kind="stable")
    chosen[most_left_over[: size - int(chosen.sum())]] += 1
    return chosen


def shuffled_strata(labels: NDArray[np.int64], seed: int) -> dict[int, NDArray[np.int64]]:
    """The positions of each label, each in its own random order: rows to take, then replacements for corrupt ones."""
    return _shuffled(labels, seed, _SAMPLE)


def quotas(strata: dict[int, NDArray[np.int64]], size: int) -> dict[int, int]:
    """How many rows to take of each stratum: labelled ones first; unlabelled ones (-1) fill up the rest."""
    classes = sorted(label for label in strata if label >= 0)
    wanted = dict(zip(classes, allocate([len(strata[label]) for label in classes], size).tolist(), strict=True))
    if -1 in strata:
        wanted[-1] = min(size - sum(wanted.values()), len(strata[-1]))
    return wanted


def choose_holdout(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.bool_]:
    """(N,) True for the rows to hold out: about `share` of every class, at least one row but never all of them.

    Classes of a single row and unlabelled rows stay in training.
    """
    strata = {k: rows for k, rows in _shuffled(labels, seed, _HOLDOUT).items() if k >= 0 and len(rows) > 1}
    counts = np.array([len(rows) for rows in strata.values()], np.int64)
    size = max(round(share * int(counts.sum())), len(counts))
    held_out = np.zeros(len(labels), np.bool_)
    for rows, count in zip(strata.values(), np.minimum(allocate(counts, size), counts - 1), strict=True):
        held_out[rows[:count]] = True
    return held_out


def rarest(has: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N,) the column of each row that the fewest rows have; -1 for a row that has none.

    >>> rarest(np.array([[True, False], [True, True], [False, False]])).tolist()
    [0, 1, -1]
    """
    rarity = np.where(has, has.sum(axis=0), len(has) + 1)
    found: NDArray[np.int64] = np.where(has.any(axis=1), rarity.argmin(axis=1), -1)
    return found


def wholes_of(groups: NDArray[np.int64], labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which wholes rows are parts of, and which classes these have.

    Args:
        groups: (N,) a number for each whole.
        labels: (N,) the class of each row; -1 is none.

    Returns:
        (N,) the place of each row's whole among the G that are there, and (G, C) whether it has a row of each class.

    >>> wholes_of(np.array([7, 7, 9]), np.array([0, -1, 1]))
    (array([0, 0, 1]), array([[ True, False],
           [False,  True]]))
    """
    present, whole = np.unique(groups, return_inverse=True)
    has = np.zeros((len(present), int(labels.max(initial=-1)) + 2), np.bool_)
    has[whole, labels] = True  # the last column is for -1
    return whole, has[:, :-1]


def _shuffled(labels: NDArray[np.int64], seed: int, purpose: int) -> dict[int, NDArray[np.int64]]:
    order = np.argsort(labels, kind="stable")
    values, starts = np.unique(labels[order], return_index=True)
    return {
        int(label): np.random.default_rng([seed, purpose, int(label) + 1]).permutation(rows)
        for label, rows in zip(values, np.split(order, starts[1:]), strict=True)
    }
