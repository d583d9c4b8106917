"""Probes of other sizes and seeds: which to draw, and the mean and the deviation of the figures on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from modelselect.benchmarking.measures import FEWEST_FOR_A_FIGURE, Measure
from modelselect.benchmarking.protocol import Repeated
from modelselect.benchmarking.results import Draw, Matrix, Repeat
from modelselect.evaluation.settings import MAX_SEED, whole


def draws(
    seed: int, probe_sizes: Sequence[int | None] | None, per_class: Sequence[int] | None, seeds: int
) -> tuple[Draw, ...]:
    """The probes to draw: of the table's size and of every further size, each with every seed.

    Args:
        seed: the first seed.
        probe_sizes: further sizes; None among them for all rows.
        per_class: further sizes, in rows of each class.
        seeds: number of seeds; they count up from the first.

    Returns:
        No draw if there is neither a further size nor a further seed.

    Raises:
        InvalidInputError: a size or the number of seeds cannot be used.

    >>> [(draw.label, draw.seed) for draw in draws(0, [20], [3], 2)][1:4]
    [('as in the table', 1), ('20 rows', 0), ('20 rows', 1)]
    """
    seeds = whole("1 or more", lambda number: 1 <= number <= MAX_SEED - seed)("seeds", seeds) or 1
    rows = whole("numbers of rows, 2 or more each, such as 100,300,1000", lambda number: number >= 2, optional=True)
    each = whole("numbers of rows of each class, such as 5,10,50", lambda number: number >= 1)
    sizes = dict.fromkeys(Draw(rows("probe_sizes", number)) for number in _several(probe_sizes))
    sizes |= dict.fromkeys(Draw(per_class=each("per_class", number)) for number in _several(per_class))
    if not sizes and seeds == 1:
        return ()
    every = (Draw(of_table=True), *sizes)
    return tuple(replace(draw, seed=seed + number) for draw in every for number in range(seeds))


def summarised(sweep: Iterable[Repeat], truth: Matrix, measure: Measure) -> dict[str, dict[str, Repeated]]:
    """By size of the probe and estimator: the mean over datasets of the measure, over the seeds. See `Repeated`.

    >>> from modelselect.benchmarking.measures import MEASURES
    >>> truth = {"d": {"a": 0.9, "b": 0.8}}
    >>> sweep = [Repeat(Draw(9, seed=s), {"d": 9}, {"x": {"d": {"a": s, "b": 0.5}}}) for s in (0, 1)]
    >>> summarised(sweep, truth, MEASURES["kendall"])["9 rows"]["x"].mean
    0.0
    """
    means: dict[str, dict[str, list[float]]] = {}
    for repeat in sweep:
        of_size = means.setdefault(repeat.draw.label, {})
        for name, by_dataset in repeat.scores.items():
            found = [
                measure.of(np.array(list(known.values())), np.array([truth[dataset][model] for model in known]))
                for dataset, known in by_dataset.items()
                if len(known) >= FEWEST_FOR_A_FIGURE and dataset in truth
            ]
            if found:
                of_size.setdefault(name, []).append(float(np.mean(found)))
    return {
        label: {
            name: Repeated(
                float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None, len(values)
            )
            for name, values in of_size.items()
        }
        for label, of_size in means.items()
    }


def _several(given: Sequence[int | None] | None) -> Sequence[int | None]:
    """The numbers of a list, of a single number, or none."""
    if given is None:
        return ()
    return given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
