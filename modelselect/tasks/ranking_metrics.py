"""How well a query finds its documents: nDCG and recall, from embeddings that are compared by their cosine."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from modelselect.tasks.metrics import RESAMPLES, Array, Metric
from modelselect.utils.relevance import Relevance

DEPTH = 10
"""Number of documents that are looked at."""

_AT_ONCE = 1 << 24
"""Number of similarities that are held at a time: 128 MiB."""


@dataclass(frozen=True)
class QueryMetric(Metric):
    """A metric that is the mean over queries. `Metric` lists the other attributes.

    Attributes:
        of_queries: takes (N, WIDTH) targets and (N, D) embeddings; returns (Q,) values, one for each query.
    """

    of_queries: Callable[[Array, Array], Array] | None = None

    def interval(self, targets: Array, predictions: Array, seed: int = 0) -> tuple[float, float]:
        """The 95% interval of the metric by the bootstrap over queries; the documents stay."""
        assert self.of_queries is not None
        values = self.of_queries(targets, predictions)
        if not len(values):
            return -math.inf, math.inf
        rng = np.random.default_rng([seed, len(values)])
        means = values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        return float(low), float(high)


def ndcg_of_queries(targets: Array, embeddings: Array, depth: int = DEPTH) -> Array:
    """(Q,) normalised discounted cumulative gain of each query, with the grades as gains.

    Documents that are equally near share their places: each counts with the mean discount of these places.

    K. Järvelin, J. Kekäläinen: Cumulated gain-based evaluation of IR techniques, ACM TOIS 20, 2002; ties as in F.
    McSherry, M. Najork: Computing information retrieval performance measures efficiently in the presence of tied
    scores, ECIR 2008.

    Args:
        targets: (N, WIDTH) relevance; see `modelselect.utils.relevance`.
        embeddings: (N, D) of queries and documents.
        depth: number of places that count.
    """
    relevance = Relevance.of(targets)
    before, equal = _places(relevance, embeddings)
    discounts = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, depth + 2)))])
    shared = (discounts[np.minimum(before + equal, depth)] - discounts[np.minimum(before, depth)]) / equal
    count = len(relevance.queries)
    gained = np.bincount(relevance.pairs[:, 0], relevance.grades * shared, count)
    order = np.lexsort((-relevance.grades, relevance.pairs[:, 0]))
    query = relevance.pairs[order, 0]
    place = np.arange(len(order)) - np.searchsorted(query, query)
    best = np.diff(discounts, append=discounts[-1])[np.minimum(place, depth)]
    found: Array = gained / np.bincount(query, relevance.grades[order] * best, count)
    return found


def recall_of_queries(targets: Array, embeddings: Array, depth: int = DEPTH) -> Array:
    """(Q,) share of each query's relevant documents that are among the nearest; of equally near ones by chance.

    Args:
        targets: (N, WIDTH) relevance.
        embeddings: (N, D) of queries and documents.
        depth: number of places that count.
    """
    relevance = Relevance.of(targets)
    before, equal = _places(relevance, embeddings)
    count = len(relevance.queries)
    inside = np.clip((depth - before) / equal, 0.0, 1.0)
    found: Array = np.bincount(relevance.pairs[:, 0], inside, count) / np.bincount(relevance.pairs[:, 0], None, count)
    return found


def ndcg(targets: Array, embeddings: Array) -> float:
    """Mean nDCG@10 of the queries; NaN without a query."""
    return _mean(ndcg_of_queries(targets, embeddings))


def recall(targets: Array, embeddings: Array) -> float:
    """Mean recall@10 of the queries; NaN without a query."""
    return _mean(recall_of_queries(targets, embeddings))


@dataclass(frozen=True)
class _Chance:
    """What a metric is for embeddings that are all equal: its mean over all orders of the documents. Picklable."""

    measure: Callable[[Array, Array], float]

    def __call__(self, targets: Array) -> float:
        return self.measure(targets, np.zeros((len(targets), 1)))


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else math.nan


def _places(relevance: Relevance, embeddings: Array) -> tuple[Array, Array]:
    """(P,) for each relevant pair, how many documents are nearer to the query, and how many are as near (1 or more)."""
    own = embeddings.astype(np.float64)
    lengths = np.sqrt(np.square(own).sum(axis=1, keepdims=True))
    own = own / np.where(lengths > 0, lengths, 1.0)
    documents = own[relevance.documents].T
    before, equal = (np.empty(len(relevance.pairs), np.int64) for _ in range(2))
    step = max(1, _AT_ONCE // max(1, documents.shape[1]))
    for start in range(0, len(relevance.queries), step):
        similarities = own[relevance.queries[start : start + step]] @ documents
        low, high = np.searchsorted(relevance.pairs[:, 0], [start, start + step])
        for pair in range(low, high):
            query, document = relevance.pairs[pair]
            row = similarities[query - start]
            before[pair], equal[pair] = (row > row[document]).sum(), (row == row[document]).sum()
    return before, equal


NDCG = QueryMetric("ndcg_at_10", "nDCG@10", ndcg, guessing=_Chance(ndcg), of_queries=ndcg_of_queries)
"""Normalised discounted cumulative gain of the ten nearest documents, the mean over queries."""

RECALL = QueryMetric("recall_at_10", "recall@10", recall, guessing=_Chance(recall), of_queries=recall_of_queries)
"""Share of the relevant documents among the ten nearest ones, the mean over queries."""
