"""INT, the pairwise normalised interclass distance: how far apart rows of different classes are.

P. Singh, S. Hess, J. Vanschoren: Occam's model: selecting simpler representations for better transferability
estimation, 2025.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

import modelselect as ms
from modelselect_plugins.estimators._shared.distances import centred, squared_distances, squared_norms

_CHUNK = 512  # rows whose distances are held at a time


class INT(ms.Estimator):
    """Mean distance between rows of two classes, averaged over all pairs of classes.

    Classes that lie far apart are simple to tell apart, and a simple representation transfers better. Each pair of
    classes counts alike, whatever their numbers of rows.

    In short: Are rows of different classes far apart?

    Formula: `2 / (C (C - 1))` times the sum, over all pairs of classes a < b, of the mean Euclidean distance between a
    row of a and a row of b.

    Limits: The distance between rows of one class does not enter, and the score has the unit of the features: twice the
    features are twice the score. Networks of one family, whose features have the same scale, are compared best.

    Code and paper: Agrees with the authors' code. Their second measure, concept variation, is left out: their code
    gives a number for each row, and does not say how these become a score.

    >>> features, labels = np.array([[0.0], [2.0], [3.0]]), np.array([0, 0, 1])
    >>> round(ms.score(features, labels, INT()), 6)
    2.0
    """

    name = "int"
    requires = frozenset({"features", "labels"})
    citation = (
        "P. Singh, S. Hess, J. Vanschoren: Occam's model: selecting simpler representations for better transferability "
        "estimation, 2025"
    )
    cost = "quadratic"

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        classes = evidence.statistics
        rows = centred(evidence.feature_statistics.features)
        norms = squared_norms(rows)
        members = np.eye(len(classes.counts))[classes.codes]
        sums = np.zeros((len(classes.counts), len(classes.counts)))
        for start in range(0, len(rows), _CHUNK):
            part = slice(start, start + _CHUNK)
            block = squared_distances(rows[part], rows, norms[part], norms)
            sums += members[part].T @ (np.sqrt(block, out=block) @ members)
        means = sums / np.outer(classes.counts, classes.counts)
        return {self.name: float(means[np.triu_indices(len(means), k=1)].mean())}


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [INT()]
