"""RankMe, the effective rank of the features. It needs no labels.

Q. Garrido, R. Balestriero, L. Najman, Y. LeCun: RankMe: Assessing the downstream performance of pretrained
self-supervised representations by their rank, ICML 2023.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

import modelselect as ms
from modelselect.errors import NotApplicableError

_EPSILON = 1e-7  # of the paper's equation


class RankMe(ms.Estimator):
    """Effective rank of the features: the exponential of the entropy of their singular values.

    A network whose features collapse to a few directions has little to offer to a new task. The effective rank counts
    the directions that the features use, and counts a weak direction as less than one. It needs no labels.

    In short: How many directions do the features use?

    Formula: `exp(-sum over k of p_k log p_k)`, with `p_k = s_k / sum(s) + 1e-7`, where s are the min(N, D) singular
    values of the features, which are not centred.

    Limits: It is at most min(N, D), so wide networks and more rows score higher: compare networks of about one width,
    on the same rows. The paper ranks self-supervised networks of one architecture; for others it promises nothing.
    Noise in all directions scores highest.

    Code and paper: Agrees with the equation of the paper.

    >>> rng = np.random.default_rng(0)
    >>> features = rng.normal(size=(100, 3)) @ rng.normal(size=(3, 8))
    >>> round(ms.score(features, None, RankMe()), 1)
    2.7
    """

    name = "rankme"
    requires = frozenset({"features"})
    citation = (
        "Q. Garrido, R. Balestriero, L. Najman, Y. LeCun: RankMe: Assessing the downstream performance of pretrained "
        "self-supervised representations by their rank, ICML 2023"
    )

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        singular = np.sqrt(evidence.feature_statistics.gram_eigh[0])
        total = float(singular.sum())
        if total == 0:
            raise NotApplicableError("rankme needs features that are not all zero")
        shares = singular / total + _EPSILON
        return {self.name: float(np.exp(-(shares @ np.log(shares))))}


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [RankMe()]
