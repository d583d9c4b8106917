"""k nearest neighbours: the leave-one-out accuracy of the simplest classifier on frozen features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

import modelselect
from modelselect.errors import NotApplicableError
from modelselect.estimators.estimator import Estimator
from modelselect.evidence.evidence import Evidence
from modelselect_plugins.estimators._shared.classes import class_indices
from modelselect_plugins.estimators._shared.distances import centred, nearest_rows


class KNN(Estimator):
    """Leave-one-out accuracy, in per cent, of the k nearest neighbours in Euclidean distance.

    If images of the same class are near each other in feature space, the unchanged features fit the target. Each row is
    assigned to the most frequent class among its k nearest other rows, and the score is the share of correct rows.

    In short: Accuracy of each row's nearest neighbour.

    Formula: row x of class y is correct if most of the k other rows with the smallest `|x - x_j|` are of class y; if
    classes tie, the class with the nearest row counts. N^2 D work, but memory for only a block of distances.

    Args:
        k: number of neighbours; with fewer than k other rows, all of them.

    Limits: Fails if features have very different scales (they are not standardised); the row of a class with one row is
    always wrong. The scale is coarse: with N rows there are N + 1 values, and on easy data many candidates tie at 100.

    Code and paper: Cover and Hart's rule; with k = 1 it agrees with the baseline in PARC's code.

    Source: Cover and Hart, Nearest Neighbor Pattern Classification, 1967; agrees with the baseline of PARC (k = 1).

    >>> import modelselect as ms
    >>> ms.score([[0.0], [0.1], [5.0], [5.1]], [0, 0, 1, 1], "knn")
    100.0
    """

    name = "knn"
    requires = frozenset({"features", "labels"})
    citation = (
        "D. Bolya, R. Mittapalli, J. Hoffman: Scalable Diverse Model Selection for Accessible Transfer Learning, "
        "NeurIPS 2021 (baseline)"
    )
    cost = "quadratic"

    def __init__(self, k: int = 1) -> None:
        self.k = k

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        assert evidence.features is not None
        assert evidence.labels is not None
        indices, n_classes = class_indices(evidence.labels, self.name)
        if n_classes == len(indices):
            raise NotApplicableError(
                f"{self.name} looks for a row of the same class beside each row, and no class has two"
            )
        neighbours, _ = nearest_rows(centred(evidence.features), self.k)
        return {self.name: 100 * float((_votes(indices[neighbours], n_classes) == indices).mean())}


def _votes(classes: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """(N,) the most frequent class of each row of (N, k) classes, nearest first; ties go to the nearest."""
    n_rows, k = classes.shape
    if k == 1:
        return classes[:, 0]
    cells = np.arange(n_rows)[:, None] * n_classes + classes
    counts = np.zeros(n_rows * n_classes, dtype=np.int32)
    np.add.at(counts, cells.ravel(), 1)
    best = counts[cells].argmax(axis=1)
    return np.take_along_axis(classes, best[:, None], axis=1)[:, 0]


@modelselect.hookimpl
def modelselect_register_estimators() -> Sequence[Estimator]:
    return [KNN()]
