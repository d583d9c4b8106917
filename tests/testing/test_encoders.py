"""The kit for authors of encoders: every kind of broken encoder is caught, and the shipped ones pass."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from modelselect.archi2vec import Encoder, Space
from modelselect.host.host import get_host
from modelselect.testing.encoders import check_encoder, encoder_checks
from tests.testing.material import failing


@pytest.mark.slow
def test_the_shipped_encoder_keeps_its_promises() -> None:
    check_encoder(get_host().encoder("graph2vec"))


class Size(Encoder):
    name = "size"

    def encode(self, graphs: Sequence[Any]) -> NDArray[np.float32]:
        return np.array([[len(graph), graph.number_of_edges()] for graph in graphs], dtype=np.float32)


class Double(Size):
    def encode(self, graphs: Sequence[Any]) -> Any:
        return super().encode(graphs).astype(np.float64)


class Random(Size):
    def encode(self, graphs: Sequence[Any]) -> NDArray[np.float32]:
        return np.random.default_rng().random((len(graphs), 2)).astype(np.float32)


class Marking(Size):
    def encode(self, graphs: Sequence[Any]) -> NDArray[np.float32]:
        for graph in graphs:
            graph.nodes[0]["seen"] = True
        return super().encode(graphs)


class OfThisProcess(Size):
    def encode(self, graphs: Sequence[Any]) -> NDArray[np.float32]:
        return super().encode(graphs) + np.float32(os.getpid() % 1000 + 1)


class Moving(Size):
    def fit(self, graphs: Sequence[Any]) -> Space:
        return _Line(self.encode(graphs))

    def restore(self, state: Mapping[str, NDArray[Any]]) -> Space:
        return _Line(np.zeros((0, 2), dtype=np.float32))


class _Line(Space):
    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self._vectors = vectors

    @property
    def vectors(self) -> NDArray[np.float32]:
        return self._vectors

    def place(self, graphs: Sequence[Any]) -> NDArray[np.float32]:
        self._vectors = self._vectors + 1
        return Size().encode(graphs)

    def state(self) -> Mapping[str, NDArray[Any]]:
        return {}


@pytest.mark.parametrize(
    ("broken", "check", "message"),
    [
        (Double, "one_vector_for_each_graph", "float64"),
        (Random, "equal_graphs_have_equal_vectors", "two equal graphs"),
        (Marking, "graphs_are_not_changed", "changes the nodes"),
        pytest.param(
            OfThisProcess, "another_process_gives_the_same_vectors", "another process", marks=pytest.mark.slow
        ),
        (Moving, "placing_moves_nothing", "moves the vectors"),
        (Moving, "a_restored_space_places_alike", "not its own"),
    ],
)
def test_a_broken_encoder_is_caught_by_name(broken: type[Encoder], check: str, message: str) -> None:
    checks = [each for each in encoder_checks(broken()) if each[0] == check]
    assert message in failing(checks)[check]
