"""What a benchmark says beyond its table, as data: what the truth itself allows, and what depends on the pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Source = Literal["seeds", "test rows"]
SEEDS: Source = "seeds"
TEST_ROWS: Source = "test rows"

PoolKind = Literal["all", "largest", "family", "size"]


@dataclass(frozen=True, slots=True)
class Dispersion:
    """How alike the datasets order the models. A method that ignores the dataset cannot do better than this allows.

    Attributes:
        weighted_kendall: mean weighted Kendall of the accuracies on two datasets, over all pairs of datasets with at
            least three models in common; None without such a pair.
        kendall: the same for Kendall's tau-b.
        pairs: number of these pairs.
        by_dataset: each dataset's mean weighted Kendall with the others.
        winners: by dataset, the model with the best accuracy. If several share it, the one that is best on most
            datasets.
    """

    weighted_kendall: float | None
    kendall: float | None
    pairs: int
    by_dataset: Mapping[str, float]
    winners: Mapping[str, str]

    @property
    def distinct(self) -> int:
        """Number of different winners."""
        return len(set(self.winners.values()))


@dataclass(frozen=True, slots=True)
class Ceiling:
    """How well one truth agrees with another truth of the same models, which only differs by chance.

    With several results of a model, the figure compares one result with another: the noise of fine-tuning. With the
    numbers of test rows, it compares two binomial draws of the number of correct rows: the noise of the test rows
    alone, as if the models made their errors independently.

    Attributes:
        mean: the mean over the datasets with a figure, by the table's measure.
        by_dataset: the figure of each of these datasets.
        sources: by dataset, `"seeds"` or `"test rows"`.
    """

    mean: float
    by_dataset: Mapping[str, float]
    sources: Mapping[str, Source]


@dataclass(frozen=True, slots=True)
class WinRates:
    """How often one estimator agrees better with the truth than another, over random sub-pools and all datasets.

    Attributes:
        rates: share of the draws in which the first estimator's figure is better than the second's, over the models
            that both score; a tie counts half. Pairs that are never compared are absent.
        draws: number of sub-pools.
        size: number of models in a sub-pool.
        seed: of the sub-pools.
    """

    rates: Mapping[str, Mapping[str, float]]
    draws: int
    size: int
    seed: int


@dataclass(frozen=True, slots=True)
class Ablation:
    """The figures over a part of the models.

    Attributes:
        label: what the part is.
        kind: `"all"`; `"largest"` and `"family"`, which are left out; `"size"`, a third of the models by parameters.
        models: number of models in the part.
        means: by estimator, the mean of the measure over the datasets on which the part has two of its models or more.
    """

    label: str
    kind: PoolKind
    models: int
    means: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Repeated:
    """A mean over datasets that was computed with several seeds.

    Attributes:
        mean: over the seeds.
        deviation: standard deviation between the seeds (n - 1); None for one seed.
        seeds: number of seeds.
    """

    mean: float
    deviation: float | None
    seeds: int


@dataclass(frozen=True, slots=True)
class Protocol:
    """What a benchmark says beyond its table.

    Attributes:
        dispersion: how alike the datasets order the models.
        ceiling: how well the truth agrees with another truth; None if the truth has neither several results of a model
            nor numbers of test rows.
        win_rates: every estimator against every other.
        ablations: the figures over parts of the models, all models first.
        sweep: by size of the probe and estimator, the mean figure on probes of this size. Empty if no other probe than
            that of the table was drawn.
    """

    dispersion: Dispersion
    ceiling: Ceiling | None
    win_rates: WinRates
    ablations: tuple[Ablation, ...]
    sweep: Mapping[str, Mapping[str, Repeated]]
