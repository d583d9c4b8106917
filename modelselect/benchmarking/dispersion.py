"""What the truth itself allows: how alike the datasets order the models, and how far chance decides the order."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from modelselect.benchmarking.measures import MEASURES, Measure, Vector
from modelselect.benchmarking.protocol import SEEDS, TEST_ROWS, Ceiling, Dispersion, Source
from modelselect.benchmarking.results import Matrix

FEWEST_IN_COMMON = 3
"""Models: the agreement of two orders of fewer is 1 or -1."""

BINOMIAL_DRAWS = 100
"""Pairs of truths that are drawn where the numbers of test rows are known. Their mean is known to about 0.02."""


def dispersion(truth: Matrix) -> Dispersion:
    """How alike the datasets order the models. See `Dispersion`.

    >>> truth = {"x": {"a": 0.9, "b": 0.8, "c": 0.7}, "y": {"a": 0.6, "b": 0.5, "c": 0.4}}
    >>> found = dispersion({**truth, "z": {"a": 0.1, "b": 0.2, "c": 0.3}})
    >>> round(found.kendall, 3), found.pairs, found.winners, found.distinct
    (-0.333, 3, {'x': 'a', 'y': 'a', 'z': 'c'}, 2)
    """
    weighted: dict[tuple[str, str], float] = {}
    plain: list[float] = []
    for first, second in itertools.combinations(truth, 2):
        both = [model for model in truth[first] if model in truth[second]]
        if len(both) >= FEWEST_IN_COMMON:
            x, y = (np.array([truth[dataset][model] for model in both]) for dataset in (first, second))
            weighted[first, second] = MEASURES["weighted_kendall"].of(x, y)
            plain.append(MEASURES["kendall"].of(x, y))
    of_dataset = {d: [value for pair, value in weighted.items() if d in pair] for d in truth}
    return Dispersion(
        weighted_kendall=float(np.mean(list(weighted.values()))) if weighted else None,
        kendall=float(np.mean(plain)) if plain else None,
        pairs=len(weighted),
        by_dataset={d: float(np.mean(values)) for d, values in of_dataset.items() if values},
        winners=_winners(truth),
    )


def ceiling(
    runs: Mapping[str, Mapping[str, tuple[float, ...]]],
    truth: Matrix,
    test_rows: Mapping[str, Mapping[str, int]],
    measure: Measure,
    seed: int = 0,
) -> Ceiling | None:
    """How well the truth agrees with another truth of the same models. See `Ceiling`.

    Args:
        runs: by dataset and model, several results; those of different models at one place belong together.
        truth: accuracies from 0 to 1, by dataset and model.
        test_rows: by dataset and model, the number of rows that the accuracy was measured on.
        measure: the figure of agreement.
        seed: of the binomial draws.

    Returns:
        None if no dataset has three models with several results or with a number of test rows.

    >>> runs = {"d": {"a": (0.9, 0.8), "b": (0.7, 0.85), "c": (0.5, 0.6)}}
    >>> round(ceiling(runs, {}, {}, MEASURES["kendall"]).mean, 3)
    0.333
    """
    found: dict[str, float] = {}
    sources: dict[str, Source] = {}
    random = np.random.default_rng(seed)
    for dataset in dict.fromkeys([*runs, *truth]):
        figures = _between_runs(list(runs.get(dataset, {}).values()), measure)
        source = SEEDS
        if not figures:
            known = {m: n for m, n in test_rows.get(dataset, {}).items() if m in truth.get(dataset, {})}
            accuracies = np.array([truth[dataset][model] for model in known])
            figures = _between_draws(accuracies, np.array(list(known.values()), np.int64), measure, random)
            source = TEST_ROWS
        if figures:
            found[dataset], sources[dataset] = float(np.mean(figures)), source
    return Ceiling(float(np.mean(list(found.values()))), found, sources) if found else None


def _between_runs(runs: list[tuple[float, ...]], measure: Measure) -> list[float]:
    """The agreement of the i-th results with the j-th, over the models that have both, for all i < j."""
    figures = []
    for i, j in itertools.combinations(range(max(map(len, runs), default=0)), 2):
        both = [results for results in runs if len(results) > j]
        if len(both) >= FEWEST_IN_COMMON:
            figures.append(_both_ways(measure, *(np.array([results[k] for results in both]) for k in (i, j))))
    return figures


def _between_draws(
    accuracies: Vector, rows: NDArray[np.int64], measure: Measure, random: np.random.Generator
) -> list[float]:
    """The agreement of two binomial draws of the accuracies, many times."""
    if len(accuracies) < FEWEST_IN_COMMON:
        return []
    drawn = random.binomial(rows, accuracies, size=(BINOMIAL_DRAWS, 2, len(rows))) / rows
    return [_both_ways(measure, x, y) for x, y in drawn]


def _both_ways(measure: Measure, x: Vector, y: Vector) -> float:
    """Either may be the prediction, which matters for a regret."""
    return (measure.of(x, y) + measure.of(y, x)) / 2


def _winners(truth: Matrix) -> dict[str, str]:
    best = {d: [m for m, value in by.items() if value == max(by.values())] for d, by in truth.items() if by}
    often = Counter(model for models in best.values() for model in models)
    return {dataset: max(models, key=lambda model: often[model]) for dataset, models in best.items()}
