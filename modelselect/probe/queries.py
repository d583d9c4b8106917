"""How queries and documents are drawn: a query comes with its relevant documents, and with others as distractors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import DatasetError
from modelselect.probe.drawing import CheckedRows, DrawingSettings, DrawnRows, fingerprint_of
from modelselect.probe.retrieval import DISTRACTORS
from modelselect.probe.sampling import choose_holdout
from modelselect.probe.targets import Targets
from modelselect.utils.relevance import Relevance

SHARE_OF_QUERIES = 0.5
"""Share of a probe's rows that queries and their relevant documents take at most; the others are distractors."""

FEWEST_HELD_OUT = 2
"""Number of queries, at least, that a metric is measured on."""


def draw_queries(available: DrawnRows, settings: DrawingSettings) -> CheckedRows:
    """A sample of queries with their documents, whose every row was read once.

    Raises:
        DatasetError: no query fits into the sample.
    """
    rows, positions, targets = available.rows, available.positions, available.targets
    assert targets is not None
    chosen = _chosen(targets.values, settings.size, settings.seed)
    digests = [check.digest for check in rows.check(positions[chosen].tolist())]
    targets, strata = _described(targets.take(chosen)), available.labels[chosen]
    if not len(Relevance.of(targets.values).queries):
        raise DatasetError(
            f"no query of {available.name} fits into {settings.size} rows with its relevant documents. Give a larger "
            "size (probe_size=, --probe-size)."
        )
    strata.flags.writeable = False
    fingerprint = fingerprint_of(rows.modality, digests, strata, targets)
    return CheckedRows(positions[chosen], strata, fingerprint, rows.skipped, targets)


def _chosen(values: NDArray[np.float64], size: int | None, seed: int) -> NDArray[np.int64]:
    """Rows of a probe, ascending: queries, all their relevant documents, and distractors.

    Queries come in a random order, until they and their documents take half of the rows. Distractors fill the rest. If
    there are too few, more queries do whose documents are there.

    Args:
        values: (N, WIDTH) relevance.
        size: maximum number of rows; None takes all.
        seed: of the order.
    """
    count = len(values)
    if size is None or size >= count:
        return np.arange(count)
    relevance, rng = Relevance.of(values), np.random.default_rng([seed, count])
    taken, used = np.zeros(count, np.bool_), 0
    documents = _documents_of(relevance)
    left = []
    for place in rng.permutation(len(relevance.queries)).tolist():
        rows = np.append(documents[place], relevance.queries[place])
        new = int((~taken[rows]).sum())
        few = used == 0 and new <= size
        if few or used + new <= SHARE_OF_QUERIES * size:
            taken[rows] = True
            used += new
        else:
            left.append(place)
    others = rng.permutation(relevance.documents[~taken[relevance.documents]])
    taken[others[: size - used]] = True
    free = size - int(taken.sum())
    for place in left if free else []:
        if free and taken[documents[place]].all():
            taken[relevance.queries[place]] = True
            free -= 1
    return np.flatnonzero(taken)


def order_of_queries(values: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """(N,) row numbers in an order whose every prefix holds queries with their documents, and distractors.

    Args:
        values: (N, WIDTH) relevance.
        seed: of the order.
    """
    relevance, rng = Relevance.of(values), np.random.default_rng([seed, len(values)])
    share = np.full(len(values), np.inf)
    documents = _documents_of(relevance)
    for number, place in enumerate(rng.permutation(len(relevance.queries)).tolist()):
        rows = np.append(documents[place], relevance.queries[place])
        share[rows] = np.minimum(share[rows], number / len(relevance.queries))
    others = rng.permutation(np.flatnonzero(np.isinf(share)))
    share[others] = np.arange(len(others)) / max(len(others), 1)
    return np.argsort(share, kind="stable")


def can_spare_queries(strata: NDArray[np.int64], share: float) -> bool:
    """Whether this share of the queries, which are 0 among the strata, is enough to measure on."""
    return share * int((strata == 0).sum()) >= FEWEST_HELD_OUT


def cut_out_queries(available: DrawnRows, share: float, seed: int) -> tuple[DrawnRows, DrawnRows]:
    """Training rows and held-out rows: each query is in one of them, and documents may be in both.

    Raises:
        DatasetError: there are too few queries.
    """
    assert available.targets is not None
    relevance = Relevance.of(available.targets.values)
    held = choose_holdout(np.zeros(len(relevance.queries), np.int64), share, seed)
    if min(held.sum(), (~held).sum()) < FEWEST_HELD_OUT:
        raise DatasetError(
            f"holdout={share} asks for held-out queries, and the {len(held)} queries of {available.name} are too few "
            "for them. Give more queries or a validation split, or set holdout=0."
        )
    count = len(available.labels)
    training, cut = (available.where(_with_documents(relevance, chosen, count, seed)) for chosen in (~held, held))
    return training, cut


def without_queries_of(held: DrawnRows, training: DrawnRows, split: str) -> DrawnRows:
    """The rows of a validation split without queries that are training queries, too.

    Raises:
        DatasetError: fewer than two queries are left.
    """
    is_query = [each.labels == 0 for each in (held, training)]
    own, other = (
        each.rows.digests(each.positions[mask].tolist()) for each, mask in zip((held, training), is_query, strict=True)
    )
    known, kept = set(other), np.ones(len(held.labels), np.bool_)
    kept[np.flatnonzero(is_query[0])] = [digest not in known for digest in own]
    if kept[is_query[0]].sum() < FEWEST_HELD_OUT:
        raise DatasetError(
            f"the queries of the split {split!r} are training queries, too, so nothing can be measured on them; give "
            "only the training split."
        )
    return held.where(kept)


def _described(targets: Targets) -> Targets:
    """The targets with a remark that says how many queries and documents there are."""
    relevance = Relevance.of(targets.values)
    own = len(np.unique(relevance.pairs[:, 1]))
    said = (
        f"There are {len(relevance.queries):,} queries and {len(relevance.documents):,} documents: {own:,} that are "
        f"relevant to one of the queries, and {len(relevance.documents) - own:,} others (distractors)."
    )
    return replace(targets, remarks=(said,))


def _documents_of(relevance: Relevance) -> list[NDArray[np.int64]]:
    """For each query, the rows of its relevant documents."""
    rows = relevance.documents[relevance.pairs[:, 1]]
    return np.split(rows, np.searchsorted(relevance.pairs[:, 0], np.arange(1, len(relevance.queries))))


def _with_documents(relevance: Relevance, chosen: NDArray[np.bool_], count: int, seed: int) -> NDArray[np.bool_]:
    """(N,) True for chosen queries, their relevant documents, and at most `DISTRACTORS` others."""
    taken = np.zeros(count, np.bool_)
    taken[relevance.queries[chosen]] = True
    taken[relevance.documents[relevance.pairs[chosen[relevance.pairs[:, 0]], 1]]] = True
    others = relevance.documents[~taken[relevance.documents]]
    taken[np.random.default_rng([seed, count]).permutation(others)[:DISTRACTORS]] = True
    return taken
