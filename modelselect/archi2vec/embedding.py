"""Architectures as vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelselect.archi2vec.tracing import trace_candidate
from modelselect.architectures.encoder import Encoder
from modelselect.architectures.trace import trace
from modelselect.candidates.candidate import Candidate
from modelselect.errors import ExpressionError, InvalidInputError
from modelselect.host.defaults import DEFAULT_ENCODER
from modelselect.host.host import get_host
from modelselect.host.lookup import search

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

    >>> import torch
    >>> plain = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3))
    >>> vectors = embed([trace(plain), trace(plain), trace(torch.nn.Sequential(plain, torch.nn.Sigmoid()))])
    >>> vectors.shape, bool((vectors[0] == vectors[1]).all()), bool((vectors[0] == vectors[2]).all())
    ((3, 128), True, False)
    """
    if isinstance(encoder, str):
        encoder = get_host().encoder(encoder)
    items = [architectures] if isinstance(architectures, str) else architectures
    return encoder.encode([graph for item in items for graph in _graphs(item, trust_remote_code)])


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
