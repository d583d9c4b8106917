"""FDA, the posterior of the true class in Fisher's discriminant space; Fennec fills its transfer history with it.

J. Bai, S. Wu, J. Song, J. Zhao, G. Chen: Pre-trained model recommendation for downstream fine-tuning, 2024.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

import modelselect as ms
from modelselect.evidence.class_statistics import ClassStatistics
from modelselect.evidence.linear_algebra import Matrix, solve_positive
from modelselect_plugins.estimators._shared.discriminant import mean_of_true_class, posteriors, with_diagonal
from modelselect_plugins.estimators._shared.regime import refuse_if_collapsed, warn_if_wide

_REGULARIZATION = 1e-6


class FDA(ms.Estimator):
    """Mean posterior of the true class after projection on Fisher's C - 1 discriminant directions.

    Fisher's directions separate the class means as far as possible relative to the spread within classes. The more
    certain Bayes' rule is of each row's class in this space, the better the features fit the target. Fennec fills its
    transfer history with this score.

    In short: How sure Fisher's discriminant analysis is.

    Formula: directions U solve `S_B u = lambda S_W u` with the prior-weighted biased covariances, where S_W is replaced
    by `S_W + r tr(S_W) / D I`; a row f = U'x belongs to class c with logit `f'mu_c - |mu_c|^2 / 2 + log pi_c`; the
    score is the mean softmax of the true class. Since U spans all differences of class means, the differences between
    logits follow from one Cholesky factorisation of S_W: no eigenproblem is solved.

    Args:
        regularization: r.

    Limits: If N <= D, the score is 1 for any labels (a warning says so). If N is not much larger than D, it is near 1
    for all candidates; raise `regularization` then, for example to 0.1. Undefined if no class varies.

    Code and paper: The authors only add a little to the diagonal of S_W: r = 1e-6.

    - The score is the mean over rows, so that probes of different sizes are comparable. The paper has the sum (equation
      3). Nothing restores it: on one probe, both give the same order.

    Source: section 3.1, equations 2 and 3, and appendix C.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> features = rng.normal(size=(100, 8)) + labels[:, None]
    >>> round(ms.score(features, labels, FDA()), 2)
    0.89
    """

    name = "fda"
    requires = frozenset({"features", "labels"})
    citation = (
        "J. Bai, S. Wu, J. Song, J. Zhao, G. Chen: Pre-trained model recommendation for downstream fine-tuning, 2024"
    )

    def __init__(self, regularization: float = _REGULARIZATION) -> None:
        self.regularization = regularization

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        classes = evidence.statistics
        refuse_if_collapsed(self.name, classes)
        warn_if_wide(
            self.name, classes.features, "is 1 whatever the labels", "Give more rows, or FDA(regularization=0.1)."
        )
        return {self.name: mean_of_true_class(fisher_posteriors(classes, self.regularization), classes.codes)}


def fisher_posteriors(classes: ClassStatistics, regularization: float) -> Matrix:
    """(N, C) posteriors in the space of Fisher's discriminant directions; see `FDA`."""
    within = classes.within_class_scatter / classes.n
    within = with_diagonal(within, regularization * np.trace(within) / classes.features.d)
    deviations = classes.deviations
    weights = solve_positive(within, deviations.T).T
    offsets = np.log(classes.priors) - (weights * deviations).sum(axis=1) / 2 - weights @ classes.features.mean
    return posteriors(classes.features, weights, offsets)


def fisher_directions(evidence: ms.Evidence, dimensions: int = 32) -> Matrix:
    """(N, C - 1) the rows on Fisher's discriminant directions, each of variance 1 within classes.

    Args:
        evidence: features, and labels of all rows.
        dimensions: number of principal components that the features are reduced to first, as in the authors' code.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1, 2], 50)
    >>> features = rng.normal(size=(150, 8)) + np.eye(8)[labels]
    >>> fisher_directions(ms.Evidence.of(features=features, labels=labels)).shape
    (150, 2)
    """
    from scipy.linalg import eigh

    classes = evidence.statistics
    rows = evidence.feature_statistics.principal_components(dimensions)
    means = np.stack([rows[classes.codes == c].mean(axis=0) for c in range(len(classes.classes))])
    apart = rows - means[classes.codes]
    within = apart.T @ apart / len(rows)
    within = with_diagonal(within, _REGULARIZATION * np.trace(within) / rows.shape[1])
    between = (means * classes.priors[:, None]).T @ means
    first = max(rows.shape[1] - len(means) + 1, 0)
    directions = eigh(between, within, subset_by_index=[first, rows.shape[1] - 1])[1]
    projected: Matrix = rows @ directions[:, ::-1]
    return projected


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [FDA()]
