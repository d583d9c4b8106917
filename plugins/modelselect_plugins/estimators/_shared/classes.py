"""For estimators that use labels without features: class indices, and samples that keep the class shares."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import EvidenceError, NotApplicableError


def class_indices(labels: NDArray[Any], method: str) -> tuple[NDArray[np.int64], int]:
    """(N,) indices 0..C-1 in the order of the labels, and C: classes that are present, whatever gaps the labels have.

    Args:
        labels: (N,) integers.
        method: name of the estimator, for the message.

    Raises:
        NotApplicableError: the labels are (N, T) targets.

    >>> class_indices(np.array([7, 3, 7]), "knn")
    (array([1, 0, 1]), 2)
    """
    if labels.ndim != 1:
        raise NotApplicableError(
            f"{method} is defined for classes and was given targets of shape {labels.shape}; give (N,) integer labels"
        )
    present, indices = np.unique(labels, return_inverse=True)
    return indices.astype(np.int64), len(present)


def stratified_sample(indices: NDArray[np.int64], size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`size` row numbers, ascending, in which each class has its share (by largest remainder), and one row at least.

    Args:
        indices: (N,) class indices 0..C-1, N >= size.
        size: rows wanted; where there are more classes than that, one row of each class is taken.
        rng: what draws them.

    >>> stratified_sample(np.array([0, 0, 0, 0, 1, 1]), 3, np.random.default_rng(0)).shape
    (3,)
    """
    counts = np.bincount(indices)
    wanted = np.maximum(counts * (size / len(indices)), 1)
    taken = wanted.astype(np.int64)
    largest_remainders = np.argsort(taken - wanted, kind="stable")
    for index in largest_remainders[: max(size - int(taken.sum()), 0)]:
        taken[index] += taken[index] < counts[index]
    shuffled = rng.permutation(len(indices))
    by_class = shuffled[np.argsort(indices[shuffled], kind="stable")]
    starts = np.cumsum(counts) - counts
    return np.sort(np.concatenate([by_class[start : start + n] for start, n in zip(starts, taken, strict=True)]))


def labelled_rows(
    method: str, features: NDArray[np.floating[Any]], labels: NDArray[Any]
) -> tuple[NDArray[np.floating[Any]], NDArray[Any]]:
    """The rows of source data that have a label, and their labels; a label below 0 means that there is none.

    Raises:
        EvidenceError: they are of fewer than two classes.
    """
    labelled = labels >= 0
    if not labelled.all():
        features, labels = features[labelled], labels[labelled]
    if len(np.unique(labels)) < 2:
        raise EvidenceError(
            f"source_labels hold {len(np.unique(labels))} class; {method} needs a source sample of two or more"
        )
    return features, labels


def check_probabilities(probabilities: NDArray[np.floating[Any]]) -> None:
    """Raises where source-class probabilities are not: negative numbers, or rows that do not sum to 1.

    Raises:
        EvidenceError: what is wrong, and that logits want a softmax.
    """
    sums = probabilities @ np.ones(probabilities.shape[1], dtype=probabilities.dtype)
    worst = int(np.abs(sums - 1).argmax())
    if probabilities.min() < 0 or abs(sums[worst] - 1) > 1e-2:
        raise EvidenceError(
            f"source_probabilities are not probabilities: smallest entry {probabilities.min():.3g}, row {worst} sums "
            f"to {sums[worst]:.3g}; expected rows of non-negative numbers that sum to 1. Apply a softmax to logits."
        )


def class_sums(
    rows: NDArray[np.floating[Any]], indices: NDArray[np.int64], n_classes: int, chunk: int = 8192
) -> NDArray[np.float64]:
    """(C, S) sums of rows by class, in float64, a chunk of rows at a time.

    >>> class_sums(np.array([[1.0], [2.0], [4.0]]), np.array([0, 1, 0]), 2)
    array([[5.],
           [2.]])
    """
    from scipy.sparse import csc_array

    total = np.zeros((n_classes, rows.shape[1]))
    for start in range(0, len(rows), chunk):
        part = np.asarray(rows[start : start + chunk], dtype=np.float64)
        members = indices[start : start + chunk]
        one_hot = csc_array((np.ones(len(part)), members, np.arange(len(part) + 1)), shape=(n_classes, len(part)))
        total += np.asarray(one_hot @ part)
    return total
