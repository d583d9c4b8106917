"""Which documents are relevant to which queries, as targets: one row of numbers for each query and each document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

MOST_RELEVANT = 10
"""Maximum number of relevant documents of a query: the metric looks at ten documents."""

WIDTH = 1 + 2 * MOST_RELEVANT
"""Number of columns: the document's number; the numbers of a query's relevant documents; and their grades."""


@dataclass(frozen=True)
class Relevance:
    """Queries, documents, and the pairs of a query and a document that is relevant to it.

    Attributes:
        queries: (Q,) rows of the queries that have a relevant document among the rows.
        documents: (M,) rows of the documents.
        pairs: (P, 2) places in `queries` and in `documents`, ordered by query.
        grades: (P,) how relevant the document is, above 0.
    """

    queries: NDArray[np.int64]
    documents: NDArray[np.int64]
    pairs: NDArray[np.int64]
    grades: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[Any]) -> Self:
        """What `relevance_values` wrote, of all rows or of some. A document that is not among the rows is left out.

        Args:
            values: (N, WIDTH).

        >>> values = relevance_values(2, 3, [(0, 0, 1.0), (1, 2, 2.0)])
        >>> Relevance.of(values).queries.tolist(), Relevance.of(values).documents.tolist()
        ([0, 1], [2, 3, 4])
        >>> Relevance.of(values[[1, 3, 4]]).pairs.tolist()  # the second query, and the last two documents
        [[0, 1]]
        """
        is_document = ~np.isnan(values[:, 0])
        documents, asking = np.flatnonzero(is_document), np.flatnonzero(~is_document)
        order = np.argsort(values[documents, 0], kind="stable")
        numbers = values[documents, 0][order]
        wanted = values[asking, 1 : 1 + MOST_RELEVANT]
        places = np.searchsorted(numbers, np.nan_to_num(wanted, nan=-1.0))
        there = np.zeros(wanted.shape, np.bool_)
        if len(numbers):
            there = numbers[np.minimum(places, len(numbers) - 1)] == wanted
        query, column = np.nonzero(there)
        kept, query_place = np.unique(query, return_inverse=True)
        document_place = order[places[query, column]] if len(query) else np.empty(0, np.int64)
        grades = values[asking[query], 1 + MOST_RELEVANT + column].astype(np.float64)
        return cls(asking[kept], documents, np.stack([query_place, document_place], 1).astype(np.int64), grades)


def relevance_values(queries: int, documents: int, judged: Sequence[tuple[int, int, float]]) -> NDArray[np.float64]:
    """(queries + documents, WIDTH) targets: first the rows of the queries, then those of the documents.

    Args:
        queries: number of queries.
        documents: number of documents.
        judged: query, document and grade above 0, at most `MOST_RELEVANT` for a query.
    """
    values = np.full((queries + documents, WIDTH), np.nan)
    values[queries:, 0] = np.arange(documents)
    filled = np.zeros(queries, np.int64)
    for query, document, grade in judged:
        values[query, 1 + filled[query]] = document
        values[query, 1 + MOST_RELEVANT + filled[query]] = grade
        filled[query] += 1
    return values
