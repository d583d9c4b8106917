"""SFDA, a Fisher discriminant that challenges itself: certain rows stay, uncertain ones move towards other classes.

W. Shao, X. Zhao, Y. Ge, Z. Zhang, L. Yang, X. Wang, Y. Shan, P. Luo: Not all models are equal: Predicting model
transferability in a self-challenging Fisher space, ECCV 2022.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

import modelselect as ms
from modelselect.evidence.class_statistics import ClassStatistics
from modelselect.evidence.linear_algebra import Matrix, Vector, scatter_of, softmax, solve_positive
from modelselect_plugins.estimators._shared.discriminant import shrunk
from modelselect_plugins.estimators._shared.regime import refuse_if_collapsed, warn_if_wide

_STEEPNESS = 5.0  # how steeply the shrinkage falls with the largest eigenvalue: exp(-5 s)
_FLOOR = 1e-10  # minimum of the shrinkage
_POWER_STEPS = 3  # double steps of the power iteration; not converged, as in the authors' code
_NOISE = 1e-12  # row sums of S_W below this, relative to S_W, are rounding errors


class SFDA(ms.Estimator):
    """Mean posterior of the true class in a shrunk Fisher space, after uncertain rows were mixed with other classes.

    Fine-tuning makes easy classes separable anyway; candidates differ in the hard rows. So rows that a first
    discriminant is uncertain of are moved towards the other classes, and a second discriminant is judged on them.

    In short: Fisher's analysis with harder rows.

    Formula:
    1. `S_W`: prior-weighted biased within-class covariance, shrunk to `(1 - a) S_W + a tr(S_W) / D I` with
       `a = max(exp(-5 s), 1e-10)`, where s is the largest eigenvalue of S_W.
    2. Posteriors of the linear discriminant with this covariance. A second softmax over them gives each row the
       confidence q in its true class.
    3. `x <- q x + (1 - q) o`, where o is the unweighted mean of the other classes' means.
    4. The discriminant again, for these rows with the same a: its mean posterior of the true class is the score.

    Limits: If N is far below D, the score is 1 for any labels (a warning says so). The shrinkage depends on the scale
    of the features: at a large scale there is none. Undefined if no class varies.

    Code and paper: As in the authors' code, s is the value after three double steps of the power iteration from the row
    sums of S_W, which has not converged. If these sums vanish (for features whose rows sum to a constant), there is no
    such start, and s is the largest eigenvalue. The authors' code overwrites its input and needs labels without gaps;
    this does neither.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> features = rng.normal(size=(100, 8)) + labels[:, None]
    >>> round(ms.score(features, labels, SFDA()), 2)
    0.7
    """

    name = "sfda"
    requires = frozenset({"features", "labels"})
    citation = (
        "W. Shao, X. Zhao, Y. Ge, Z. Zhang, L. Yang, X. Wang, Y. Shan, P. Luo: Not all models are equal: Predicting "
        "model transferability in a self-challenging Fisher space, ECCV 2022"
    )

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        classes = evidence.statistics
        refuse_if_collapsed(self.name, classes)
        warn_if_wide(self.name, classes.features, "tends to 1 whatever the labels", "Give more rows than dimensions.")
        return {self.name: self_challenging_posterior(classes)}


def self_challenging_posterior(classes: ClassStatistics, shifts: Matrix | None = None) -> float:
    """The score of `SFDA`.

    Args:
        classes: of the features.
        shifts: (C, min(N, D)) what to add to the rows of each class first; nothing by default.
    """
    features, codes, counts = classes.features, classes.codes, classes.counts
    shifts = np.zeros_like(classes.means) if shifts is None else shifts
    means = classes.deviations + shifts  # here and below minus the mean of all rows, to keep all digits
    within = classes.within_class_scatter / classes.n
    shrinkage = max(math.exp(-_STEEPNESS * largest_eigenvalue(within, features.ones)), _FLOOR)
    first = _weights(within, shrinkage, features.d, means)
    confidence = np.empty(classes.n)
    centre = features.mean
    constant = _offsets(first, means, classes.priors) - first @ centre
    for rows, chunk in features.chunks():
        logits = chunk @ first.T + constant + (shifts @ first.T)[codes[rows]]
        confidence[rows] = _of_true_class(softmax(softmax(logits)), codes[rows])

    # A challenged row is q (z + s) + (1 - q) o. Its sums and scatter follow from weighted sums of z by class.
    others = (means.sum(axis=0) - means) / (classes.n_classes - 1)
    doubt = 1 - confidence
    q, qq, qd, dd = (
        np.bincount(codes, weights=w)[:, None] for w in (confidence, confidence**2, confidence * doubt, doubt**2)
    )
    sums = {name: np.zeros_like(means) for name in ("q", "qq", "qd")}

    def confident() -> Iterator[Matrix]:
        for rows, z in features.centred_chunks():
            sure = confidence[rows]
            for name, weights in (("q", sure), ("qq", sure**2), ("qd", sure * doubt[rows])):
                sums[name] += classes.sum_by_class(z, rows, weights)
            yield np.multiply(z, sure[:, None], out=z)

    scatter = scatter_of(confident(), features.width)
    means = (sums["q"] + q * shifts + (counts[:, None] - q) * others) / counts[:, None]
    mixed = sums["qq"].T @ shifts + sums["qd"].T @ others
    scatter += mixed + mixed.T + shifts.T @ (qq * shifts + qd * others) + others.T @ (qd * shifts + dd * others)
    scatter -= means.T @ (counts[:, None] * means)

    second = _weights(scatter / classes.n, shrinkage, features.d, means)
    total = 0.0
    for rows, chunk in features.chunks():
        sure, members = confidence[rows, None], codes[rows]
        logits = sure * (chunk @ second.T - second @ centre + (shifts @ second.T)[members])
        logits += (1 - sure) * (others @ second.T)[members] + _offsets(second, means, classes.priors)
        total += float(_of_true_class(softmax(logits), members).sum())
    return total / classes.n


def largest_eigenvalue(within: Matrix, ones: Vector) -> float:
    """Of S_W, as far as three double power steps from its row sums come; see `SFDA`."""
    start = within @ ones
    if np.linalg.norm(start) <= _NOISE * np.linalg.norm(within) * np.linalg.norm(ones):
        return float(np.linalg.eigvalsh(within)[-1])
    start /= np.linalg.norm(start)
    other = start
    for _ in range(_POWER_STEPS):
        other = within @ start
        other /= np.linalg.norm(other)
        start = within @ other
        start /= np.linalg.norm(start)
    return float(start @ within @ other)


def _weights(covariance: Matrix, shrinkage: float, dimensions: int, means: Matrix) -> Matrix:
    """(C, K) of the linear discriminant with the shrunk covariance."""
    least = shrinkage * float(np.trace(covariance)) / dimensions
    return solve_positive(shrunk(covariance, shrinkage, dimensions), means.T, least).T


def _offsets(weights: Matrix, means: Matrix, priors: Vector) -> Vector:
    offsets: Vector = np.log(priors) - (weights * means).sum(axis=1) / 2
    return offsets


def _of_true_class(probabilities: Matrix, codes: NDArray[np.intp]) -> Vector:
    result: Vector = probabilities[np.arange(len(codes)), codes]
    return result


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [SFDA()]
