"""Nearest class mean: the accuracy of assigning each row to the class with the nearest mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

import modelselect
from modelselect.errors import NotApplicableError
from modelselect.estimators.estimator import Estimator
from modelselect.evidence.evidence import Evidence


class Centroid(Estimator):
    """Accuracy, in per cent, of the nearest class mean; each row is left out of the mean of its own class.

    If features transfer well, the rows of a class lie around one point, nearer to it than to the point of any other
    class. So each row is assigned to the class with the nearest mean, and the score is the share of correct rows.

    In short: Are the classes' means far apart? Nearest-mean accuracy.

    Formula: row x of class y is correct if c = y minimises `|x - mu_c|`, where mu_y is the mean of the other rows of y.
    The cost is linear in N, without a decomposition: the cheapest estimator that uses the classes. A class with a
    single row has no mean without this row: its row is not judged, but its mean can be a wrong answer for others.

    Args:
        leave_one_out: False includes each row in the mean of its own class, which favours classes with few rows.

    Limits: Fails if classes have several modes, or if a few dimensions of large scale dominate the others. On easy
    data many candidates tie at 100.

    Code and paper: The paper learns a metric; this is the Euclidean metric on unchanged features, as is common for this
    baseline.

    Source: Mensink, Verbeek, Perronnin, Csurka, PAMI 2013 (nearest class mean).

    >>> import modelselect as ms
    >>> ms.score([[0.0], [1.0], [5.0], [6.0]], [0, 0, 1, 1], "centroid")
    100.0
    """

    name = "centroid"
    requires = frozenset({"features", "labels"})
    citation = (
        "T. Mensink, J. Verbeek, F. Perronnin, G. Csurka: Distance-Based Image Classification: Generalizing to New "
        "Classes at Near-Zero Cost, PAMI 2013"
    )

    def __init__(self, leave_one_out: bool = True) -> None:
        self.leave_one_out = leave_one_out

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        classes = evidence.statistics.unrotated
        judged = classes.counts > 1
        if self.leave_one_out and not judged.any():
            raise NotApplicableError(f"{self.name} needs a class with two rows or more; every class here has one")
        centres = classes.deviations
        centre_norms = np.square(centres).sum(axis=1)
        right = total = 0
        for rows, chunk in classes.features.chunks():
            chunk = chunk - classes.features.mean
            codes, every = classes.codes[rows], np.arange(len(chunk))
            norms = np.square(chunk).sum(axis=1)
            distances = norms[:, None] - 2 * chunk @ centres.T + centre_norms
            if self.leave_one_out:
                counts = classes.counts[codes]
                # Without the row itself, the mean of its class is n / (n - 1) times as far away.
                distances[every, codes] *= (counts / np.maximum(counts - 1, 1)) ** 2
                kept = judged[codes]
                distances, codes = distances[kept], codes[kept]
            right += int((distances.argmin(axis=1) == codes).sum())
            total += len(codes)
        return {self.name: 100 * right / total}


@modelselect.hookimpl
def modelselect_register_estimators() -> Sequence[Estimator]:
    return [Centroid()]
