"""The mean silhouette coefficient of the classes.

A. Meiseles, L. Rokach: Source model selection for deep learning in the time series domain, IEEE Access 8, 2020.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

import modelselect as ms
from modelselect.errors import NotApplicableError
from modelselect_plugins.estimators._shared.distances import centred, squared_distances, squared_norms

_CHUNK = 512  # rows whose distances are held at a time


class Silhouette(ms.Estimator):
    """Mean silhouette coefficient, from -1 to 1: is each row nearer to its own class than to the nearest other one?

    A row that is nearer to the rows of its own class than to those of any other counts as 1 at best, and one that lies
    in another class as -1 at worst. The mean over all rows says how well the classes form clusters.

    In short: Is each row nearer to its own class than to another?

    Formula: mean over rows of `(b - a) / max(a, b)`, where a is the mean Euclidean distance to the other rows of the
    row's class, and b the least, over the other classes, of the mean distances to their rows. A row whose class has no
    other row counts as 0.

    Limits: Distances of all directions count alike, so a direction of large variance that says nothing of the classes
    hides the others. A class of several clusters scores low, although a classifier may separate it.

    Code and paper: Agrees with scikit-learn, and with a public re-implementation of the method. The paper ranks
    networks for time series.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> features = rng.normal(size=(100, 8)) + 3 * labels[:, None]
    >>> round(ms.score(features, labels, Silhouette()), 2)
    0.58
    """

    name = "silhouette"
    requires = frozenset({"features", "labels"})
    citation = (
        "A. Meiseles, L. Rokach: Source model selection for deep learning in the time series domain, IEEE Access 8, "
        "2020"
    )
    cost = "quadratic"

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        classes = evidence.statistics
        rows = centred(evidence.feature_statistics.features)
        norms = squared_norms(rows)
        if not norms.max():
            raise NotApplicableError("silhouette needs features that vary, and here all rows are equal")
        members = np.eye(len(classes.counts))[classes.codes]
        numbers = np.arange(len(rows))
        total = 0.0
        for start in range(0, len(rows), _CHUNK):
            part = slice(start, start + _CHUNK)
            block = squared_distances(rows[part], rows, norms[part], norms)
            block[numbers[: len(block)], numbers[part]] = 0.0
            sums = np.sqrt(block, out=block) @ members
            own, place = classes.codes[part], numbers[: len(block)]
            others = classes.counts[own] - 1
            within = sums[place, own] / np.maximum(others, 1)
            means = sums / classes.counts
            means[place, own] = np.inf
            between = means.min(axis=1)
            larger = np.maximum(within, between)
            counts = (others > 0) & (larger > 0)
            total += float(((between - within)[counts] / larger[counts]).sum())
        return {self.name: total / len(rows)}


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [Silhouette()]
