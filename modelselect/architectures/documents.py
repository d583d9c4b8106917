"""An architecture's graph as a document: the Weisfeiler-Lehman labels of its operations are the words."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING

from modelselect.errors import InvalidInputError

if TYPE_CHECKING:
    import networkx

ITERATIONS = 2
"""How far a word sees: operations within so many steps (graph2vec's default, and the paper's)."""


def weisfeiler_lehman(graph: networkx.Graph[int], iterations: int = ITERATIONS) -> list[str]:
    """The graph2vec document of a graph: every label of every operation, one operation after the other.

    An operation's first label is its type. In each iteration its new label is the MD5 of its own and its sorted
    neighbours' labels, joined by underscores, and so stands for the subgraph that is rooted there. Neighbours in a
    directed graph are successors: where the data goes next.

    Args:
        graph: with node attribute `operation`, as `trace` gives it. An undirected graph will do.
        iterations: labels that follow the first.

    Raises:
        InvalidInputError: the graph has no nodes, or nodes without the attribute.

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
            "least one, and the attribute on all. archi2vec.trace() makes such graphs."
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
    """Interned, since a few thousand words make up millions."""
    return sys.intern(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest())
