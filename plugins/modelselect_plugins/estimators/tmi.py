"""TMI: the entropy of the features within the classes, as room to fine-tune (Xu and Kang, ICCV 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import modelselect
from modelselect.errors import NotApplicableError
from modelselect.estimators.estimator import Estimator
from modelselect.evidence.evidence import Evidence

_BLOCK_BYTES = 1 << 25
_SMALLEST_DISTANCE = 1.0


class TMI(Estimator):
    """Entropy H(Z | Y), in nats, of the features given the class: the more spread *within* classes, the better.

    Features that vary within a class contain more than the class, which leaves room to fine-tune. So the entropy of
    each class's rows is estimated, and the mean is the score. Separable classes do not score higher than shuffled ones:
    they score lower, by design.

    In short: How much the features vary within a class.

    Formula: `sum over c of (n_c / N) H_c / C`, where the entropy of a class is estimated from the distance of each row
    to its k-th nearest row of the class, in the maximum norm (Kozachenko and Leonenko): `H_c = digamma(n_c) -
    digamma(k) + D log 2 + D mean(log distance)`. Classes with at most k rows are left out of the sum and of C.

    Args:
        k: number of the neighbour whose distance is used.
        mean_over_classes: divide by the number of classes, as in the code; False gives the paper's H(Z | Y).

    Limits: Distances below 1 count as 1, so the score depends on the scale: for features within a unit cube, only their
    width D counts. Among candidates of different widths, the widest wins.

    Code and paper: The default follows the authors' code.

    - The sum over classes, weighted by their share n_c / N of all rows, is also divided by the number of classes. The
      paper has the plain sum: `mean_over_classes=False`.

    Source: Xu and Kang, ICCV 2023.

    >>> import modelselect as ms
    >>> labels = [0] * 6 + [1] * 6
    >>> rows = np.arange(12.0)[:, None]
    >>> ms.score(5 * rows, labels, "tmi") > ms.score(rows, labels, "tmi")
    True
    """

    name = "tmi"
    requires = frozenset({"features", "labels"})
    citation = (
        "H. Xu, U Kang: Fast and Accurate Transferability Measurement by Evaluating Intra-class Feature Variance, "
        "ICCV 2023"
    )
    cost = "quadratic"

    def __init__(self, k: int = 3, mean_over_classes: bool = True) -> None:
        self.k = k
        self.mean_over_classes = mean_over_classes

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        classes = evidence.statistics
        width = classes.features.d
        large = [rows for rows in classes.indices if len(rows) > self.k]
        if not large:
            raise NotApplicableError(
                f"{self.name} measures the distance to the {self.k}th nearest row of a class, and no class has more "
                f"than {self.k} rows"
            )
        total = 0.0
        for rows in large:
            distances = np.maximum(self._distances(evidence.features[rows]), _SMALLEST_DISTANCE)  # type: ignore[index]
            entropy = _digamma(len(rows)) - _digamma(self.k) + width * float(np.log(2 * distances).mean())
            total += len(rows) * entropy
        total /= classes.n
        return {self.name: total / len(large) if self.mean_over_classes else total}

    def _distances(self, rows: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """(n,) from each row to its k-th nearest other row, in the maximum norm."""
        from scipy.spatial.distance import cdist

        rows = rows.astype(np.float64)
        result = np.empty(len(rows))
        step = max(_BLOCK_BYTES // (8 * len(rows)), 1)
        for start in range(0, len(rows), step):
            block = cdist(rows[start : start + step], rows, "chebyshev")
            result[start : start + step] = np.partition(block, self.k, axis=1)[:, self.k]
        return result


def _digamma(n: int) -> float:
    from scipy.special import digamma

    return float(digamma(n))


@modelselect.hookimpl
def modelselect_register_estimators() -> Sequence[Estimator]:
    return [TMI()]
