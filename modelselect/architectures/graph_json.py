"""A graph to JSON and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from modelselect.errors import InvalidInputError

if TYPE_CHECKING:
    import networkx


def to_json(graph: networkx.DiGraph[int]) -> str:
    """The graph as one line of node-link JSON, readable by networkx's `node_link_graph(..., edges="edges")`.

    >>> import networkx
    >>> graph = networkx.DiGraph([(0, 1)])
    >>> networkx.set_node_attributes(graph, {0: "Convolution", 1: "Relu"}, "operation")
    >>> from_json(to_json(graph)).nodes(data="operation")
    NodeDataView({0: 'Convolution', 1: 'Relu'}, data='operation')
    """
    return json.dumps(
        {
            "directed": True,
            "multigraph": False,
            "graph": {},
            "nodes": [{"id": node, "operation": operation} for node, operation in graph.nodes(data="operation")],
            "edges": [{"source": source, "target": target} for source, target in graph.edges],
        },
        separators=(",", ":"),
    )


def from_json(text: str) -> networkx.DiGraph[int]:
    """The graph written by `to_json`.

    Raises:
        InvalidInputError: the text is not such a graph.
    """
    import networkx

    graph: networkx.DiGraph[int] = networkx.DiGraph()
    try:
        data = json.loads(text)
        graph.add_nodes_from((int(node["id"]), {"operation": str(node["operation"])}) for node in data["nodes"])
        edges = [(int(edge["source"]), int(edge["target"])) for edge in data["edges"]]
        if not graph:
            raise ValueError("the graph has no nodes")
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidInputError(
            f"the text is not an architecture graph in node-link JSON ({type(error).__name__}: {error}). "
            "Expected the output of archi2vec.to_json(); trace the architecture again."
        ) from error
    unknown = [node for edge in edges for node in edge if node not in graph]
    if unknown:
        raise InvalidInputError(f"the graph has edges at nodes that it lacks: {unknown[:3]}; trace it again.")
    graph.add_edges_from(edges)
    return graph
