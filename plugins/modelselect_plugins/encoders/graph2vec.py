"""The `graph2vec` encoder: Weisfeiler-Lehman documents and doc2vec, as archi2vec uses them."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from modelselect import hookimpl
from modelselect.archi2vec import Encoder, weisfeiler_lehman
from modelselect.archi2vec.documents import ITERATIONS

if TYPE_CHECKING:
    import networkx


@dataclass(frozen=True)
class Graph2Vec(Encoder):
    """A graph's vector is doc2vec's (PV-DBOW: it predicts the document's words), fitted to the graphs that are given.

    Neither their order nor repetitions matter: equal graphs are one document, and documents are put in an order of
    their own before they are learned. So candidates that share an architecture share its vector, and neither seed,
    process, number of threads nor position moves it.

    Args:
        dimensions: of the vectors.
        iterations: of Weisfeiler-Lehman, how far a word sees.
        epochs: passes over the documents. With 10, architectures of a small pool are hardly told apart (ResNet-18 and
            AlexNet 0.997 alike in a pool of three); with 100 and more, shallow and deep ones of a family drift apart.
            At 40, ResNet-18 and ResNet-10 are 0.90 to 0.99 alike, ResNet-18 and AlexNet 0.20 to 0.75, in pools of
            three to sixty (0.97 and 0.47 in the paper, section 5).
        learning_rate: of doc2vec at the start; it falls to almost nothing.
        minimum_count: words that are rarer, over all documents, are ignored. 1: in a small pool, rare is telling.
        seed: of doc2vec.

    Sources: Narayanan et al., "graph2vec: Learning Distributed Representations of Graphs", 2017; Le and Mikolov,
    "Distributed Representations of Sentences and Documents", ICML 2014, section 2.3; Bai et al., section 3.2.

    >>> import networkx
    >>> chain = networkx.path_graph(3, networkx.DiGraph)
    >>> networkx.set_node_attributes(chain, "Relu", "operation")
    >>> Graph2Vec(dimensions=8).encode([chain]).shape
    (1, 8)
    """

    dimensions: int = 128
    iterations: int = ITERATIONS
    epochs: int = 40
    learning_rate: float = 0.025
    minimum_count: int = 1
    seed: int = 42

    name: ClassVar[str] = "graph2vec"

    def encode(self, graphs: Sequence[networkx.Graph[Any]]) -> NDArray[np.float32]:
        documents = [weisfeiler_lehman(graph, self.iterations) for graph in graphs]
        keys = [hashlib.sha256(" ".join(document).encode()).hexdigest() for document in documents]
        distinct = dict(sorted(zip(keys, documents, strict=True)))
        vectors = self._learn(distinct)
        return np.array([vectors[key] for key in keys], dtype=np.float32).reshape(len(keys), self.dimensions)

    def _learn(self, documents: dict[str, list[str]]) -> dict[str, NDArray[np.float32]]:
        """The vector of each document, by its key."""
        from gensim.models.doc2vec import Doc2Vec, TaggedDocument

        if not documents:
            return {}
        model = Doc2Vec(
            [TaggedDocument(words, [key]) for key, words in documents.items()],
            dm=0,
            vector_size=self.dimensions,
            epochs=self.epochs,
            alpha=self.learning_rate,
            min_count=self.minimum_count,
            sample=0,  # graphs have few distinct words, all of them frequent: thinning them out leaves nothing to learn
            seed=self.seed,
            workers=1,  # more of them race
            hashfxn=_stable_hash,
        )
        return {key: model.dv[key] for key in documents}


def _stable_hash(text: str) -> int:
    """Python's own hash of a text differs from process to process."""
    return zlib.crc32(text.encode())


@hookimpl
def modelselect_register_architecture_encoders() -> list[Encoder]:
    return [Graph2Vec()]
