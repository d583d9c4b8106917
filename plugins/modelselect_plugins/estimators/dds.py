"""DDS, the centred kernel alignment of how unlike two images look to the candidate and to a reference model.

K. Dwivedi, J. Huang, R. M. Cichy, G. Roig: Duality diagram similarity: a generic framework for initialization selection
in task transfer learning, ECCV 2020.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import modelselect as ms
from modelselect.errors import NotApplicableError
from modelselect.statistics import Matrix, chunks_of
from modelselect_plugins.dissimilarity import standardization, unit_rows


class DDS(ms.Estimator):
    """100 times the debiased centred kernel alignment of cosine dissimilarities, candidate against reference.

    Features and reference features (`proxy_features`, of a model trained on the target) are standardised. With K and L
    the N x N matrices of 1 - cosine, diagonals zero, the alignment is `H(K, L) / sqrt(H(K, K) H(L, L))`, H the unbiased
    Hilbert-Schmidt independence criterion. Because K = 11' - ZZ' with Z the rows over their lengths, H follows from
    Z'W and row sums: neither matrix is formed.

    Source: section 3; L. Song et al.: Feature selection via dependence maximization, JMLR 2012, for H.

    >>> rng = np.random.default_rng(0)
    >>> reference = rng.normal(size=(60, 5))
    >>> features = reference @ rng.normal(size=(5, 8))
    >>> round(ms.score(features, None, DDS(), proxy_features=reference))
    80
    """

    name = "dds"
    requires = frozenset({"features", "proxy_features"})
    citation = (
        "K. Dwivedi, J. Huang, R. M. Cichy, G. Roig: Duality diagram similarity: a generic framework for "
        "initialization selection in task transfer learning, ECCV 2020"
    )

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        assert evidence.features is not None
        assert evidence.proxy_features is not None
        n = len(evidence.features)
        if n < 4:
            raise NotApplicableError(f"dds needs four rows or more, and was given {n}")
        first, second = _Rows(evidence.features), _Rows(evidence.proxy_features)
        mine, theirs = _independence(first, first), _independence(second, second)
        if min(mine, theirs) <= 0:
            raise NotApplicableError(
                "dds is undefined here: the features, or the reference features, show no structure beyond chance "
                f"(independence criteria {mine:.3g} and {theirs:.3g}). Give more rows."
            )
        return {self.name: 100 * _independence(first, second) / math.sqrt(mine * theirs)}


class _Rows:
    """Standardised rows over their lengths, a chunk at a time."""

    def __init__(self, array: NDArray[np.floating[Any]]) -> None:
        self.array = array
        self.mean, self.deviation = standardization(array)

    def __getitem__(self, part: slice) -> Matrix:
        return unit_rows((np.asarray(self.array[part], dtype=np.float64) - self.mean) / self.deviation)


def _independence(first: _Rows, second: _Rows) -> float:
    """The unbiased Hilbert-Schmidt independence criterion of the two dissimilarity matrices, times N (N - 3)."""
    n = len(first.array)
    cross = np.zeros((first.array.shape[1], second.array.shape[1]))
    sums = [np.zeros(len(cross)), np.zeros(cross.shape[1])]
    diagonals = [np.empty(n), np.empty(n)]  # of K and L as formed: zero, but for rows of length 0
    for part, _ in chunks_of(first.array):
        z = first[part]
        w = z if second is first else second[part]
        cross += z.T @ w
        for side, rows in enumerate((z, w)):
            sums[side] += rows.sum(axis=0)
            diagonals[side][part] = 1 - np.square(rows).sum(axis=1)
    row_sums = [np.empty(n), np.empty(n)]
    for part, _ in chunks_of(first.array):
        for side, source in enumerate((first, second)):
            row_sums[side][part] = n - source[part] @ sums[side] - diagonals[side][part]
    product = n**2 - sums[0] @ sums[0] - sums[1] @ sums[1] + np.square(cross).sum() - diagonals[0] @ diagonals[1]
    totals = row_sums[0].sum() * row_sums[1].sum()
    return float(product + totals / ((n - 1) * (n - 2)) - 2 / (n - 2) * (row_sums[0] @ row_sums[1]))


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [DDS()]
