"""The `karateclub` encoder: Karate Club's own Graph2Vec, if it is installed, for comparison with `graph2vec`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from modelselect import hookimpl
from modelselect.archi2vec import Encoder, weisfeiler_lehman
from modelselect.architectures.documents import ITERATIONS
from modelselect.errors import InvalidInputError

if TYPE_CHECKING:
    import networkx

_INSTALL = "pip install --no-deps --no-build-isolation karateclub python-louvain pygsp python-Levenshtein six"


@dataclass(frozen=True)
class KarateClub(Encoder):
    """Graph2Vec of Karate Club (Rozemberczki et al., CIKM 2020). The package is not installed with this one.

    It requires versions of NumPy, networkx and pandas that conflict with current libraries, but it runs without its
    dependencies. It adds a loop to every node, so an operation's own label is also among its neighbours' labels: the
    words differ from those of `graph2vec`, but their number and order are the same.

    Args:
        dimensions: of the vectors.
        iterations: of Weisfeiler-Lehman.
        epochs: passes over the documents; see `graph2vec`.
        seed: of doc2vec.
    """

    dimensions: int = 128
    iterations: int = ITERATIONS
    epochs: int = 40
    seed: int = 42

    name: ClassVar[str] = "karateclub"

    def encode(self, graphs: Sequence[networkx.Graph[Any]]) -> NDArray[np.float32]:
        """See `Encoder.encode`.

        Raises:
            InvalidInputError: Karate Club cannot be imported; the message has the command that installs it.
        """
        try:
            from karateclub.graph_embedding.graph2vec import Graph2Vec
        except ImportError as error:
            raise InvalidInputError(
                f"the encoder 'karateclub' needs Karate Club ({error}); install it with: {_INSTALL}"
            ) from error
        if not graphs:
            return np.empty((0, self.dimensions), dtype=np.float32)
        # Equal graphs are merged, and sorted, so that neither repetitions nor order matter.
        keys = [" ".join(weisfeiler_lehman(graph, self.iterations)) for graph in graphs]
        distinct = {key: _prepared(graph) for key, graph in sorted(zip(keys, graphs, strict=True), key=lambda p: p[0])}
        model = Graph2Vec(
            wl_iterations=self.iterations,
            attributed=True,
            dimensions=self.dimensions,
            workers=1,
            down_sampling=0,
            epochs=self.epochs,
            min_count=1,
            seed=self.seed,
        )
        model.fit(list(distinct.values()))
        rows = dict(zip(distinct, model.get_embedding(), strict=True))
        return np.array([rows[key] for key in keys], dtype=np.float32)


def _prepared(graph: networkx.Graph[Any]) -> networkx.Graph[Any]:
    """A copy, because loops will be added, with nodes 0..n-1 and the attribute that Karate Club reads."""
    import networkx

    copy = networkx.convert_node_labels_to_integers(graph)
    networkx.set_node_attributes(copy, networkx.get_node_attributes(copy, "operation"), "feature")
    return copy


@hookimpl
def modelselect_register_architecture_encoders() -> list[Encoder]:
    return [KarateClub()]
