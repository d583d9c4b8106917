"""ETran, energy of the features and a discriminant score of their classes.

M. Gholami, M. Akbari, X. Wang, B. Kamranian, Y. Zhang: ETran: Energy-based transferability estimation, ICCV 2023.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import modelselect as ms
from modelselect.errors import InvalidInputError
from modelselect.evidence.linear_algebra import chunks_of
from modelselect.evidence.statistics import FeatureStatistics
from modelselect_plugins.estimators._shared.discriminant import mean_of_true_class, posteriors
from modelselect_plugins.estimators._shared.pool import min_max
from modelselect_plugins.estimators._shared.regime import refuse_if_collapsed, warn_if_wide
from modelselect_plugins.estimators.fda import fisher_posteriors

_WEIGHTS = {"energy": 0.15, "lda": 0.85}  # in the authors' code
_LOWEST = 5 / 1000  # share of rows, those with the lowest energy, that are used
_REGULARIZATION = 1e-6  # makes the eigenproblem of the paper's form solvable


class ETran(ms.Estimator):
    """`0.15 energy + 0.85 lda`, each min-max normalised over the pool of candidates.

    The energy of a row says how likely the row is under the model's own density; at a low value, the model has not seen
    similar data. The second term is how well a discriminant analysis separates the classes. The weights are those of
    the authors' code, after min-max normalisation over the pool.

    In short: Energy of the features, and how well LDA fits.

    Formula:
    - `energy`: mean over the lowest half per cent of rows (at least one) of log sum exp of the features.
    - `lda`: mean posterior of the true class, with logits `x'mu_c - |mu_c|^2 / 2 + log pi_c`.
    - total: `0.15 mm(energy) + 0.85 mm(lda)`, where mm is min-max over the pool. A term that is equal for the whole
      pool adds zero.

    Args:
        lda: `"code"` or `"paper"`; see below.

    Components: `energy` and `lda`. Without a pool, only these have a meaning.

    Limits: The energy is of features, not of logits, so it depends more on their scale than on their fit. The code's
    `lda` has no covariance: for features of large norm it is 0 or 1 for every row.

    Code and paper: The default follows the authors' code. Below 200 rows, its energy is NaN; here it is that of one
    row.

    - `lda` is the posterior with the identity matrix as covariance, because the authors' code takes a symmetric
      eigendecomposition of a matrix that is not symmetric. The paper describes the discriminant analysis with the
      within-class covariance (see `FDA`), which is 1 for any labels if N <= D: `lda="paper"`.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> features = rng.normal(size=(100, 8)) + labels[:, None]
    >>> {name: round(value, 2) for name, value in ms.score(features, labels, ETran(), components=True).items()}
    {'energy': 1.39, 'lda': 0.89}
    """

    name = "etran"
    requires = frozenset({"features", "labels"})
    citation = (
        "M. Gholami, M. Akbari, X. Wang, B. Kamranian, Y. Zhang: ETran: Energy-based transferability estimation, "
        "ICCV 2023"
    )
    relative = True

    def __init__(self, lda: Literal["code", "paper"] = "code") -> None:
        self.lda = lda

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        if self.lda not in ("code", "paper"):
            raise InvalidInputError(f"lda is {self.lda!r}; expected 'code' or 'paper'")
        features, classes = evidence.feature_statistics, evidence.statistics
        if self.lda == "paper":
            refuse_if_collapsed(self.name, classes)
            warn_if_wide(self.name, features, "has an lda of 1 whatever the labels", "Give more rows than dimensions.")
            probabilities = fisher_posteriors(classes, _REGULARIZATION)
        else:
            means = classes.unrotated.means
            offsets = np.log(classes.priors) - np.square(means).sum(axis=1) / 2
            probabilities = posteriors(features.unrotated, means, offsets)
        return {"energy": _energy(features), "lda": mean_of_true_class(probabilities, classes.codes)}

    def combine(self, scores: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
        """`0.15 mm(energy) + 0.85 mm(lda)`, mm = min-max over the pool."""
        total: NDArray[np.float64] = sum(
            (weight * min_max([s[name] for s in scores]) for name, weight in _WEIGHTS.items()), np.zeros(len(scores))
        )
        return total


def _energy(features: FeatureStatistics) -> float:
    energies = np.empty(features.n)
    for rows, chunk in chunks_of(features.features):
        largest = chunk.max(axis=1)
        energies[rows] = largest + np.log(np.exp(chunk - largest[:, None]).sum(axis=1))
    counted = max(int(features.n * _LOWEST), 1)
    return float(np.sort(np.partition(energies, counted - 1)[:counted]).mean())


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [ETran()]
