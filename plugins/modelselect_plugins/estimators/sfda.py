"""SFDA, a Fisher discriminant that challenges itself: confident rows stay, doubtful ones move towards other classes.

W. Shao, X. Zhao, Y. Ge, Z. Zhang, L. Yang, X. Wang, Y. Shan, P. Luo: Not all models are equal: Predicting model
transferability in a self-challenging Fisher space, ECCV 2022.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

import modelselect as ms
from modelselect.statistics import ClassStatistics, Matrix, Vector, scatter_of, softmax, solve_positive
from modelselect_plugins.discriminant import shrunk
from modelselect_plugins.regime import refuse_if_collapsed, warn_if_wide

Rows = Callable[[], Iterator[tuple[slice, Matrix]]]

_STEEPNESS = 5.0  # of the shrinkage in the largest eigenvalue: exp(-5 s)
_FLOOR = 1e-10  # of the shrinkage
_POWER_STEPS = 3  # double steps of the power iteration; not converged, as in the authors' code
_NOISE = 1e-12  # row sums of S_W below this, relative to S_W, are rounding


class SFDA(ms.Estimator):
    """Mean posterior of the true class in a shrunk Fisher space, after doubtful rows were mixed with other classes.

    1. `S_W`: prior-weighted biased within-class covariance, shrunk to `(1 - a) S_W + a tr(S_W) / D I` with
       `a = max(exp(-5 s), 1e-10)`, s the largest eigenvalue of S_W.
    2. Posteriors of the linear discriminant with this covariance. A second softmax over them gives each row the
       confidence q in its true class.
    3. `x <- q x + (1 - q) o`, o the unweighted mean of the other classes' means.
    4. The discriminant once more, of these rows with the same a: its mean posterior of the true class is the score.

    As in the authors' code, s is the value after three double steps of the power iteration from the row sums of S_W,
    which has not converged. Where these sums vanish (features whose rows sum to a constant) there is no such start, and
    s is the largest eigenvalue. The score is 1 whatever the labels where N is far below D (a warning says so).

    Source: section 3, equations 3 to 9.

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
        return {self.name: self_challenging_posterior(classes, classes.features.chunks, classes.means)}


def self_challenging_posterior(classes: ClassStatistics, rows: Rows, means: Matrix) -> float:
    """The score of `SFDA`.

    Args:
        classes: whose within-class scatter is taken.
        rows: gives (N, min(N, D)) rows in chunks, which may differ from those of `classes` by a shift of each class.
        means: (C, min(N, D)) of these rows.
    """
    dimensions = classes.features.d
    within = classes.within_class_scatter / classes.n
    shrinkage = max(math.exp(-_STEEPNESS * largest_eigenvalue(within, classes.features.ones)), _FLOOR)
    confidence = np.empty((classes.n, 1))
    for part, posteriors in _posteriors(rows, shrunk(within, shrinkage, dimensions), means, classes.priors):
        confidence[part, 0] = _of_true_class(softmax(posteriors), classes.codes[part])

    others = (means.sum(axis=0) - means) / (classes.n_classes - 1)

    def challenged() -> Iterator[tuple[slice, Matrix]]:
        for part, chunk in rows():
            certain = confidence[part]
            yield part, certain * chunk + (1 - certain) * others[classes.codes[part]]

    means = sum((classes.sum_by_class(chunk, part) for part, chunk in challenged()), np.zeros_like(means))
    means /= classes.counts[:, None]
    centred = (chunk - means[classes.codes[part]] for part, chunk in challenged())
    covariance = shrunk(scatter_of(centred) / classes.n, shrinkage, dimensions)
    total = 0.0
    for part, posteriors in _posteriors(challenged, covariance, means, classes.priors):
        total += float(_of_true_class(posteriors, classes.codes[part]).sum())
    return total / classes.n


def largest_eigenvalue(within: Matrix, ones: Vector) -> float:
    """Of S_W, as far as three double power steps from its row sums come; see `SFDA`."""
    start = within @ ones
    if np.linalg.norm(start) <= _NOISE * np.linalg.norm(within) * np.linalg.norm(ones):
        return float(np.linalg.eigvalsh(within)[-1])
    other = start
    for _ in range(_POWER_STEPS):
        other = within @ start
        other /= np.linalg.norm(other)
        start = within @ other
        start /= np.linalg.norm(start)
    return float(start @ within @ other)


def _posteriors(rows: Rows, covariance: Matrix, means: Matrix, priors: Vector) -> Iterator[tuple[slice, Matrix]]:
    weights = solve_positive(covariance, means.T).T
    offsets = np.log(priors) - (weights * means).sum(axis=1) / 2
    for part, chunk in rows():
        yield part, softmax(chunk @ weights.T + offsets)


def _of_true_class(probabilities: Matrix, codes: np.ndarray) -> Vector:
    result: Vector = probabilities[np.arange(len(codes)), codes]
    return result


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [SFDA()]
