"""PED, potential energy decline: classes repel each other like charged balls, and the moved features are scored.

X. Li, Z. Hu, Y. Ge, Y. Shan, L.-Y. Duan: Exploring model transferability through the lens of potential energy,
ICCV 2023.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

import modelselect as ms
from modelselect.errors import InvalidInputError
from modelselect.evidence.class_statistics import ClassStatistics
from modelselect.evidence.linear_algebra import Matrix, Vector, positive_eigh
from modelselect.evidence.statistics import FeatureStatistics
from modelselect_plugins.estimators._shared.dissimilarity import standardization
from modelselect_plugins.estimators._shared.regime import refuse_if_collapsed, warn_if_wide
from modelselect_plugins.estimators.logme import ByEigenvectors, log_evidence
from modelselect_plugins.estimators.sfda import self_challenging_posterior

_STEPS = 6  # maximum
_FLOOR = 1e-3  # minimum of the standard deviation that features are divided by


class PED(ms.Estimator):
    """Pushes overlapping classes apart, as fine-tuning would, and scores the moved features with SFDA or LogME.

    Classes that overlap repel each other like charged balls, and fine-tuning lets them move. So the class means are
    moved for a few steps, and the features are scored at their new positions.

    In short: SFDA or LogME after classes were pushed apart.

    Formula:
    1. Standardise by mean and standard deviation of the *source* features or, without any, by those of the features
       themselves.
    2. Class c is a ball around its mean with radius r_c, the square root of its summed variances. Two balls overlap by
       `o = max(n_sigma (r_a + r_b) - |mu_a - mu_b|, 0)`, and each moves away from the other by `min(t^2 o / 2, o)`.
    3. At most six such steps. The motion ends before a step whose moves sum to no more than `exit_ratio` times those of
       the first step.
    4. Undo the standardisation; score.

    Args:
        base: `"sfda"` or `"logme"`, the score of the moved features.
        n_sigma: size of a ball, in radii; the authors' function has 2.0 as its default.
        time_step: t.
        exit_ratio: see above.

    Limits: Those of its base: with SFDA, if N is far below D, the score is 1 for any labels (a warning says so). If no
    two balls overlap, nothing moves, and the score is that of the base.

    Code and paper: Follows the authors' code, which standardises by source features and stops with an error if there
    are none; here the target's own features replace them, which changes the score.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> features = rng.normal(size=(100, 8)) + labels[:, None]
    >>> source_features = rng.normal(size=(100, 8))
    >>> round(ms.score(features, labels, PED(), source_features=source_features), 2)
    0.7
    """

    name = "ped"
    requires = frozenset({"features", "labels"})
    optional = frozenset({"source_features"})
    citation = (
        "X. Li, Z. Hu, Y. Ge, Y. Shan, L.-Y. Duan: Exploring model transferability through the lens of potential "
        "energy, ICCV 2023"
    )
    cost = "iterative"

    def __init__(
        self,
        base: Literal["sfda", "logme"] = "sfda",
        n_sigma: float = 0.6,
        time_step: float = 0.1,
        exit_ratio: float = 0.5,
    ) -> None:
        self.base = base
        self.n_sigma = n_sigma
        self.time_step = time_step
        self.exit_ratio = exit_ratio

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        if self.base not in ("sfda", "logme"):
            raise InvalidInputError(f"base is {self.base!r}; expected 'sfda' or 'logme'")
        features, classes = evidence.feature_statistics, evidence.statistics
        yardstick = features.features if evidence.source_features is None else evidence.source_features
        if yardstick.shape[1] != features.d:
            raise InvalidInputError(
                f"source_features have {yardstick.shape[1]} columns and features {features.d}; they must come from the "
                "same model"
            )
        deviation = np.maximum(standardization(yardstick)[1], _FLOOR)
        means = classes.means
        moved = self._motion(classes, deviation) @ means
        shifts = moved - means

        if self.base == "sfda":
            refuse_if_collapsed(self.name, classes)
            warn_if_wide(self.name, features, "tends to 1 whatever the labels", "Give more rows than dimensions.")
            return {self.name: self_challenging_posterior(classes, shifts)}
        warn_if_wide(self.name, features, "is inflated: the features fit any target", "Give more rows than dimensions.")
        if features.n > features.d:
            weighted = np.sqrt(classes.counts)[:, None] * moved
            spectrum = positive_eigh(classes.within_class_scatter + weighted.T @ weighted)
        else:
            spectrum = FeatureStatistics(features.coordinates + shifts[classes.codes]).gram_eigh
        cross = (moved * classes.counts[:, None]).T
        squares = classes.counts.astype(np.float64)
        return {self.name: log_evidence(ByEigenvectors(spectrum, cross, squares), features.n, features.d)}

    def _motion(self, classes: ClassStatistics, deviation: Vector) -> Matrix:
        """(C, C) matrix that takes the class means to where they come to."""
        classes = classes.unrotated
        means = classes.deviations / deviation
        radii = np.sqrt(_variances(classes, means, deviation))
        motion = np.eye(classes.n_classes)
        first = 0.0
        for step in range(_STEPS):
            distances = _distances(means)
            overlaps = np.maximum(self.n_sigma * (radii[:, None] + radii) - distances, 0.0)
            np.fill_diagonal(overlaps, 0.0)
            moves = np.minimum(self.time_step**2 / 2 * overlaps, overlaps)
            total = float(moves.sum())
            if total == 0 or (step > 0 and total <= self.exit_ratio * first):
                break
            first = first if step > 0 else total
            weights = np.divide(moves, distances, out=np.zeros_like(moves), where=distances > 0)
            push = np.diag(1 + weights.sum(axis=1)) - weights
            means, motion = push @ means, push @ motion
        return motion


def _variances(classes: ClassStatistics, means: Matrix, deviation: Vector) -> Vector:
    """(C,) summed variances of each class's rows over `deviation`; `means` are theirs, less the mean of all."""
    squares = np.zeros(classes.n_classes)
    for part, chunk in classes.features.centred_chunks():
        codes = classes.codes[part]
        lengths = np.square(chunk / deviation - means[codes]).sum(axis=1)
        squares += np.bincount(codes, weights=lengths, minlength=len(squares))
    result: Vector = squares / classes.counts
    return result


def _distances(points: Matrix) -> Matrix:
    """(C, C) Euclidean; zero where two points are equal to working precision."""
    lengths = np.square(points).sum(axis=1)
    sums = lengths[:, None] + lengths
    squares = sums - 2 * points @ points.T
    return np.sqrt(np.where(squares > len(points[0]) * np.finfo(np.float64).eps * sums, squares, 0.0))


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [PED()]
