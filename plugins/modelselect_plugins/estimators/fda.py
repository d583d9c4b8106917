"""FDA, the posterior of the true class in Fisher's discriminant space, with which Fennec fills its transfer history.

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

    Fisher's directions hold the class means as far apart as they can be beside the spread within classes. The surer
    Bayes' rule is of each row's class in this space, the better the features fit the target. Fennec fills its transfer
    history with this score.

    Formula: directions U of `S_B u = lambda S_W u` with the prior-weighted biased covariances, `S_W + r tr(S_W) / D I`
    for S_W; a row f = U'x belongs to class c with logit `f'mu_c - |mu_c|^2 / 2 + log pi_c`; the score is the mean
    softmax of the true class. Because U spans all that separates the class means, the logits differ between classes by
    what one Cholesky factorisation of S_W gives: no eigenproblem is solved.

    Args:
        regularization: r.

    Limits: It is 1 whatever the labels where N <= D (a warning says so), and near 1 for all candidates where N is not
    far above D: there raise `regularization`, to 0.1 say. Undefined where no class varies.

    Code and paper: The mean over rows is the paper's sum (equation 3) over N, so that probes of different size compare.
    The authors leave S_W as it is but for a little on its diagonal: r = 1e-6.

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


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [FDA()]
