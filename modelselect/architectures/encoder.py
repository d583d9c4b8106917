"""`Encoder`: from graphs to vectors."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import InvalidInputError

if TYPE_CHECKING:
    import networkx


class Encoder(abc.ABC):
    """Turns architectures' graphs into vectors. Register an instance with `modelselect_register_architecture_encoders`.

    Attributes:
        name: unique among encoders.
    """

    name: ClassVar[str]

    @abc.abstractmethod
    def encode(self, graphs: Sequence[networkx.Graph[Any]]) -> NDArray[np.float32]:
        """One vector for each graph, (n, dim) float32, in the given order; all in one space.

        The same graphs give the same vectors in every process, and equal graphs have equal vectors. Graphs are those
        of `trace`. Vectors of two calls need not be comparable.
        """

    def fit(self, graphs: Sequence[networkx.Graph[Any]]) -> Space:
        """The space of `encode` for these graphs, kept so that further graphs can be placed in it later.

        Raises:
            InvalidInputError: this encoder has no such space.
        """
        raise InvalidInputError(
            f"the encoder {self.name!r} cannot add architectures to an existing space; use 'graph2vec', or embed all "
            "architectures together"
        )

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Space:
        """The space with this saved `state`, ready to place further graphs, without the vectors it was fitted to.

        Raises:
            InvalidInputError: this encoder has no such space, or the state is not one of its own.
        """
        raise InvalidInputError(f"the encoder {self.name!r} keeps no space; use 'graph2vec'")


class Space(abc.ABC):
    """A space fitted to many architectures, in which others can be placed."""

    @property
    @abc.abstractmethod
    def vectors(self) -> NDArray[np.float32]:
        """(n, dim) vectors of the graphs it was fitted to, in order; (0, dim) for a restored space."""

    @abc.abstractmethod
    def place(self, graphs: Sequence[networkx.Graph[Any]]) -> NDArray[np.float32]:
        """(m, dim) vectors of further graphs. Other vectors do not move, and each vector depends only on its graph."""

    @abc.abstractmethod
    def state(self) -> Mapping[str, NDArray[Any]]:
        """The data that `Encoder.restore` needs, as plain arrays."""
