"""TransRate, the mutual information of features and labels by coding rates.

L.-K. Huang, J. Huang, Y. Rong, Q. Yang, Y. Wei: Frustratingly easy transferability estimation, ICML 2022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

import modelselect as ms
from modelselect.errors import NotApplicableError
from modelselect.evidence.linear_algebra import Matrix, log_determinant
from modelselect_plugins.estimators._shared.discriminant import with_diagonal

_DISTORTION = 1e-4  # epsilon of the coding rate in the authors' code


class TransRate(ms.Estimator):
    """Coding rate of all features minus the mean coding rate of the classes: `R(Z) - mean over classes of R(Z_c)`.

    The coding rate is the number of bits that the features need up to a small distortion. Features that need many bits
    together and few within each class contain much information about the class: the difference estimates their mutual
    information.

    In short: How many bits features say about the class.

    Formula: `R(Z) - mean over classes of R(Z_c)`, with `R(Z) = 1/2 log det(I + Z'Z / (n eps))` for n rows, where Z is
    centred by the mean of all rows.

    Args:
        weighted: weight classes by their size.
        normalize: divide the features by the square root of the trace of their scatter.
        distortion: epsilon.

    Limits: The rate depends on the scale of the features; `normalize=True` first divides them by the square root of
    their total scatter, so that backbones with different scales are comparable. If classes have few rows relative to D,
    R(Z_c) is small for every candidate, and the score is the rate of all features, for any labels.

    Code and paper: The default follows the authors' code.

    - The mean over classes is unweighted. The paper weights class c by n_c / N: `weighted=True`.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> features = rng.normal(size=(100, 8)) + 3 * labels[:, None]
    >>> round(ms.score(features, labels, TransRate()), 2)
    0.15
    """

    name = "transrate"
    requires = frozenset({"features", "labels"})
    citation = (
        "L.-K. Huang, J. Huang, Y. Rong, Q. Yang, Y. Wei: Frustratingly easy transferability estimation, ICML 2022"
    )

    def __init__(self, weighted: bool = False, normalize: bool = False, distortion: float = _DISTORTION) -> None:
        self.weighted = weighted
        self.normalize = normalize
        self.distortion = distortion

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        features, classes = evidence.feature_statistics, evidence.statistics
        total = float(np.trace(features.smaller_scatter))
        distortion = self.distortion * (total if self.normalize and total > 0 else 1.0)
        whole = _coding_rate(features.smaller_scatter, features.n * distortion)
        rates = [
            _coding_rate(classes.smaller_class_gram(c), count * distortion) for c, count in enumerate(classes.counts)
        ]
        return {self.name: whole - float(np.average(rates, weights=classes.counts if self.weighted else None))}


def _coding_rate(gram: Matrix, scale: float) -> float:
    try:
        return log_determinant(with_diagonal(gram / scale, 1.0)) / 2
    except np.linalg.LinAlgError:
        raise NotApplicableError(
            f"transrate cannot be computed: the features spread over {np.sqrt(np.trace(gram)):.3g}, beside which the "
            "directions in which they vary little are lost. Look for rows that lie far from all others, or use "
            "TransRate(normalize=True)."
        ) from None


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [TransRate()]
