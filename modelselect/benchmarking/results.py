"""`BenchmarkResults`: scores and true accuracies of models on datasets, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from modelselect.errors import Failure
from modelselect.estimators.ranks import normalised_ranks

if TYPE_CHECKING:
    import pandas as pd

MEAN_RANK = "mean rank elsewhere"
"""The baseline from other datasets: a model's mean rank by true accuracy on all datasets but the one in question."""

FEWEST_FOR_MEAN_RANK = 3
"""With fewer datasets than these there are no two others for a mean."""

Matrix = Mapping[str, Mapping[str, float]]
"""By dataset and model."""


@dataclass(frozen=True)
class BenchmarkResults:
    """Scores and true accuracies of models on datasets.

    Attributes:
        truth: accuracy after fine-tuning, from 0 to 1, by dataset and model. Unknown accuracies are absent.
        scores: by estimator, dataset and model; higher is better. Only of models with a known accuracy.
        static: names of the estimators that are static baselines.
        failures: why a score is absent, by estimator, dataset and model.
        seconds: each estimator's mean time for one model when first computed, without the forward pass.
        evidence_seconds: mean time of the forward pass for one model and dataset; None without forward passes.
        notes: what else a reader of the table must know.
        provenance: where the results come from; values that JSON can hold.
    """

    truth: Matrix
    scores: Mapping[str, Matrix]
    static: frozenset[str] = frozenset()
    failures: Mapping[str, Mapping[str, Mapping[str, Failure]]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)
    evidence_seconds: float | None = field(default=None, compare=False)
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the datasets, in the order given."""
        return tuple(self.truth)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models with a known accuracy on some dataset, in order of appearance."""
        return tuple(dict.fromkeys(model for by_model in self.truth.values() for model in by_model))

    def to_pandas(self) -> pd.DataFrame:
        """One row for each dataset and model: `dataset`, `model`, `accuracy` (0 to 1), and each estimator's score.

        `Benchmark.of_scores` reads it again, as scores and as truth.
        """
        import pandas as pd

        rows = [
            {"dataset": dataset, "model": model, "accuracy": accuracy}
            | {name: by_dataset.get(dataset, {}).get(model) for name, by_dataset in self.scores.items()}
            for dataset, by_model in self.truth.items()
            for model, accuracy in by_model.items()
        ]
        return pd.DataFrame(rows, columns=["dataset", "model", "accuracy", *self.scores])


def mean_rank_elsewhere(truth: Matrix) -> dict[str, dict[str, float]]:
    """By dataset and model: the mean of the model's normalised ranks by accuracy on all the other datasets.

    >>> found = mean_rank_elsewhere({"x": {"a": 0.9, "b": 0.1}, "y": {"a": 0.2, "b": 0.3}, "z": {"a": 0.5, "b": 0.4}})
    >>> found["x"], found["y"]
    ({'a': 0.5, 'b': 0.5}, {'a': 1.0, 'b': 0.0})
    """
    ranks = {
        dataset: dict(zip(by_model, normalised_ranks(list(by_model.values())).tolist(), strict=True))
        for dataset, by_model in truth.items()
    }
    found: dict[str, dict[str, float]] = {}
    for dataset, by_model in truth.items():
        others = [by for other, by in ranks.items() if other != dataset]
        elsewhere = {model: [by[model] for by in others if model in by] for model in by_model}
        found[dataset] = {model: round(float(np.mean(known)), 12) for model, known in elsewhere.items() if known}
    return found
