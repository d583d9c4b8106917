"""Where each candidate of a pool stands among the architectures of the others: its vector, its nearest, its cluster."""

from __future__ import annotations

import contextlib
import hashlib
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelselect.archi2vec.embedding import embed
from modelselect.architectures.graph_json import from_json
from modelselect.architectures.similarity import clusters, nearest_of_each
from modelselect.candidates.candidate import Candidate
from modelselect.errors import Failure, Stage, StoreError, contained
from modelselect.evaluation.results import ScoringResult
from modelselect.host.defaults import DEFAULT_ENCODER
from modelselect.host.host import get_host
from modelselect.store.store import Store
from modelselect.utils.versions import EMBEDDING_LIBRARIES, numeric_versions

NEAREST_SHOWN = 3


@dataclass(frozen=True)
class Place:
    """A candidate among the architectures of a pool; what is not known is None or empty.

    Attributes:
        embedding: its archi2vec vector.
        nearest: ids of the candidates with the nearest vectors, and their cosine similarities.
        cluster: the number of its cluster.
    """

    embedding: tuple[float, ...] | None = None
    nearest: tuple[tuple[str, float], ...] = ()
    cluster: int | None = None


def places_of(
    pool: Sequence[Candidate], results: Mapping[str, ScoringResult | Failure], store: Store
) -> dict[str, Place]:
    """The place of every candidate that has a graph, by id. No candidate has one if fewer than two have graphs.

    The same graphs always have the same vectors, so the store keeps them: encoders take a second to import. Candidates
    are taken in the order of their ids, so the order of the pool decides no cluster, and nothing among equals.
    """
    graphs = {
        candidate.id: result.graph
        for candidate in pool
        if isinstance(result := results[candidate.id], ScoringResult) and result.graph is not None
    }
    if len(graphs) < 2:
        return {}
    ids = sorted(graphs)
    try:
        with contained():
            vectors, groups = _vectors_and_clusters([graphs[candidate_id] for candidate_id in ids], store)
            near = nearest_of_each(vectors, min(NEAREST_SHOWN, len(ids) - 1))
    except Exception as error:  # a failing encoder must not cost the ranking
        reason = Failure.from_exception(Stage.RUN, error).reason
        warnings.warn(f"no architecture vectors: {reason}", stacklevel=2)
        return {}
    return {
        candidate_id: Place(
            tuple(float(v) for v in vectors[index]),
            tuple((ids[other], float(similarity)) for other, similarity in near[index]),
            int(groups[index]),
        )
        for index, candidate_id in enumerate(ids)
    }


def _vectors_and_clusters(graphs: Sequence[str], store: Store) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(n, dim) vectors and (n,) clusters of graphs in JSON, from the store if it has them."""
    key = store.key(
        "architectures",
        graphs=hashlib.sha256("\n".join(graphs).encode()).hexdigest(),
        encoder=DEFAULT_ENCODER,
        plugin=get_host().owner("architecture_encoders", DEFAULT_ENCODER).version,
        versions=numeric_versions(EMBEDDING_LIBRARIES),
    )
    if (entry := store.get(key)) is not None:
        return entry.arrays["vectors"], entry.arrays["clusters"]
    vectors = embed([from_json(graph) for graph in graphs])
    groups = clusters(vectors, max(round(math.sqrt(len(graphs) / 2)), 1))  # the rule of thumb
    with contextlib.suppress(StoreError):  # the next run computes them again
        store.put(key, {"vectors": vectors, "clusters": groups})
    return vectors, groups
