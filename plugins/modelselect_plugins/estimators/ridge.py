"""Ridge: the error of a regularised linear regression from features to numbers.

C. C. Nguyen, P. N. Tran, L. S. T. Ho, V. C. Dinh, A. T. Tran, T. Hassner, C. V. Nguyen: Simple Transferability
Estimation for Regression Tasks, UAI 2023 (arXiv 2312.00656).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

import modelselect as ms
from modelselect.errors import InvalidInputError, NotApplicableError
from modelselect_plugins.estimators._shared.distances import centred


class Ridge(ms.Estimator):
    """The negative regularised error of the best linear map from features to targets, on the same rows.

    A linear model that explains the numbers with small weights is a good start for fine-tuning. The penalty keeps wide
    features, which fit any numbers, from a perfect score.

    In short: Regularised error of a linear regression to numbers.

    Formula: `- min over A, b of sum of |y_i - A f_i - b|² / N + shrinkage |A|²`, with the targets standardised. The
    optimum has a closed form, by the singular values of the centred features.

    Args:
        shrinkage: the weight of the penalty; 0 for the plain error of least squares.

    Limits: The score depends on the scale of the features, since the penalty does. It is for numbers and sets of
    labels; classes have `logme` and `h_score`.

    Code and paper: The paper's Linear MSE; its penalty is 0 for Linear MSE, and 1 with shrinkage, which is the default
    here. The paper does not standardise the targets; a factor on them changes no ranking for a penalty of 0.

    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(100, 4))
    >>> numbers = features @ [[1.0], [2.0], [0.0], [0.0]]
    >>> ms.score(features, numbers, Ridge()) > ms.score(rng.normal(size=(100, 4)), numbers, Ridge())
    True
    """

    name = "ridge"
    requires = frozenset({"features", "labels"})
    targets = frozenset({"numbers", "label_sets"})
    citation = (
        "C. C. Nguyen, P. N. Tran, L. S. T. Ho, V. C. Dinh, A. T. Tran, T. Hassner, C. V. Nguyen: Simple "
        "Transferability Estimation for Regression Tasks, UAI 2023"
    )

    def __init__(self, shrinkage: float = 1.0) -> None:
        self.shrinkage = shrinkage

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        assert evidence.features is not None
        assert evidence.labels is not None
        if not self.shrinkage >= 0:
            raise InvalidInputError(f"shrinkage is {self.shrinkage!r}; expected a number of 0 or more")
        if evidence.labels.ndim == 1:
            raise NotApplicableError(f"{self.name} is a regression to numbers, and was given classes; use 'logme'")
        targets = evidence.labels.astype(np.float64)
        deviation = targets.std(axis=0)
        targets = (targets - targets.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
        left, lengths, _ = np.linalg.svd(centred(evidence.features).astype(np.float64), full_matrices=False)
        kept = lengths > lengths.max(initial=0.0) * np.finfo(np.float64).eps * max(evidence.features.shape)
        squares = np.square(lengths[kept])[:, None]
        reached = np.square(left[:, kept].T @ targets)
        penalty = len(targets) * self.shrinkage
        # The residual of ridge regression together with its penalty is |y|² minus the share that is reached.
        missed = np.square(targets).sum(axis=0) - (reached * squares / (squares + penalty)).sum(axis=0)
        return {self.name: -float(missed.sum() / len(targets))}


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [Ridge()]
