"""Architectures as vectors: encoders, and what can be asked of the space that they span."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelselect.archi2vec.graph import BATCH_SIZE, trace, trace_skeleton
from modelselect.candidates import Candidate
from modelselect.errors import CandidateError, ExpressionError, InvalidInputError

if TYPE_CHECKING:
    import networkx
    import torch

TEXT_TOKENS = 128
"""Of the text that is traced, and that multiply-accumulates are counted for: attention costs the square of it."""


class Encoder(abc.ABC):
    """Turns architectures' graphs into vectors. Register an instance with `modelselect_register_architecture_encoders`.

    Attributes:
        name: unique among encoders.
    """

    name: ClassVar[str]

    @abc.abstractmethod
    def encode(self, graphs: Sequence[networkx.Graph[Any]]) -> NDArray[np.float32]:
        """One vector for each graph, (n, dim) float32, rows in the order given; all in one space of their own.

        The same graphs give the same vectors in every process, and equal graphs equal vectors. Graphs are as `trace`
        makes them. Vectors of two calls need not be comparable.
        """

    def fit(self, graphs: Sequence[networkx.Graph[Any]]) -> Space:
        """The space that `encode` puts these graphs into, kept, so that others can be placed in it later.

        Raises:
            InvalidInputError: this encoder knows no such space.
        """
        raise InvalidInputError(
            f"the encoder {self.name!r} cannot place an architecture in a space that exists; use 'graph2vec', or embed "
            "all architectures together"
        )

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Space:
        """The space whose `state` was saved, ready to place further graphs. Without the vectors it was fitted to.

        Raises:
            InvalidInputError: as `fit` does, or the state is none of this encoder's.
        """
        raise InvalidInputError(f"the encoder {self.name!r} keeps no space")


class Space(abc.ABC):
    """What an encoder has learned from many architectures, with room for more."""

    @property
    @abc.abstractmethod
    def vectors(self) -> NDArray[np.float32]:
        """(n, dim) of the graphs it was fitted to, in their order; (0, dim) for a space that was restored."""

    @abc.abstractmethod
    def place(self, graphs: Sequence[networkx.Graph[Any]]) -> NDArray[np.float32]:
        """(m, dim) vectors of further graphs. Nothing else moves, and a graph's vector depends on that graph alone."""

    @abc.abstractmethod
    def state(self) -> Mapping[str, NDArray[Any]]:
        """What `Encoder.restore` needs, as plain arrays."""


def embed(
    architectures: str | Sequence[str | Candidate | torch.nn.Module | networkx.Graph[Any]],
    encoder: str | Encoder = "graph2vec",
    *,
    trust_remote_code: bool = False,
) -> NDArray[np.float32]:
    """The archi2vec vectors of architectures: (n, dim) float32, rows in the order given.

    The space is fitted to these architectures, all together; vectors of two calls are not comparable. No weights are
    downloaded or loaded where the zoo can build the architecture without.

    Args:
        architectures: candidate expressions (one that matches several gives as many rows), candidates, modules that
            take images, or graphs as `trace` makes them, in any mixture.
        encoder: a name, or an instance with parameters of your own.
        trust_remote_code: whether candidates may run code that they bring.

    Raises:
        ExpressionError: an expression cannot be read or matches nothing.
        UnknownNameError: no such zoo or encoder.
        CandidateError: one of the architectures cannot be traced; the message says which.

    >>> import torch
    >>> plain = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3))
    >>> vectors = embed([trace(plain), trace(plain), trace(torch.nn.Sequential(plain, torch.nn.Sigmoid()))])
    >>> vectors.shape, bool((vectors[0] == vectors[1]).all()), bool((vectors[0] == vectors[2]).all())
    ((3, 128), True, False)
    """
    if isinstance(encoder, str):
        from modelselect.host import get_host

        encoder = get_host().encoder(encoder)
    items = [architectures] if isinstance(architectures, str) else architectures
    return encoder.encode([graph for item in items for graph in _graphs(item, trust_remote_code)])


def input_of(candidate: Candidate) -> dict[str, Any]:
    """What `trace` and `count_macs` are told of a candidate: its `input_size`, or an `example` for one that reads text.

    A text is `TEXT_TOKENS` tokens, or as many as it reads where that is fewer. Empty where the size is not known.

    >>> input_of(Candidate("shelf", "net", metadata={"input_size": (3, 32, 32)}))
    {'input_size': (3, 32, 32)}
    >>> input_of(Candidate("shelf", "bert", metadata={"modality": "text", "input_size": (512,)}))["example"].shape
    torch.Size([2, 128])
    """
    import torch

    size = candidate.metadata.get("input_size")
    if size is None:
        return {}
    if candidate.metadata.get("modality") == "text":
        return {"example": torch.ones(BATCH_SIZE, min(size[0], TEXT_TOKENS), dtype=torch.long)}
    return {"input_size": tuple(size)}


