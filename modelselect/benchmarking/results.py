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


@dataclass(frozen=True, slots=True)
class Draw:
    """How the rows of a probe are drawn from the training rows of a dataset.

    Attributes:
        size: number of rows, in the dataset's own proportion of classes; None for all rows, or if `per_class` is given.
        per_class: number of rows of each class, or as many as the class has.
        seed: of the draw, and of stochastic estimators.
        of_table: whether the size is that of the probe of the table, whatever it is.

    >>> Draw(1000).label, Draw(None).label, Draw(per_class=5).label, Draw(of_table=True).label
    ('1,000 rows', 'all rows', '5 rows per class', 'as in the table')
    """

    size: int | None = None
    per_class: int | None = None
    seed: int = 0
    of_table: bool = False

    @property
    def label(self) -> str:
        """The size in words; draws of one label differ in their seeds."""
        if self.of_table:
            return "as in the table"
        if self.per_class is not None:
            return f"{self.per_class:,} rows per class"
        return "all rows" if self.size is None else f"{self.size:,} rows"


@dataclass(frozen=True, slots=True)
class Repeat:
    """The scores from other rows of the datasets.

    Attributes:
        draw: how the rows were drawn.
        rows: number of rows by dataset.
        scores: by estimator, dataset and model.
    """

    draw: Draw
    rows: Mapping[str, int]
    scores: Mapping[str, Matrix]


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
        runs: by dataset and model, the results whose mean is the accuracy, where there are several.
        test_rows: by dataset and model, the number of rows that the accuracy was measured on, where it is known.
        parameters: number of parameters by model, where it is known.
        families: family of the architecture by model, where it is known.
        sweep: the scores from probes of other sizes and seeds.
    """

    truth: Matrix
    scores: Mapping[str, Matrix]
    static: frozenset[str] = frozenset()
    failures: Mapping[str, Mapping[str, Mapping[str, Failure]]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)
    evidence_seconds: float | None = field(default=None, compare=False)
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict, compare=False)
    runs: Mapping[str, Mapping[str, tuple[float, ...]]] = field(default_factory=dict)
    test_rows: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    parameters: Mapping[str, float] = field(default_factory=dict)
    families: Mapping[str, str] = field(default_factory=dict)
    sweep: tuple[Repeat, ...] = ()

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
