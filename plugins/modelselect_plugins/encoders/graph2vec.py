"""The `graph2vec` encoder: Weisfeiler-Lehman documents and doc2vec, as archi2vec uses them."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from modelselect import hookimpl
from modelselect.archi2vec import Encoder, Space, weisfeiler_lehman
from modelselect.architectures.documents import ITERATIONS
from modelselect.errors import InvalidInputError

if TYPE_CHECKING:
    import networkx
    from gensim.models.doc2vec import Doc2Vec


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
        return self.fit(graphs).vectors

    def fit(self, graphs: Sequence[networkx.Graph[Any]]) -> Graph2VecSpace:
        from gensim.models.doc2vec import TaggedDocument

        documents, keys = self.documents(graphs)
        distinct = dict(sorted(zip(keys, documents, strict=True)))
        model = self.model()
        if distinct:
            corpus = [TaggedDocument(words, [key]) for key, words in distinct.items()]
            model.build_vocab(corpus)
            model.train(corpus, total_examples=model.corpus_count, epochs=model.epochs)
        vectors = np.array([model.dv[key] for key in keys], dtype=np.float32).reshape(len(keys), self.dimensions)
        return Graph2VecSpace(self, model, vectors)

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Graph2VecSpace:
        try:
            words = state["words"].tobytes().decode().split("\n")
            counts, hidden = state["counts"], state["hidden"]
            if hidden.shape != (len(words), self.dimensions) or len(counts) != len(words):
                raise ValueError(f"{len(words)} words, {len(counts)} counts and hidden weights of {hidden.shape}")
        except (KeyError, ValueError) as error:
            raise InvalidInputError(
                f"this is no space of graph2vec with {self.dimensions} dimensions ({error}); embed anew"
            ) from error
        model = self.model()
        model.build_vocab_from_freq(dict(zip(words, counts.tolist(), strict=True)))
        # gensim puts words that are equally frequent in another order; which ones it draws depends on the order.
        model.wv.index_to_key, model.wv.key_to_index = words, {word: index for index, word in enumerate(words)}
        model.wv.expandos["count"] = counts.copy()
        model.make_cum_table()
        model.syn1neg[:] = hidden
        return Graph2VecSpace(self, model, np.empty((0, self.dimensions), dtype=np.float32))

    def documents(self, graphs: Sequence[networkx.Graph[Any]]) -> tuple[list[list[str]], list[str]]:
        """The words of each graph, and what tells one document from another."""
        documents = [weisfeiler_lehman(graph, self.iterations) for graph in graphs]
        return documents, [hashlib.sha256(" ".join(document).encode()).hexdigest() for document in documents]

    def model(self) -> Doc2Vec:
        """Doc2vec that has learned nothing yet."""
        from gensim.models.doc2vec import Doc2Vec

        return Doc2Vec(
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


class Graph2VecSpace(Space):
    """The words' weights, which stay as they are while the vector of a further document is learned.

    Words that the space has never seen are skipped: what an architecture shares with others places it.
    """

    def __init__(self, encoder: Graph2Vec, model: Doc2Vec, vectors: NDArray[np.float32]) -> None:
        self._encoder, self._model, self._vectors = encoder, model, vectors

    @property
    def vectors(self) -> NDArray[np.float32]:
        return self._vectors

    def place(self, graphs: Sequence[networkx.Graph[Any]]) -> NDArray[np.float32]:
        documents, keys = self._encoder.documents(graphs)
        distinct = {key: self._learned(key, words) for key, words in zip(keys, documents, strict=True)}
        return np.array([distinct[key] for key in keys], dtype=np.float32).reshape(len(keys), self._encoder.dimensions)

    def state(self) -> Mapping[str, NDArray[Any]]:
        words = self._model.wv.index_to_key
        return {
            "words": np.frombuffer("\n".join(words).encode(), dtype=np.uint8),
            "counts": np.array([self._model.wv.get_vecattr(word, "count") for word in words], dtype=np.int64),
            "hidden": np.array(self._model.syn1neg[: len(words)], dtype=np.float32),
        }

    def _learned(self, key: str, words: list[str]) -> NDArray[np.float32]:
        """What `Doc2Vec.infer_vector` does, but for its start, which Python's hash of the document decides there."""
        from gensim.models.doc2vec import train_document_dbow

        model, encoder = self._model, self._encoder
        rng = np.random.default_rng([encoder.seed, int(key[:8], 16)])
        vector = ((rng.random((1, encoder.dimensions)) - 0.5) / encoder.dimensions).astype(np.float32)
        model.random = np.random.RandomState(encoder.seed)  # of the words that it learns to tell from the document's
        work, lock = np.zeros(encoder.dimensions, dtype=np.float32), np.ones(1, dtype=np.float32)
        for rate in np.linspace(model.alpha, model.min_alpha, encoder.epochs):
            train_document_dbow(
                model,
                words,
                [0],
                float(rate),
                work,
                learn_words=False,
                learn_hidden=False,
                doctag_vectors=vector,
                doctags_lockf=lock,
            )
        learned: NDArray[np.float32] = vector[0]
        return learned


def _stable_hash(text: str) -> int:
    """Python's own hash of a text differs from process to process."""
    return zlib.crc32(text.encode())


@hookimpl
def modelselect_register_architecture_encoders() -> list[Encoder]:
    return [Graph2Vec()]