def trace_candidate(candidate: Candidate, *, trust_remote_code: bool = False) -> networkx.DiGraph[int]:
    """The graph of a candidate, built without weights where its zoo can do that, and loaded where it cannot.

    Raises:
        CandidateError: it cannot be built or traced; the message says which it is, and why.

    >>> import modelselect as ms
    >>> trace_candidate(ms.search("embedded:*")[0]).nodes[0]
    {'operation': 'Convolution'}
    """
    from modelselect.host import get_host

    zoo = get_host().zoo(candidate.zoo)
    try:
        module = zoo.skeleton(candidate, trust_remote_code=trust_remote_code)
        if module is None:
            module = zoo.load(candidate, trust_remote_code=trust_remote_code).module
            return trace_somewhere(module, **input_of(candidate))
        try:
            return trace_skeleton(module, **input_of(candidate))
        except CandidateError:
            module = zoo.skeleton(candidate, trust_remote_code=trust_remote_code)
            return trace(module, **input_of(candidate), device="cpu")
    except CandidateError as error:
        error.add_note(f"while tracing {candidate.id}")
        raise


def trace_somewhere(module: torch.nn.Module, **inputs: Any) -> networkx.DiGraph[int]:
    """`trace` on the meta device, or on values where the module's flow depends on them, as DeBERTa's does.

    Args:
        module: as for `trace`. Without weights it runs on zeros.
        inputs: as `input_of` gives them.

    Raises:
        CandidateError: neither goes.
    """
    try:
        return trace(module, **inputs)
    except CandidateError:
        return trace(module, **inputs, device="cpu")


def similarity(vectors: ArrayLike) -> NDArray[np.float32]:
    """(n, n) cosine similarities between the rows of (n, dim) vectors; 0 where a vector is zero.

    >>> similarity([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]]).tolist()
    [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    units = directions(vectors)
    return np.clip(units @ units.T, -1.0, 1.0).astype(np.float32)


def nearest(vectors: ArrayLike, of: int | ArrayLike, k: int = 5) -> list[tuple[int, float]]:
    """The k rows that are most alike, as (row, cosine similarity), the most alike first; equals in their order.

    Args:
        vectors: (n, dim).
        of: a row's index, which is then left out of the answer; or a vector (dim,) of the same space.
        k: how many; fewer come back where there are fewer.

    Raises:
        InvalidInputError: no such row, or a vector of another dimension.

    >>> nearest([[1.0, 0.0], [1.0, 1.0], [0.0, 3.0]], 0, k=2)
    [(1, 0.7071067811865475), (2, 0.0)]
    """
    units = directions(vectors)
    if isinstance(of, (int, np.integer)):
        if not -len(units) <= of < len(units):
            raise InvalidInputError(f"there is no row {of} among {len(units)} vectors; expected 0 to {len(units) - 1}")
        own = int(of) % len(units)
        query = units[own]
    else:
        own = -1
        query = directions(np.atleast_2d(of))[0]
        if query.shape != units.shape[1:]:
            raise InvalidInputError(f"the vector has dimension {query.size}, the others have {units.shape[1]}")
    cosines = np.clip(units @ query, -1.0, 1.0)
    order = [int(row) for row in np.argsort(-cosines, kind="stable") if row != own]
    return [(row, float(cosines[row])) for row in order[: max(k, 0)]]


def clusters(vectors: ArrayLike, k: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Cluster of each row of (n, dim) vectors, 0 to k-1 in order of first appearance: KMeans on their directions.

    Vectors are brought to unit length first, so that clusters go by cosine as `nearest` does. The paper (section 3.2)
    does not say how many clusters to take.

    Args:
        vectors: (n, dim).
        k: number of clusters; with fewer distinct directions there are fewer.
        seed: of KMeans' initialisation.

    Raises:
        InvalidInputError: k is not between 1 and n.

    >>> clusters([[5.0, 0.1], [0.0, 1.0], [1.0, 0.0]], 2).tolist()
    [0, 1, 0]
    """
    units = directions(vectors)
    if not 1 <= k <= len(units):
        raise InvalidInputError(f"{len(units)} vectors cannot form {k} clusters; expected 1 to {len(units)}")
    from sklearn.cluster import KMeans

    distinct = len(np.unique(units, axis=0))
    found = KMeans(min(k, distinct), n_init=10, random_state=seed).fit_predict(units)
    by_appearance = {label: index for index, label in enumerate(dict.fromkeys(found.tolist()))}
    return np.array([by_appearance[label] for label in found.tolist()], dtype=np.int64)


def _graphs(item: object, trust_remote_code: bool) -> Iterator[networkx.Graph[Any]]:
    import networkx

    if isinstance(item, networkx.Graph):
        yield item
    elif isinstance(item, Candidate):
        yield trace_candidate(item, trust_remote_code=trust_remote_code)
    elif isinstance(item, str):
        from modelselect.selection import search

        found = search(item)
        if not found:
            raise ExpressionError(
                f"{item!r} matches no candidate; `modelselect search` shows what an expression matches"
            )
        for candidate in found:
            yield trace_candidate(candidate, trust_remote_code=trust_remote_code)
    else:
        import torch

        if not isinstance(item, torch.nn.Module):
            raise InvalidInputError(
                f"cannot embed {type(item).__name__}; expected a candidate expression, a Candidate, a torch module or "
                "a graph as archi2vec.trace() makes it"
            )
        yield trace(item)


def directions(vectors: ArrayLike) -> NDArray[np.float64]:
    """(n, dim) vectors at length 1; zero where a vector is."""
    matrix = np.asarray(vectors, dtype=np.float64)
    if matrix.ndim != 2:
        raise InvalidInputError(f"vectors have shape {matrix.shape}; expected (n, dim)")
    if not np.isfinite(matrix).all():
        raise InvalidInputError("vectors hold NaN or infinite values; embed the architectures again")
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix / np.where(lengths == 0, 1.0, lengths)
