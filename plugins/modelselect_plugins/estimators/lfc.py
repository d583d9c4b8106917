"""LFC, the correlation of the features' Gram matrix with that of the labels: label-feature correlation.

A. Deshpande, A. Achille, A. Ravichandran, H. Li, L. Zancato, C. Fowlkes, R. Bhotika, S. Soatto, P. Perona: A linearized
framework and a new benchmark for model selection for fine-tuning, 2021.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

import modelselect as ms
from modelselect.errors import NotApplicableError


class LFC(ms.Estimator):
    """Cosine between XX' and the matrix that is 1 for rows of the same class and -1 otherwise, each minus its mean.

    Near its pre-trained weights, a network learns like a kernel machine: fastest if its kernel agrees with the labels.
    The kernel of the last layer is the Gram matrix of the features, and the score is its alignment with the Gram matrix
    of the labels.

    In short: Do rows of one class have similar features?

    Formula: `<K, L> / (|K| |L|)`, where K = XX' and L is 1 if two rows share a class and -1 otherwise, each minus its
    mean entry. L is never formed: class sums and the smaller one of XX' and X'X give the same number.

    Limits: K is dominated by the few directions of largest variance, so classes that differ in other directions are not
    recognised. With many classes almost all entries of L are equal, and scores are close together.

    Code and paper: Agrees with the code of Model Spider; the paper's other kernels, which need gradients, are left out.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> features = rng.normal(size=(100, 8)) + 3 * labels[:, None]
    >>> round(ms.score(features, labels, LFC()), 2)
    0.56
    """

    name = "lfc"
    requires = frozenset({"features", "labels"})
    citation = (
        "A. Deshpande, A. Achille, A. Ravichandran, H. Li, L. Zancato, C. Fowlkes, R. Bhotika, S. Soatto, P. Perona: "
        "A linearized framework and a new benchmark for model selection for fine-tuning, 2021"
    )

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        features, classes = evidence.feature_statistics, evidence.statistics
        # With Z the centred rows, m their mean and a = Zm, XX' minus its mean entry is ZZ' + a1' + 1a'; this keeps all
        # digits.
        mean, counts = features.unrotated.mean, classes.counts
        along = np.square(features.along_mean).sum() if features.is_wide else mean @ features.scatter @ mean
        length = math.sqrt(np.square(features.smaller_scatter).sum() + 2 * features.n * along)
        if length == 0:
            raise NotApplicableError("lfc needs features that vary, and here all rows are equal")
        deviations = classes.unrotated.deviations
        within_classes = np.square(counts) @ (np.square(deviations).sum(axis=1) + 2 * (deviations @ mean))
        same = float(np.square(counts, dtype=np.float64).sum())  # ordered pairs of rows of the same class
        pairs = float(features.n) ** 2
        label_length = math.sqrt(pairs - (2 * same - pairs) ** 2 / pairs)
        return {self.name: 2 * float(within_classes) / (length * label_length)}


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [LFC()]
