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
