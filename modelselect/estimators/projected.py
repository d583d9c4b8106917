"""`Projected`: another estimator, which sees the features on their first principal components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from modelselect.estimators.estimator import Estimator
from modelselect.evidence.evidence import Evidence
from modelselect.evidence.linear_algebra import Vector
from modelselect.evidence.statistics import FeatureStatistics


class Projected(Estimator):
    """Another estimator on the first principal components of the features, and of the proxy's features.

    Papers that compare methods on few rows reduce the features of all of them. Components are exact, and computed from
    the rows that the estimator sees.

    Args:
        estimator: the other one, whose name and requirements this one has.
        dimensions: number of principal components; at most min(N, D) are there.

    >>> import numpy as np
    >>> import modelselect as ms
    >>> from modelselect.host.lookup import find_estimator
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 20)
    >>> features = rng.normal(size=(40, 100)) + labels[:, None]
    >>> whole, reduced = (ms.score(features, labels, e) for e in ("knn", Projected(find_estimator("knn"), 1)))
    >>> whole, reduced
    (100.0, 100.0)
    """

    def __init__(self, estimator: Estimator, dimensions: int) -> None:
        self.estimator = estimator
        self.dimensions = dimensions

    def __getattribute__(self, name: str) -> Any:
        """What a class says of its estimators is that of the other one."""
        return getattr(self.estimator, name) if name in _SAID else super().__getattribute__(name)

    def score(self, evidence: Evidence) -> Mapping[str, float]:
        arrays = {name: getattr(evidence, name) for name in ("features", "proxy_features")}
        reduced: dict[str, Any] = {
            name: FeatureStatistics(array, evidence.device).principal_components(self.dimensions)
            for name, array in arrays.items()
            if array is not None
        }
        return self.estimator.score(replace(evidence, **reduced, _memo={}))

    def combine(self, scores: Sequence[Mapping[str, float]]) -> Vector:
        return self.estimator.combine(scores)


_SAID = frozenset({"name", "requires", "optional", "targets", "citation", "cost", "relative", "stochastic", "version"})
