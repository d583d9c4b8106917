"""Nearest class mean: the accuracy of giving each row the class whose mean is nearest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

import modelselect
from modelselect.errors import NotApplicableError
from modelselect.estimators.estimator import Estimator
from modelselect.evidence.evidence import Evidence


class Centroid(Estimator):
    """Accuracy, in per cent, of the nearest class mean, each row left out of its own class's mean.

    Features that transfer well put the rows of a class around one point, nearer to it than to any other class's. So
    each row is given the class whose mean is nearest, and the score is the share that is right.

    Formula: row x of class y is right if y is the least over c of `|x - mu_c|`, where mu_y is the mean of the other
    rows of y. Linear in N, with no decomposition: the cheapest look at the classes. A class with a single row has no
    mean without that row: it is a wrong answer for others, and is not judged.

    Args:
        leave_one_out: False counts each row in its own class's mean, which flatters classes with few rows.

    Limits: Fails where classes have several modes, or where few dimensions of large scale drown the others. On easy
    data many candidates tie at 100.

    Code and paper: The paper learns a metric; here it is the Euclidean one of the features as they are, as the baseline
    is commonly used.

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
        classes = evidence.statistics
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
                # Without the row itself its class's mean lies n / (n - 1) times as far away.
                distances[every, codes] *= (counts / np.maximum(counts - 1, 1)) ** 2
                kept = judged[codes]
                distances, codes = distances[kept], codes[kept]
            right += int((distances.argmin(axis=1) == codes).sum())
            total += len(codes)
        return {self.name: 100 * right / total}


@modelselect.hookimpl
def modelselect_register_estimators() -> Sequence[Estimator]:
    return [Centroid()]
