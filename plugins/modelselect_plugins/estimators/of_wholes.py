"""`knn` and `linear_probe` on rows that are parts of wholes, such as words of sentences, which stay together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import NotApplicableError
from modelselect.evidence.evidence import Evidence
from modelselect.probe.sampling import rarest
from modelselect_plugins.estimators._shared.classes import class_indices, stratified_sample
from modelselect_plugins.estimators._shared.distances import centred, nearest_rows
from modelselect_plugins.estimators.knn import KNN
from modelselect_plugins.estimators.linear_probe import LinearProbe


class NearestOfOthers(KNN):
    """Accuracy, in per cent, of the k nearest rows of other wholes. `knn` on parts of wholes.

    Words of one sentence and pixels of one image resemble each other, whatever their class.

    Args:
        k: number of neighbours; with fewer than k rows in other wholes, all of them.
    """

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        if evidence.groups is None:
            return super().score(evidence)
        assert evidence.features is not None
        assert evidence.labels is not None
        (indices, classes), (_, group) = class_indices(evidence.labels, self.name), _numbered(evidence.groups)
        own = np.bincount(group)
        if len(own) < 2:
            raise NotApplicableError(f"{self.name} looks for rows of other {_WHOLES}, and there is one only")
        near, _ = nearest_rows(centred(evidence.features), self.k + int(own.max()) - 1)
        others = group[near] != group[:, None]
        first = np.argsort(~others, axis=1, kind="stable")[:, : self.k]
        counted = np.take_along_axis(others, first, axis=1)
        votes = np.zeros((len(indices), classes))
        rows = np.arange(len(indices))[:, None]
        ahead = np.linspace(1, 0, first.shape[1], endpoint=False)
        nearer = 1 + ahead / (first.shape[1] + 1)  # a tie goes to the nearest
        np.add.at(votes, (rows, indices[np.take_along_axis(near, first, axis=1)]), counted * nearer)
        return {self.name: 100 * float((votes.argmax(axis=1) == indices).mean())}


class ProbeOfOthers(LinearProbe):
    """Accuracy, in per cent, of a logistic regression on rows of other wholes. `linear_probe` on parts of wholes.

    The rows of a whole are in one fold. The whole with the only rows of a class is always trained on.

    Args:
        folds: number of folds of the cross-validation.
        regularisation: inverse strength of the penalty, scikit-learn's `C`.
        iterations: maximum number of iterations of L-BFGS.
        max_rows: with more rows than this, one sample of this size that keeps the class shares; None uses all rows.
    """

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        if evidence.groups is None:
            return super().score(evidence)
        assert evidence.features is not None
        assert evidence.labels is not None
        rng = np.random.default_rng(evidence.seed)
        features, indices = evidence.features, class_indices(evidence.labels, self.name)[0]
        groups = evidence.groups
        if self.max_rows is not None and len(indices) > self.max_rows:
            rows = stratified_sample(indices, self.max_rows, rng)
            features, indices, groups = features[rows], indices[rows], groups[rows]
        fold = folds_of_wholes(indices, groups, self.folds, rng)
        right = np.zeros(len(indices), dtype=bool)
        for test in range(fold.max() + 1):
            held_out = fold == test
            trained = np.unique(indices[~held_out])
            if len(trained) > 1:
                said = self._predict(features[~held_out], indices[~held_out], features[held_out])
                right[held_out] = said == indices[held_out]
            else:
                right[held_out] = np.isin(indices[held_out], trained)
        if not (fold >= 0).any():
            raise NotApplicableError(
                f"{self.name} trains on some {_WHOLES} and tests on others, and no two share a class"
            )
        return {self.name: 100 * float(right[fold >= 0].mean())}


_WHOLES = "sentences or images"


def folds_of_wholes(
    indices: NDArray[np.int64], groups: NDArray[np.int64], folds: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """(N,) the fold in which each row is tested, the same for all rows of a whole; -1 for rows that never are.

    Wholes are dealt out by the rarest class in them.

    Args:
        indices: (N,) classes, from 0.
        groups: (N,) the whole of each row.
        folds: their number.
        rng: decides the order.
    """
    count, group = _numbered(groups)
    has = np.zeros((count, int(indices.max()) + 1), np.bool_)
    has[group, indices] = True
    strata = rarest(has)
    shuffled = rng.permutation(count)
    by_stratum = shuffled[np.argsort(strata[shuffled], kind="stable")]
    alone = np.bincount(strata)[strata[by_stratum]] == 1
    fold = np.full(count, -1)
    fold[by_stratum[~alone]] = np.arange((~alone).sum()) % min(folds, max(int((~alone).sum()), 1))
    return fold[group]


def _numbered(groups: NDArray[np.int64]) -> tuple[int, NDArray[np.int64]]:
    """The number of wholes, and the whole of each row, from 0."""
    found, numbered = np.unique(groups, return_inverse=True)
    return len(found), numbered
