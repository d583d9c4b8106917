"""DDS, centred kernel alignment of the dissimilarities of images for the candidate and for a reference model.

K. Dwivedi, J. Huang, R. M. Cichy, G. Roig: Duality diagram similarity: a generic framework for initialization selection
in task transfer learning, ECCV 2020.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import modelselect as ms
from modelselect.errors import NotApplicableError
from modelselect.evidence.linear_algebra import Matrix, Vector, chunk_rows, scatter_of
from modelselect_plugins.estimators._shared.dissimilarity import standardization, unit_rows


class DDS(ms.Estimator):
    """100 times the debiased centred kernel alignment of cosine dissimilarities, candidate against reference.

    A model trained on the target (the reference) finds some pairs of images similar and others not. A candidate that
    finds the same pairs similar already sees the data like this model, and has little left to learn.

    In short: Do its features group images as another network's do?

    Formula: `100 H(K, L) / sqrt(H(K, K) H(L, L))`, where K and L are the N x N matrices of 1 - cosine of the
    standardised features and reference features (`proxy_features`), with zero diagonals, and H is the unbiased
    Hilbert-Schmidt independence criterion. Since K = 11' - ZZ', where Z are the rows scaled to length 1, H follows from
    Z'W and sums of rows: neither matrix is formed.

    Limits: Needs a reference that was trained on the target (see below); a poor one gives a poor ranking. Undefined
    with fewer than four rows, or if the features or the reference features have no structure beyond chance.

    Code and paper: Follows the variant in the code of PARC's authors: standardised features, cosine, debiased
    alignment.

    - The reference is the proxy as it was pre-trained. The paper's is a network that was trained on the target. Nothing
      restores it in the estimator, but a run does: `select(proxy=..., train_proxy=True)` (`--train-proxy`) fine-tunes
      the proxy on the training rows first.
    - All dimensions count. The codes of PARC and Fennec reduce both sets of features to 32 principal components.
      Nothing restores it in the estimator; the protocols of `modelselect reproduce` do (`dimensions = 32`).

    Source: L. Song et al.: Feature selection via dependence maximization, JMLR 2012, for H.

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
        mine, theirs, between = _independence(evidence.features, evidence.proxy_features)
        if min(mine, theirs) <= 0:
            raise NotApplicableError(
                "dds is undefined here: the features, or the reference features, show no structure beyond chance "
                f"(independence criteria {mine:.3g} and {theirs:.3g}). Give more rows."
            )
        return {self.name: 100 * between / math.sqrt(mine * theirs)}


class _Sums(NamedTuple):
    """Sums from one pass over two sets of unit rows, z and w, some of which may have length zero."""

    cross: Matrix  # Z'W
    z: Vector  # sum of z
    w: Vector  # sum of w
    zero_z: float  # number of zero rows z, for which the diagonal of K would be 1
    zero_w: float
    zero_both: float
    z_where_w_is_zero: Vector  # sum of z
    w_where_z_is_zero: Vector  # sum of w

    def criterion(self, n: int) -> float:
        """The unbiased Hilbert-Schmidt independence criterion of 11' - ZZ' and 11' - WW', times N (N - 3)."""
        zz, ww = float(self.z @ self.z), float(self.w @ self.w)
        product = n**2 - zz - ww + float(np.square(self.cross).sum()) - self.zero_both
        totals = (n**2 - zz - self.zero_z) * (n**2 - ww - self.zero_w)
        rows = (  # product of the row sums of both matrices
            n * (n**2 - ww - self.zero_w)
            - n * (zz + self.zero_z)
            + float(self.z @ self.cross @ self.w + self.z @ self.z_where_w_is_zero + self.w @ self.w_where_z_is_zero)
            + self.zero_both
        )
        return product + totals / ((n - 1) * (n - 2)) - 2 / (n - 2) * rows


def _independence(
    features: NDArray[np.floating[Any]], reference: NDArray[np.floating[Any]]
) -> tuple[float, float, float]:
    """The criterion of each with itself, and of both."""
    arrays = (features, reference)
    scales = [standardization(array) for array in arrays]
    step = chunk_rows(max(features.shape[1], reference.shape[1]))
    sums: dict[tuple[int, int], _Sums] = {}
    in_place = len(features) > step  # with several chunks, adding their products up costs as much as they do

    def unit_features() -> Iterator[Matrix]:
        for start in range(0, len(features), step):
            sides = [
                unit_rows((np.asarray(array[start : start + step], dtype=np.float64) - mean) / deviation)
                for array, (mean, deviation) in zip(arrays, scales, strict=True)
            ]
            zeros = [~side.any(axis=1) for side in sides]
            for pair in ((0, 0), (1, 1), (0, 1)):
                z, w = (sides[side] for side in pair)
                zero_z, zero_w = (zeros[side] for side in pair)
                part = _Sums(
                    np.zeros((1, 1)) if in_place and pair == (0, 0) else z.T @ w,
                    z.sum(axis=0),
                    w.sum(axis=0),
                    zero_z.sum(),
                    zero_w.sum(),
                    (zero_z & zero_w).sum(),
                    z[zero_w].sum(axis=0),
                    w[zero_z].sum(axis=0),
                )
                sums[pair] = _Sums(*map(operator.add, sums[pair], part)) if pair in sums else part
            yield sides[0]

    if in_place:
        scatter = scatter_of(unit_features(), features.shape[1])
        sums[0, 0] = sums[0, 0]._replace(cross=scatter)
    else:
        list(unit_features())
    mine, theirs, between = (total.criterion(len(features)) for total in sums.values())
    return mine, theirs, between


@ms.hookimpl
def modelselect_register_estimators() -> Sequence[ms.Estimator]:
    return [DDS()]
