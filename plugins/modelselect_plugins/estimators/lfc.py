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
    """Cosine between XX' and the matrix that is 1 for rows of one class and -1 for others, each less its mean entry.

    Near its pre-trained weights a network learns as a kernel machine does, fastest where its kernel agrees with the
    labels. The kernel of the last layer is the Gram matrix of the features, and the score is how well it is aligned
    with that of the labels.

    Formula: `<K, L> / (|K| |L|)`, K = XX' and L = 1 where two rows share a class and -1 elsewhere, each less its mean
    entry. Neither N x N matrix is formed: class sums and one D x D scatter give the same number.

    Limits: K is dominated by the few directions of largest variance, so that classes which differ in small directions
    go unseen. With many classes almost all entries of L are equal, and scores lie close together.

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
        # With Z the centred rows and m their mean, XX' less its mean entry is ZZ' + a1' + 1a', a = Zm: nothing cancels.
        mean, counts = features.mean, classes.counts
        length = math.sqrt(np.square(features.scatter).sum() + 2 * features.n * (mean @ features.scatter @ mean))
        if length == 0:
            raise NotApplicableError("lfc needs features that vary, and here all rows are equal")
        deviations = classes.deviations
        within_classes = np.square(counts) @ (np.square(deviations).sum(axis=1) + 2 * (deviations @ mean))
        same = float(np.square(counts, dtype=np.float64).sum())  # ordered pairs of one class
        pairs = float(features.n) ** 2
        label_length = math.sqrt(pairs - (2 * same - pairs) ** 2 / pairs)
        return {self.name: 2 * float(within_classes) / (length * label_length)}


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [LFC()]
