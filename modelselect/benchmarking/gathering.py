"""Collects the scores of a benchmark, dataset by dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from modelselect.errors import Failure, contained
from modelselect.estimators.estimator import Estimator
from modelselect.estimators.posterior import Pool
from modelselect.evaluation.standings import pool_scores


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
        estimator: Estimator,
        dataset: str,
        models: Sequence[str],
        components: Sequence[Mapping[str, float] | None],
        known: Pool,
    ) -> None:
        """Adds one estimator's scores on one dataset, combined over the models that have components."""
        there = [model for model, given in zip(models, components, strict=True) if given is not None]
        if not there:
            return
        try:
            with contained():
                values = pool_scores(estimator, components, known)
        except Exception as error:  # perhaps from a plugin; only this estimator's cells are lost
            failure = Failure.from_exception("combine", error)
            for model in there:
                self.fail(estimator.name, dataset, model, failure)
            return
        scores = dict(zip(models, values.tolist(), strict=True))
        self.scores.setdefault(estimator.name, {})[dataset] = {model: scores[model] for model in there}

    def mean_seconds(self) -> dict[str, float]:
        return {name: float(np.mean(taken)) for name, taken in self._seconds.items()}
