"""Named checks for authors of architecture encoders."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelselect.architectures.encoder import Encoder
from modelselect.errors import InvalidInputError
from modelselect.testing.checks import Check, called, lacking, name_is_valid, named_check, run_checks

if TYPE_CHECKING:
    import networkx


def check_encoder(encoder: Encoder, *, expected_failures: Mapping[str, str] | None = None) -> None:
    """Runs every check of `encoder_checks` and reports all that fail, by name.

    Args:
        encoder: the instance to be registered.
        expected_failures: as for `check_estimator`.

    Raises:
        AssertionError: lists the checks that failed, or that passed although they were expected to fail.

    >>> from modelselect.host import get_host
    >>> check_encoder(get_host().encoder("graph2vec"))
    """
    run_checks(called("encoder", encoder), encoder_checks(encoder), expected_failures)


def encoder_checks(encoder: Encoder) -> list[Check]:
    """For every promise of an encoder, a name and a check; see `check_encoder`.

    Checks of spaces are left out for encoders that keep none.
    """
    if incomplete := lacking(encoder, Encoder, "name"):
        return incomplete
    checks = [
        name_is_valid,
        _one_vector_for_each_graph,
        _equal_graphs_have_equal_vectors,
        _graphs_are_not_changed,
        _another_process_gives_the_same_vectors,
    ]
    if type(encoder).fit is not Encoder.fit:
        checks += [_placing_moves_nothing, _a_restored_space_places_alike]
    return [named_check(check, encoder) for check in checks]


def _chain(*operations: str, shortcut: bool = False) -> networkx.DiGraph[int]:
    import networkx as nx

    graph: nx.DiGraph[int] = nx.DiGraph()
    for number, operation in enumerate(("input", *operations, "output")):
        graph.add_node(number, operation=operation)
    nx.add_path(graph, range(len(graph)))
    if shortcut:
        graph.add_edge(1, len(graph) - 2)
    return graph


def example_graphs() -> list[networkx.DiGraph[int]]:
    """Five small architectures; the last equals the first."""
    block = ("conv2d", "batch_norm", "relu")
    return [
        _chain(*block, "linear"),
        _chain(*block * 3, "linear"),
        _chain(*block * 3, "linear", shortcut=True),
        _chain("linear", "gelu", "linear"),
        _chain(*block, "linear"),
    ]


def _encoded(encoder: Encoder, graphs: list[Any]) -> NDArray[np.float32]:
    vectors: Any = encoder.encode(graphs)
    assert isinstance(vectors, np.ndarray), f"encode() gives {type(vectors).__name__}; expected a NumPy array"
    assert vectors.dtype == np.float32, f"vectors are {vectors.dtype}; expected float32"
    assert vectors.ndim == 2, f"vectors have shape {vectors.shape}; expected ({len(graphs)}, dimensions)"
    assert len(vectors) == len(graphs), f"{len(graphs)} graphs give {len(vectors)} vectors"
    assert np.isfinite(vectors).all(), "vectors hold NaN or infinity"
    return vectors


def _one_vector_for_each_graph(encoder: Encoder) -> None:
    graphs: list[Any] = list(example_graphs())
    together = _encoded(encoder, graphs)
    assert together.shape[1] > 0, "vectors have no dimension"
    _encoded(encoder, graphs[:1])


def _equal_graphs_have_equal_vectors(encoder: Encoder) -> None:
    vectors = _encoded(encoder, list(example_graphs()))
    assert np.array_equal(vectors[0], vectors[4]), "two equal graphs get two vectors"
    again = _encoded(encoder, list(example_graphs()))
    assert np.array_equal(vectors, again), "the same graphs get other vectors the second time"


def _graphs_are_not_changed(encoder: Encoder) -> None:
    graphs, before = example_graphs(), example_graphs()
    _encoded(encoder, list(graphs))
    for graph, copy in zip(graphs, before, strict=True):
        assert list(graph.nodes(data=True)) == list(copy.nodes(data=True)), "encode() changes the nodes of a graph"
        assert sorted(graph.edges(data=True)) == sorted(copy.edges(data=True)), "encode() changes the edges of a graph"


_NOT_IMPORTABLE = 3
_ELSEWHERE = f"""
import pickle, sys
try:
    encoder, graphs = pickle.load(sys.stdin.buffer)
except (AttributeError, ImportError):
    sys.exit({_NOT_IMPORTABLE})
sys.stdout.buffer.write(b"vectors:" + pickle.dumps(encoder.encode(graphs)))
"""


def _another_process_gives_the_same_vectors(encoder: Encoder) -> None:
    """Passes without a comparison if the class was defined in a session, where no other process can import it."""
    here = _encoded(encoder, list(example_graphs()))
    there = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    work = pickle.dumps((encoder, example_graphs()))
    run = subprocess.run([sys.executable, "-c", _ELSEWHERE], input=work, env=there, capture_output=True, check=False)
    if run.returncode == _NOT_IMPORTABLE:
        return
    assert run.returncode == 0, f"encode() fails in another process: {run.stderr.decode(errors='replace')[-300:]}"
    vectors = pickle.loads(run.stdout.partition(b"vectors:")[2])
    assert np.array_equal(here, vectors), "the same graphs get other vectors in another process"


def _placing_moves_nothing(encoder: Encoder) -> None:
    graphs: list[Any] = list(example_graphs())
    space = encoder.fit(graphs[:3])
    before = np.array(space.vectors)
    assert len(before) == 3, f"a space fitted to 3 graphs has {len(before)} vectors"
    one, both = space.place(graphs[3:4]), space.place(graphs[3:])
    assert np.array_equal(space.vectors, before), "place() moves the vectors that were there before"
    assert np.allclose(one[0], both[0], atol=1e-6), "the vector of a placed graph depends on what is placed with it"


def _a_restored_space_places_alike(encoder: Encoder) -> None:
    graphs: list[Any] = list(example_graphs())
    space = encoder.fit(graphs[:3])
    restored = encoder.restore({name: np.array(values) for name, values in space.state().items()})
    assert np.allclose(space.place(graphs[3:]), restored.place(graphs[3:]), atol=1e-6), (
        "a space made from state() places a graph elsewhere than the space that it was saved from"
    )
    try:
        encoder.restore({"nonsense": np.zeros(3)})
    except InvalidInputError:
        return
    raise AssertionError("restore() accepts a state that is not its own; expected InvalidInputError")
