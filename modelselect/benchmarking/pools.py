"""Figures over parts of the pool: ablations, and win rates over random sub-pools. Scores are not computed anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelselect.benchmarking.measures import FEWEST_FOR_A_FIGURE, Counts, Measure, Vector
from modelselect.benchmarking.protocol import Ablation, PoolKind, WinRates
from modelselect.benchmarking.results import Matrix

SUB_POOLS = 200
"""Random sub-pools: the standard error of a win rate is below four points, even if all datasets agree."""

SMALLEST_SUB_POOL = 3
"""Models: with two, every figure is 1 or -1."""

FEWEST_FOR_THIRDS = 6
"""Models with known parameters: each third has two then, if none are equally large."""

EQUAL = 1e-9
"""Figures that differ by less are a tie: rounding is no victory."""


@dataclass(frozen=True, slots=True)
class Pools:
    """B pools of the models of a benchmark.

    Attributes:
        column: each model's column, by name.
        counts: (B, models) how often each pool holds each model.
    """

    column: Mapping[str, int]
    counts: Counts

    @classmethod
    def of(cls, models: Sequence[str], counts: Counts) -> Pools:
        """Pools of these models, which are the columns of the counts."""
        return cls({model: column for column, model in enumerate(models)}, counts)

    def figures(self, measure: Measure, scores: Mapping[str, float], truth: Mapping[str, float]) -> Vector:
        """(B,) agreement of the scores with the truth in each pool; NaN for fewer than two different models."""
        names = list(scores)
        x, y = np.array([scores[name] for name in names]), np.array([truth[name] for name in names])
        counts = self.counts[:, [self.column[name] for name in names]]
        found = np.full(len(counts), np.nan)
        enough = (counts > 0).sum(axis=1) >= FEWEST_FOR_A_FIGURE
        if enough.any():
            found[enough] = measure.resampled(x, y, counts[enough])
        return found


def ablations(
    scores: Mapping[str, Matrix],
    truth: Matrix,
    parameters: Mapping[str, float],
    families: Mapping[str, str],
    measure: Measure,
) -> tuple[Ablation, ...]:
    """The mean figures without the largest model, without each family, and within thirds of the models by size.

    Args:
        scores: by estimator, dataset and model.
        truth: by dataset and model.
        parameters: number of parameters by model, where it is known.
        families: family of the architecture by model, where it is known.
        measure: the figure of agreement.

    >>> from modelselect.benchmarking.measures import MEASURES
    >>> truth = {"d": {"a": 0.9, "b": 0.8, "c": 0.1}}
    >>> found = ablations({"x": {"d": {"a": 2, "b": 1, "c": 3}}}, truth, {"c": 9, "a": 2}, {}, MEASURES["kendall"])
    >>> [(each.label, round(each.means["x"], 2)) for each in found]
    [('all models', -0.33), ('without the largest, c', 1.0)]
    """
    models = tuple(dict.fromkeys(model for by_model in truth.values() for model in by_model))
    parts = [part for part in _parts(models, parameters, families) if len(part[2]) >= FEWEST_FOR_A_FIGURE]
    pools = Pools.of(models, np.array([[model in part for model in models] for _, _, part in parts], np.int64))
    means: dict[str, Vector] = {}
    for name, by_dataset in scores.items():
        found = [pools.figures(measure, known, truth[d]) for d, known in by_dataset.items() if known and d in truth]
        if found:
            means[name] = _mean_of_known(np.stack(found))
    return tuple(
        Ablation(
            label, kind, len(part), {e: float(values[at]) for e, values in means.items() if not np.isnan(values[at])}
        )
        for at, (label, kind, part) in enumerate(parts)
    )


def win_rates(
    scores: Mapping[str, Matrix],
    truth: Matrix,
    measure: Measure,
    *,
    draws: int = SUB_POOLS,
    size: int | None = None,
    seed: int = 0,
) -> WinRates:
    """How often one estimator agrees better with the truth than another. See `WinRates`.

    Every sub-pool is used on all datasets. Where two estimators score different models, they are compared on those that
    both score.

    Args:
        scores: by estimator, dataset and model.
        truth: by dataset and model.
        measure: the figure of agreement.
        draws: number of sub-pools.
        size: models in a sub-pool; half of all models by default, and three at least.
        seed: of the sub-pools.

    >>> from modelselect.benchmarking.measures import MEASURES
    >>> truth = {"d": {"a": 0.9, "b": 0.8, "c": 0.7, "e": 0.6}}
    >>> scores = {"good": truth, "bad": {"d": {"a": 1, "b": 2, "c": 3, "e": 4}}}
    >>> win_rates(scores, truth, MEASURES["kendall"]).rates
    {'good': {'bad': 1.0}, 'bad': {'good': 0.0}}
    """
    models = tuple(dict.fromkeys(model for by_model in truth.values() for model in by_model))
    size = min(len(models), max(SMALLEST_SUB_POOL, len(models) // 2) if size is None else size)
    random = np.random.default_rng(seed)
    order = random.random((draws, len(models))).argsort(axis=1)
    pools = Pools.of(models, (order < size).astype(np.int64))
    sign = 1.0 if measure.higher_is_better else -1.0
    won: dict[str, dict[str, float]] = {first: {} for first in scores}
    compared: dict[str, dict[str, int]] = {first: {} for first in scores}
    for dataset, known in truth.items():
        figures = _Figures(pools, measure, {e: by[dataset] for e, by in scores.items() if by.get(dataset)}, known)
        names = list(figures.scores)
        for at, first in enumerate(names[:-1]):
            gains = sign * np.stack([figures.difference(first, second) for second in names[at + 1 :]])
            there = (~np.isnan(gains)).sum(axis=1).tolist()
            better = ((gains > EQUAL).sum(axis=1) + (np.abs(gains) <= EQUAL).sum(axis=1) / 2).tolist()
            for second, wins, n in zip(names[at + 1 :], better, there, strict=True):
                for winner, loser, share in ((first, second, wins), (second, first, n - wins)):
                    won[winner][loser] = won[winner].get(loser, 0.0) + share
                    compared[winner][loser] = compared[winner].get(loser, 0) + n
    rates = {
        first: {second: won[first][second] / n for second, n in others.items() if n}
        for first, others in compared.items()
    }
    return WinRates(rates, draws, size, seed)


class _Figures:
    """The figures of estimators on one dataset, over the models that two of them score; each is computed once."""

    def __init__(
        self, pools: Pools, measure: Measure, scores: Mapping[str, Mapping[str, float]], truth: Mapping[str, float]
    ) -> None:
        self.scores = scores
        self._pools, self._measure, self._truth = pools, measure, truth
        self._models = {name: frozenset(known) for name, known in scores.items()}
        self._found: dict[tuple[str, frozenset[str]], Vector] = {}

    def difference(self, first: str, second: str) -> Vector:
        """(B,) how much higher the first one's figure is in each pool."""
        both = self._models[first] & self._models[second]
        difference: Vector = self._over(first, both) - self._over(second, both)
        return difference

    def _over(self, name: str, models: frozenset[str]) -> Vector:
        if (name, models) not in self._found:
            known = {model: value for model, value in self.scores[name].items() if model in models}
            empty = np.full(len(self._pools.counts), np.nan)
            self._found[name, models] = (
                self._pools.figures(self._measure, known, self._truth) if len(known) >= FEWEST_FOR_A_FIGURE else empty
            )
        return self._found[name, models]


