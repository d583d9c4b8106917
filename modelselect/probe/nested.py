"""Probes within a probe: each contains the rows of the one before and new ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelselect.probe.probe import Probe
from modelselect.probe.queries import order_of_queries
from modelselect.probe.sampling import rarest, wholes_of
from modelselect.utils.target_kinds import RELEVANCE


@dataclass(frozen=True)
class Nested:
    """Some rows of a probe, and the blocks of rows that they consist of.

    Attributes:
        probe: the rows, in the order of `whole`.
        whole: the probe that the rows come from.
        rows: (M,) the rows' numbers in `whole`, ascending.
        blocks: for this probe and each smaller one, the rows that are new in it, as a probe of its own.
        places: for each block, the numbers of its rows in `probe`, ascending.
    """

    probe: Probe
    whole: Probe
    rows: NDArray[np.int64]
    blocks: tuple[Probe, ...]
    places: tuple[NDArray[np.int64], ...]


def nest(probe: Probe, sizes: Sequence[int]) -> list[Nested]:
    """Stratified probes of these sizes within a probe, each contained in the next.

    Of rows that are parts of wholes, whole ones are drawn: each probe has as many as reach its size, and one that would
    be as large as the one before is left out.

    Args:
        probe: of N rows.
        sizes: ascending, at most N.

    >>> import numpy as np
    >>> probe = Probe.of((np.arange(24.0).reshape(12, 2), [0, 1, 1] * 4))
    >>> [sorted(nested.probe.labels.tolist()) for nested in nest(probe, [3, 6])]
    [[0, 1, 1], [0, 0, 1, 1, 1, 1]]
    """
    if probe.target_kind == RELEVANCE:
        order = order_of_queries(np.asarray(probe.targets), probe.seed)
    elif probe.groups is not None:
        order, ends = _order_of_wholes(probe.strata, probe.groups, probe.seed)
        sizes = np.unique(ends[np.searchsorted(ends, sizes)]).tolist()
    else:
        order = nested_order(probe.strata, probe.seed)
    cuts = [np.sort(order[begin:end]) for begin, end in zip([0, *sizes], sizes, strict=False)]
    blocks = [probe.take(rows) for rows in cuts]
    made = []
    for count, size in enumerate(sizes, start=1):
        rows = np.sort(order[:size])
        places = tuple(np.searchsorted(rows, cut) for cut in cuts[:count])
        made.append(Nested(probe.take(rows), probe, rows, tuple(blocks[:count]), places))
    return made


def nested_order(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """(N,) row numbers in an order whose every prefix is stratified.

    Within a class the order is random. Row i of n in its class is placed at i/n of the way, so every prefix holds each
    class by its share, and the first rows are one of each class.

    >>> labels = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2])
    >>> labels[nested_order(labels, seed=0)].tolist()
    [0, 1, 2, 0, 0, 1, 0, 0, 1, 0]
    """
    rng = np.random.default_rng([seed, len(labels)])
    shuffled = rng.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    _, starts, counts = np.unique(labels[by_class], return_index=True, return_counts=True)
    share = (np.arange(len(labels)) - np.repeat(starts, counts)) / np.repeat(counts, counts)
    order: NDArray[np.int64] = by_class[np.argsort(share, kind="stable")]
    return order


def _order_of_wholes(
    labels: NDArray[np.int64], groups: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(N,) row numbers, whole by whole, and how many rows there are up to the end of each of the G wholes.

    The first wholes hold all classes. The others are stratified by their rarest class.
    """
    whole, has = wholes_of(groups, labels)
    drawn = nested_order(rarest(has), seed)
    seen = np.zeros(has.shape[1], np.bool_)
    first = []
    for each in drawn.tolist():
        if seen.all():
            break
        if (has[each] & ~seen).any():
            first.append(each)
            seen |= has[each]
    place = np.empty(len(drawn), np.int64)
    place[np.concatenate([first, drawn[~np.isin(drawn, first)]]).astype(np.int64)] = np.arange(len(drawn))
    return np.argsort(place[whole], kind="stable"), np.cumsum(np.bincount(place[whole]))
