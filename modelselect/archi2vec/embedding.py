"""Architectures as vectors."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelselect.archi2vec.tracing import trace_candidate
from modelselect.architectures.encoder import Encoder
from modelselect.architectures.trace import trace
from modelselect.candidates.candidate import Candidate
from modelselect.errors import ExpressionError, InvalidInputError, blamed
from modelselect.host.defaults import DEFAULT_ENCODER
from modelselect.host.host import get_host
from modelselect.host.lookup import search
from modelselect.utils.process_state import unchanged

if TYPE_CHECKING:
    import networkx
    import torch


def embed(
    architectures: str | Sequence[str | Candidate | torch.nn.Module | networkx.Graph[Any]],
    encoder: str | Encoder = DEFAULT_ENCODER,
    *,
    trust_remote_code: bool = False,
) -> NDArray[np.float32]:
    """The archi2vec vectors of architectures: (n, dim) float32, rows in the order given.

    The space is fitted to these architectures together, so vectors of two calls are not comparable. No weights are
    downloaded or loaded if the zoo can build the architecture without them.

    Args:
        architectures: candidate expressions (each match gives a row), candidates, modules that take images, or graphs
            made by `trace`, in any mixture.
        encoder: a name, or an instance with your own parameters.
        trust_remote_code: whether candidates may run code from their repositories.

    Raises:
        ExpressionError: an expression is not valid or matches nothing.
        UnknownNameError: no zoo or encoder has this name.
        CandidateError: an architecture cannot be traced; the message says which.
        PluginError: the encoder raises something of its own, or gives something else than a vector for each.

    >>> import torch
    >>> plain = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3))
    >>> vectors = embed([trace(plain), trace(plain), trace(torch.nn.Sequential(plain, torch.nn.Sigmoid()))])
    >>> vectors.shape, bool((vectors[0] == vectors[1]).all()), bool((vectors[0] == vectors[2]).all())
    ((3, 128), True, False)
    """
    if isinstance(encoder, str):
        encoder = get_host().encoder(encoder)
    items = [architectures] if isinstance(architectures, str) else architectures
    graphs = [graph for item in items for graph in _graphs(item, trust_remote_code)]
    return vectors_by(encoder, lambda: encoder.encode(graphs), len(graphs))


def vectors_by(encoder: Encoder, make: Callable[[], object], count: int) -> NDArray[np.float32]:
    """The vectors that an encoder makes, checked.

    Args:
        encoder: whose code makes them.
        make: gives (count, dim) float32.
        count: of graphs.

    Raises:
        PluginError: it raises something of its own, or gives something else; the message names its plugin.
    """
    with by_encoder(encoder):
        vectors = np.asarray(make(), np.float32)
        if vectors.ndim != 2 or len(vectors) != count or not np.isfinite(vectors).all():
            said = (
                "NaN or infinity" if vectors.shape[:1] == (count,) and vectors.ndim == 2 else f"shape {vectors.shape}"
            )
            raise ValueError(f"its vectors have {said}; expected ({count}, dim) finite numbers")
    return vectors


@contextlib.contextmanager
def by_encoder(encoder: Encoder) -> Iterator[None]:
    """Runs code of an encoder: what it raises is one of our errors, and names its plugin.

    Raises:
        PluginError: it raised something that is none of our errors.
    """
    with (
        blamed(lambda reason: f"the encoder {encoder.name!r} raised {reason}{_owner_of(encoder)}"),
        unchanged(imports=True),
    ):
        yield


def _owner_of(encoder: Encoder) -> str:
    host = get_host()
    known = host.registered("architecture_encoders", encoder.name)
    return f" (from {host.owner('architecture_encoders', encoder.name).owner})" if encoder.name in known else ""


def _graphs(item: object, trust_remote_code: bool) -> Iterator[networkx.Graph[Any]]:
    import networkx

    if isinstance(item, networkx.Graph):
        yield item
    elif isinstance(item, Candidate):
        yield trace_candidate(item, trust_remote_code=trust_remote_code)
    elif isinstance(item, str):
        found = search(item)
        if not found:
            raise ExpressionError(f"{item!r} matches no candidate; try expressions with `modelselect search`")
        for candidate in found:
            yield trace_candidate(candidate, trust_remote_code=trust_remote_code)
    else:
        import torch

        if not isinstance(item, torch.nn.Module):
            raise InvalidInputError(
                f"cannot embed {type(item).__name__}; expected a candidate expression, a Candidate, a torch module or "
                "a graph made by archi2vec.trace()"
            )
        yield trace(item)