def _parts(
    models: Sequence[str], parameters: Mapping[str, float], families: Mapping[str, str]
) -> Iterator[tuple[str, PoolKind, frozenset[str]]]:
    """Label, kind and models of each part."""
    everything = frozenset(models)
    yield "all models", "all", everything
    sized = {model: parameters[model] for model in models if model in parameters}
    if len(sized) > 1:
        largest = max(sized, key=lambda model: sized[model])
        yield f"without the largest, {largest}", "largest", everything - {largest}
    members = Counter(families[model] for model in models if model in families)
    if len(members) > 1:
        for family, _ in members.most_common():
            yield f"without {family}", "family", everything - {m for m in models if families.get(m) == family}
    if len(sized) >= FEWEST_FOR_THIRDS:
        low, high = np.quantile(list(sized.values()), [1 / 3, 2 / 3])
        yield "smallest third", "size", frozenset(m for m, n in sized.items() if n <= low)
        yield "middle third", "size", frozenset(m for m, n in sized.items() if low < n <= high)
        yield "largest third", "size", frozenset(m for m, n in sized.items() if n > high)


def _mean_of_known(table: NDArray[np.float64]) -> Vector:
    """(B,) means of the columns of a (datasets, B) table over the values that are known; NaN without any."""
    known = ~np.isnan(table)
    found = np.full(table.shape[1], np.nan)
    np.divide(np.where(known, table, 0.0).sum(axis=0), known.sum(axis=0), out=found, where=known.any(axis=0))
    return found
