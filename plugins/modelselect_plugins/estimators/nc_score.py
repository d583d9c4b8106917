"""Neural collapse score: the size of classes relative to the distances between them (Papyan, Han and Donoho, 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

import modelselect
from modelselect.errors import EvidenceError
from modelselect.estimators.estimator import Estimator
from modelselect.evidence.evidence import Evidence

_ROUNDING = np.finfo(np.float64).eps


class NCScore(Estimator):
    """Minus tr(S_W pinv(S_B)) / C, the variability collapse NC1: at most 0, which means that every class is one point.

    Training to the end makes a network's classes collapse to points that are far apart. If features are like this on
    the target before any training on it, they are near the result of fine-tuning. The measure is the size of classes
    relative to the distances between them.

    In short: How close each class is to a single point.

    Formula: `-tr(S_W pinv(S_B)) / C`. S_W is the mean over rows of the outer product of a row's deviation from its
    class mean. S_B is the mean over classes, with equal weights, of the outer product of a class mean's deviation from
    the mean of class means. C is the number of classes.

    Limits: If N is near D, the spread of a class in directions outside the span of S_B has no effect. Two classes with
    nearly equal means dominate the sum, whatever the others are like.

    Code and paper: Suresh, Abrol and Thakur (2023) rank models by neural collapse and publish no code; this is the
    classic measure that they start from, NC1, with its sign changed so that higher is better.

    Source: Papyan, Han, Donoho, PNAS 2020 (NC1).

    >>> import modelselect as ms
    >>> round(ms.score([[0.0], [2.0], [10.0], [12.0]], [0, 0, 1, 1], "nc_score"), 6)
    -0.02
    """

    name = "nc_score"
    requires = frozenset({"features", "labels"})
    citation = (
        "V. Papyan, X. Y. Han, D. Donoho: Prevalence of Neural Collapse during the Terminal Phase of Deep Learning "
        "Training, PNAS 2020; used for model selection by S. Suresh, V. Abrol, A. Thakur: Pitfalls in Measuring Neural "
        "Transferability, NeurReps 2023"
    )

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        classes = evidence.statistics.unrotated
        between = classes.deviations - classes.deviations.mean(axis=0)
        # pinv(S_B) = U diag(1 / s^2) U' from the thin singular value decomposition of the class means.
        _, singular, axes = np.linalg.svd(between / np.sqrt(classes.n_classes), full_matrices=False)
        if singular[0] <= np.abs(classes.means).max() * _ROUNDING:
            raise EvidenceError(f"{self.name}: all class means are equal, so that there is nothing to measure against")
        kept = singular > singular[0] * max(between.shape) * _ROUNDING
        axes, singular = axes[kept], singular[kept]
        within = np.zeros(len(axes))
        for rows, chunk in classes.features.chunks():
            within += np.square((chunk - classes.means[classes.codes[rows]]) @ axes.T).sum(axis=0)
        within /= classes.n
        return {self.name: -float((within / singular**2).sum()) / classes.n_classes}


@modelselect.hookimpl
def modelselect_register_estimators() -> Sequence[Estimator]:
    return [NCScore()]
