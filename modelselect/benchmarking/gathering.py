"""Collects the scores of a benchmark, dataset by dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from modelselect.errors import Failure
from modelselect.estimators.estimator import Estimator, combined
from modelselect.evidence.linear_algebra import Vector


class Gathered:
    """Scores, times and failures of estimators: every model and dataset has a score or the reason for its absence."""

    def __init__(self) -> None:
        self.scores: dict[str, dict[str, dict[str, float]]] = {}
        self.failures: dict[str, dict[str, dict[str, Failure]]] = {}
        self._seconds: dict[str, list[float]] = {}

    def fail(self, estimator: str, dataset: str, model: str, failure: Failure) -> None:
        self.failures.setdefault(estimator, {}).setdefault(dataset, {})[model] = failure

    def took(self, estimator: str, seconds: float) -> None:
        self._seconds.setdefault(estimator, []).append(seconds)

    def combine(
        self,
        methods: Sequence[Estimator],
        dataset: str,
        components: Mapping[str, Mapping[str, Mapping[str, float]]],
    ) -> None:
        """Adds one dataset: each method's components, by estimator and model, are combined into scores."""
        for estimator in methods:
            given = components.get(estimator.name, {})
            if not given:
                continue
            try:
                values: Vector = combined(estimator, list(given.values()))
            except Exception as error:  # perhaps from a plugin; only this estimator's cells are lost
                failure = Failure.from_exception("combine", error)
                for model in given:
                    self.fail(estimator.name, dataset, model, failure)
                continue
            self.scores.setdefault(estimator.name, {})[dataset] = dict(zip(given, values.tolist(), strict=True))

    def mean_seconds(self) -> dict[str, float]:
        return {name: float(np.mean(taken)) for name, taken in self._seconds.items()}
