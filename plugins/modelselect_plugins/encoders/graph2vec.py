"""The `graph2vec` encoder: Weisfeiler-Lehman documents and doc2vec, as in archi2vec."""

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
from modelselect.architectures.operations import operation_name
from modelselect.errors import InvalidInputError

if TYPE_CHECKING:
    import networkx
    from gensim.models.doc2vec import Doc2Vec


_PAPER_NODES = """
    AdaptiveAvgPool2DBackward0 AdaptiveMaxPool2DBackward0 AddBackward0 AddmmBackward0
    AvgPool2DBackward0 AvgPool3DBackward0 CatBackward0 CloneBackward0
    ConstantPadNdBackward0 ConvolutionBackward0 DivBackward0 ExpandBackward0
    HardtanhBackward0 IndexSelectBackward0 MaxBackward0 MaxPool2DWithIndicesBackward0
    MeanBackward1 MulBackward0 NativeBatchNormBackward0 Variable
    PowBackward0 PreluBackward0 ReluBackward0 RepeatBackward0
    ReshapeAliasBackward0 SigmoidBackward0 SliceBackward0 SoftmaxBackward0
    SplitWithSizesBackward0 SqueezeBackward1 SumBackward1 TBackward0
    TransposeBackward0 UnsqueezeBackward0 UpsampleBilinear2DBackward1 UpsampleNearest2DBackward1
    ViewBackward0
"""  # table 6 of the paper

PAPER_NODE_TYPES = frozenset(map(operation_name, _PAPER_NODES.split()))
"""The paper's 37 names of nodes as operations of `trace`, which has one name for a view and a reshaped alias. `trace`
leaves out parameters (`Variable`) and copies (`Clone`)."""

OTHER = "Other"


@dataclass(frozen=True)
class Graph2Vec(Encoder):
    """A graph's vector is that of doc2vec (PV-DBOW: it predicts the document's words), fitted to the given graphs.

    Neither order nor repetitions matter: equal graphs are one document, and documents are sorted before training. So
    candidates with the same architecture have the same vector, and the vector does not depend on seeds of the process,
    on the number of threads, or on the position.

    Args:
        dimensions: of the vectors.
        iterations: of Weisfeiler-Lehman: how far a word sees.
        epochs: passes over the documents. With 10, architectures of a small pool hardly differ (ResNet-18 and AlexNet
            have a similarity of 0.997 in a pool of three); with 100 and more, shallow and deep ones of a family drift
            apart. With 40, in pools of three to sixty, the similarity of ResNet-18 and ResNet-10 is 0.90 to 0.99, and
            that of ResNet-18 and AlexNet 0.20 to 0.75 (0.97 and 0.47 in the paper, section 5).
        learning_rate: of doc2vec at the start; it falls to almost nothing.
        minimum_count: words that occur less often, over all documents, are ignored. The default is 1, because in a
            small pool rare words are informative.
        seed: of doc2vec.
        node_types: the operations that are told apart; all others count as one. None for every operation, and
            `PAPER_NODE_TYPES` for those of the paper.

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
    node_types: frozenset[str] | None = None

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
                f"the state is not a space of graph2vec with {self.dimensions} dimensions ({error}); embed again"
            ) from error
        model = self.model()
        model.build_vocab_from_freq(dict(zip(words, counts.tolist(), strict=True)))
        # gensim orders words of equal frequency differently, and its draws depend on the order.
        model.wv.index_to_key, model.wv.key_to_index = words, {word: index for index, word in enumerate(words)}
        model.wv.expandos["count"] = counts.copy()
        model.make_cum_table()
        model.syn1neg[:] = hidden
        return Graph2VecSpace(self, model, np.empty((0, self.dimensions), dtype=np.float32))

    def documents(self, graphs: Sequence[networkx.Graph[Any]]) -> tuple[list[list[str]], list[str]]:
        """The words of each graph, and a digest that identifies each document."""
        documents = [weisfeiler_lehman(self._of_types(graph), self.iterations) for graph in graphs]
        return documents, [hashlib.sha256(" ".join(document).encode()).hexdigest() for document in documents]

    def _of_types(self, graph: networkx.Graph[Any]) -> networkx.Graph[Any]:
        """The graph, in which operations of no type have one name."""
        if self.node_types is None:
            return graph
        import networkx

        named = networkx.get_node_attributes(graph, "operation")
        other = {node: OTHER for node, operation in named.items() if operation not in self.node_types}
        graph = graph.copy()
        networkx.set_node_attributes(graph, other, "operation")
        return graph

    def model(self) -> Doc2Vec:
        """An untrained doc2vec."""
        from gensim.models.doc2vec import Doc2Vec

        return Doc2Vec(
            dm=0,
            vector_size=self.dimensions,
            epochs=self.epochs,
            alpha=self.learning_rate,
            min_count=self.minimum_count,
            sample=0,  # graphs have few distinct words, all frequent: subsampling would leave nothing to learn
            seed=self.seed,
            workers=1,  # several workers are not deterministic
            hashfxn=_stable_hash,
        )


class Graph2VecSpace(Space):
    """The words' weights, which stay fixed while the vector of a further document is trained.

    Words that are new to the space are skipped: an architecture is placed by what it shares with others.
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
        """Like `Doc2Vec.infer_vector`, which starts from Python's hash of the document, but with a repeatable start."""
        from gensim.models.doc2vec import train_document_dbow

        model, encoder = self._model, self._encoder
        rng = np.random.default_rng([encoder.seed, int(key[:8], 16)])
        vector = ((rng.random((1, encoder.dimensions)) - 0.5) / encoder.dimensions).astype(np.float32)
        model.random = np.random.RandomState(encoder.seed)  # draws the negative samples
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
    """A hash that is the same in every process, unlike Python's own."""
    return zlib.crc32(text.encode())


@hookimpl
def modelselect_register_architecture_encoders() -> list[Encoder]:
    return [Graph2Vec()]
