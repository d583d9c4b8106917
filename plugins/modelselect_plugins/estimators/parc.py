"""PARC, the rank correlation of the dissimilarities of images by features and by labels.

D. Bolya, R. Mittapalli, J. Hoffman: Scalable diverse model selection for accessible transfer learning, NeurIPS 2021.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

import modelselect as ms
from modelselect.errors import NotApplicableError
from modelselect_plugins.estimators._shared.dissimilarity import (
    check_pairs,
    correlation_rows,
    similarities,
    spearman_with_two_groups,
)

_DIMENSIONS = 32  # of the PCA


class PARC(ms.Estimator):
    """100 times Spearman's correlation, over pairs of rows, of 1 - corr(features) with 1 - corr(one-hot labels).

    If features fit the target, images of the same class look similar to the candidate, and images of two classes do
    not. The score is how well the order of all pairs by their similarity in feature space agrees with that.

    In short: Are rows of one class alike, and of others not?

    Formula: `100 Spearman(1 - corr(features), 1 - corr(labels))` over pairs of rows. Features are projected on 32
    principal components and standardised; corr is Pearson's correlation of two rows. For labels it has only two values,
    one for pairs of the same class and one for others, so the score is that of a rank-sum test between the two groups
    of pairs.

    Args:
        dimensions: number of principal components; None for unchanged features.

    Limits: With many classes there are few pairs of the same class, and the score stays small. Time and memory grow
    with N^2: suitable for a few thousand rows.

    Code and paper: The default follows the authors' code, with exact in place of random steps.

    - PCA is exact. That of the authors' code is randomised. Nothing restores it: its result is within the variation
      of theirs.
    - Equal label dissimilarities are tied. In the authors' code they differ in the last bit, which decides the ranks of
      millions of ties. Nothing restores it: the order of such ties is that of one machine.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> features = rng.normal(size=(100, 8)) + labels[:, None]
    >>> round(ms.score(features, labels, PARC()), 1)
    21.7
    """

    name = "parc"
    requires = frozenset({"features", "labels"})
    citation = (
        "D. Bolya, R. Mittapalli, J. Hoffman: Scalable diverse model selection for accessible transfer learning, "
        "NeurIPS 2021"
    )
    cost = "quadratic"

    def __init__(self, dimensions: int | None = _DIMENSIONS) -> None:
        self.dimensions = dimensions

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        features, classes = evidence.feature_statistics, evidence.statistics
        check_pairs(self.name, features.n)
        space = features.features
        if self.dimensions is not None:
            space = features.principal_components(self.dimensions)
        same = np.concatenate([classes.codes[:i] == classes.codes[i] for i in range(features.n)])
        # The correlation of two vectors is that of one minus each.
        score = spearman_with_two_groups(similarities(correlation_rows(space)), same)
        if math.isnan(score):
            raise NotApplicableError(
                f"parc is undefined here: {features.n} rows of {features.d} dimensions in {classes.n_classes} classes "
                "have no two pairs that are more and less alike. Give two or more dimensions, and two or more rows of "
                "a class."
            )
        return {self.name: 100 * score}


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [PARC()]
