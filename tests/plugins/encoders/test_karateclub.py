"""The shipped encoder against Karate Club's, where that is installed: the same documents, the same neighbours."""

from __future__ import annotations

import collections
import subprocess
import sys

import numpy as np
import pytest

import modelselect as ms
from modelselect.archi2vec import similarity, trace_candidate, weisfeiler_lehman
from modelselect.errors import InvalidInputError
from modelselect.host.host import get_host
from modelselect_plugins.encoders.karateclub import KarateClub, _prepared


def installed() -> bool:
    try:
        import karateclub  # noqa: F401
    except ImportError:
        return False
    return True


needs_karateclub = pytest.mark.skipif(
    not installed(), reason="Karate Club is not installed (it cannot be a dependency; see the encoder's page)"
)


def test_where_it_is_missing_the_command_that_installs_it_is_said() -> None:
    code = (
        "import sys; sys.modules['karateclub'] = None\n"
        "import networkx, modelselect as ms\n"
        "graph = networkx.path_graph(2, networkx.DiGraph)\n"
        "networkx.set_node_attributes(graph, 'Relu', 'operation')\n"
        "ms.archi2vec.embed([graph], 'karateclub')"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode != 0
    assert "pip install --no-deps --no-build-isolation karateclub" in answer.stderr
    assert InvalidInputError.__name__ in answer.stderr


@needs_karateclub
def test_a_document_has_the_same_words_at_the_same_places_but_for_their_names() -> None:
    from karateclub.utils.treefeatures import WeisfeilerLehmanHashing

    for candidate in ms.search("embedded:*"):
        graph = trace_candidate(candidate)
        ours = weisfeiler_lehman(graph)
        theirs = WeisfeilerLehmanHashing(_prepared(graph), 2, True, False).get_graph_features()
        assert ours == theirs  # without the loops that its Graph2Vec adds


@needs_karateclub
def test_with_its_loops_words_are_others_but_tell_the_same_operations_apart() -> None:
    from karateclub.utils.treefeatures import WeisfeilerLehmanHashing

    for candidate in ms.search("embedded:*"):
        graph = trace_candidate(candidate)
        looped = _prepared(graph)
        looped.add_edges_from((node, node) for node in list(looped))
        theirs = WeisfeilerLehmanHashing(looped, 2, True, False).get_graph_features()
        pairs = collections.Counter(zip(weisfeiler_lehman(graph), theirs, strict=True))
        assert len({ours for ours, _ in pairs}) == len({other for _, other in pairs}) == len(pairs)


@needs_karateclub
def test_the_vectors_are_as_alike_as_those_of_the_shipped_encoder() -> None:
    graphs = [trace_candidate(candidate) for candidate in ms.search("embedded:*")]
    before = [(len(graph.nodes), len(graph.edges)) for graph in graphs]
    ours = similarity(get_host().encoder("graph2vec").encode(graphs))
    theirs = similarity(KarateClub().encode(graphs))
    assert [(len(graph.nodes), len(graph.edges)) for graph in graphs] == before
    apart = ~np.eye(len(graphs), dtype=bool)
    assert np.corrcoef(ours[apart], theirs[apart])[0, 1] > 0.95
    for matrix in (ours, theirs):
        np.fill_diagonal(matrix, -1)
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1)).mean() >= 0.75
