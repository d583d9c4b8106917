"""An architecture's graph as a document, whose words are the Weisfeiler-Lehman labels of its operations."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING

from modelselect.errors import InvalidInputError

if TYPE_CHECKING:
    import networkx

ITERATIONS = 2
"""Maximum number of steps from an operation to those that its words depend on (as in graph2vec and the paper)."""


def weisfeiler_lehman(graph: networkx.Graph[int], iterations: int = ITERATIONS) -> list[str]:
    """The graph2vec document of a graph: all labels of the first operation, then of the next, and so on.

    An operation's first label is its type. In each iteration its new label is the MD5 of its own and its sorted
    neighbours' labels, joined by underscores; it stands for the subgraph around the operation. Neighbours in a directed
    graph are successors: the operations that take the result.

    Args:
        graph: with the node attribute `operation`, as made by `trace`. The graph may be undirected.
        iterations: number of labels after the first.

    Raises:
        InvalidInputError: the graph has no nodes, or a node lacks the attribute.

    Source: Narayanan et al., "graph2vec: Learning Distributed Representations of Graphs", 2017, algorithm 2; the labels
    are those of Karate Club (Rozemberczki et al., CIKM 2020), which archi2vec builds on.

    >>> import networkx
    >>> graph = networkx.DiGraph([(0, 1)])
    >>> networkx.set_node_attributes(graph, {0: "Convolution", 1: "Relu"}, "operation")
    >>> document = weisfeiler_lehman(graph, iterations=1)
    >>> document[0], document[2], document[1] == hashlib.md5(b"Convolution_Relu").hexdigest()
    ('Convolution', 'Relu', True)
    """
    import networkx

    labels: dict[int, str] = networkx.get_node_attributes(graph, "operation")
    if not labels or len(labels) < len(graph):
        raise InvalidInputError(
            f"the graph has {len(graph)} nodes, {len(labels)} of them with the attribute 'operation'; expected at "
            "least one node, and the attribute on all. archi2vec.trace() makes such graphs."
        )
    words = {node: [label] for node, label in labels.items()}
    for _ in range(iterations):
        labels = {
            node: _digest("_".join([label, *sorted(labels[neighbour] for neighbour in graph.neighbors(node))]))
            for node, label in labels.items()
        }
        for node, label in labels.items():
            words[node].append(label)
    return [word for of_node in words.values() for word in of_node]


def _digest(text: str) -> str:
    """The MD5, interned: millions of words repeat a few thousand."""
    return sys.intern(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest())
