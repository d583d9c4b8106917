"""The space of architectures: neighbours, clusters and `embed`."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics.pairwise import cosine_similarity
from torch import nn

import modelselect as ms
from modelselect.archi2vec import Atlas, Encoder, clusters, embed, nearest, similarity, trace
from modelselect.errors import CandidateError, ExpressionError, InvalidInputError, PluginError, UnknownNameError
from modelselect.host.host import get_host

VECTORS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 12), st.integers(1, 6)),
    elements=st.floats(-100, 100, width=32, allow_subnormal=False).map(lambda v: 0.0 if abs(v) < 1e-3 else v),
)


class Size(Encoder):
    """One number for each graph."""

    name = "size"

    def encode(self, graphs: Sequence[nx.Graph[Any]]) -> NDArray[np.float32]:
        return np.array([[len(graph)] for graph in graphs], dtype=np.float32)


class Wrong(Size):
    """An encoder of which each step can go wrong."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def encode(self, graphs: Sequence[nx.Graph[Any]]) -> NDArray[np.float32]:
        return self.answer() if callable(self.answer) else self.answer  # type: ignore[no-any-return]

    def fit(self, graphs: Sequence[nx.Graph[Any]]) -> Any:
        return SimpleNamespace(vectors=self.encode(graphs))


def leave() -> None:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda: {}[0], "KeyError: 0"),
        (leave, "SystemExit: 3"),
        (None, "shape"),
        ("text", "could not convert"),
        (np.zeros((3, 2)), r"its vectors have shape \(3, 2\); expected \(2, dim\) finite numbers"),
        (np.full((2, 2), np.nan), "its vectors have NaN or infinity"),
    ],
)
def test_an_encoder_that_raises_or_answers_with_something_else_is_named(answer: Any, said: str) -> None:
    with pytest.raises(PluginError, match=f"the encoder 'size' raised .*{said}"):
        embed(["embedded:plain.letters", "embedded:resnet.letters"], Wrong(answer))
    atlas = Atlas(Wrong(answer))
    with pytest.raises(PluginError, match=f"the encoder 'size' raised .*{said}"):
        atlas.add(["embedded:plain.letters", "embedded:resnet.letters"])
    assert (len(atlas), len(atlas.vectors)) == (0, 0)


@given(VECTORS)
def test_similarity_is_the_cosine(vectors: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(similarity(vectors), cosine_similarity(vectors.astype(np.float64)), atol=1e-6)


@given(VECTORS, st.integers(0, 11), st.integers(0, 12))
def test_the_nearest_are_the_most_similar(vectors: NDArray[np.float32], row: int, k: int) -> None:
    row %= len(vectors)
    found = nearest(vectors, row, k)
    cosines = cosine_similarity(vectors.astype(np.float64))[row]
    others = sorted(np.delete(cosines, row), reverse=True)
    assert len(found) == min(k, len(vectors) - 1)
    assert row not in [index for index, _ in found]
    np.testing.assert_allclose([value for _, value in found], others[:k], atol=1e-6)
    np.testing.assert_allclose([cosines[index] for index, _ in found], others[:k], atol=1e-6)


def test_the_nearest_to_a_vector_may_be_any_row() -> None:
    vectors = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    assert [row for row, _ in nearest(vectors, [0.1, 2.0])] == [2, 1, 0]
    assert [row for row, _ in nearest(vectors, -1)] == [1, 0]
    with pytest.raises(InvalidInputError, match="no row 3"):
        nearest(vectors, 3)
    with pytest.raises(InvalidInputError, match="dimension 3"):
        nearest(vectors, [1.0, 2.0, 3.0])
    with pytest.raises(InvalidInputError, match=r"expected \(n, dim\)"):
        nearest([1.0, 2.0], 0)
    with pytest.raises(InvalidInputError, match="NaN"):
        nearest([[np.nan]], 0)


def test_clusters_are_directions_in_order_of_appearance() -> None:
    rng = np.random.default_rng(0)
    directions = np.eye(3)[[2, 0, 2, 1, 0, 1, 2]]
    vectors = directions * rng.uniform(1, 50, (7, 1)) + rng.normal(scale=0.01, size=(7, 3))
    assert clusters(vectors, 3).tolist() == [0, 1, 0, 2, 1, 2, 0]
    assert clusters(np.ones((4, 2)), 3).tolist() == [0, 0, 0, 0]
    for k in (0, 8):
        with pytest.raises(InvalidInputError, match="expected 1 to 7"):
            clusters(vectors, k)


@pytest.mark.parametrize(("rows", "k"), [(12, 2), (60, 5), (300, 12)])
def test_clusters_are_as_close_as_those_of_scikit_learn(rows: int, k: int) -> None:
    vectors = np.random.default_rng(rows).normal(size=(rows, 6)) ** 3
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = clusters(vectors, k)
    assert found.max() == k - 1
    spread = sum(((units[found == c] - units[found == c].mean(0)) ** 2).sum() for c in range(k))
    assert spread <= 1.02 * KMeans(k, n_init=10, random_state=0).fit(units).inertia_
    centres = np.stack([units[found == c].mean(0) for c in range(k)])
    nearest_one = ((units[:, None] - centres) ** 2).sum(2).argmin(1)
    assert nearest_one.tolist() == found.tolist(), "a row is in another cluster than the nearest one"


def test_directions_that_differ_only_by_rounding_are_one_cluster() -> None:
    assert clusters([[1, 0], [1, 1e-9], [1, 2e-9]], 2).tolist() == [0, 0, 0]
    assert clusters([[1, 0], [1, 1e-9], [0, 1], [1, 2e-9]], 3).tolist() == [0, 0, 1, 0]


def test_rows_are_in_the_order_given() -> None:
    shallow, deep = nn.Sequential(nn.ReLU()), nn.Sequential(nn.ReLU(), nn.ReLU())
    assert embed([deep, trace(shallow), deep], Size()).tolist() == [[2.0], [1.0], [2.0]]


def test_expressions_are_embedded_without_loading_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = ms.search("embedded:*")
    zoo = get_host().zoo("embedded")
    monkeypatch.setattr(type(zoo), "load", lambda *_, **__: pytest.fail("loaded weights"))
    all_rows = embed("embedded:*", Size())
    assert all_rows.shape == (len(candidates), 1)
    mixed = embed([candidates[1], candidates[0].id, nn.ReLU()], Size())
    assert mixed.tolist() == [all_rows[1].tolist(), all_rows[0].tolist(), [1.0]]


def test_what_cannot_be_embedded_says_why() -> None:
    with pytest.raises(ExpressionError, match="matches no candidate"):
        embed("embedded:nothing-like-this*", Size())
    with pytest.raises(UnknownNameError, match="Did you mean 'graph2vec'"):
        embed([nn.ReLU()], "graph2vek")
    with pytest.raises(InvalidInputError, match="cannot embed int"):
        embed([3], Size())  # type: ignore[list-item]
    with pytest.raises(CandidateError, match="no differentiable path"):
        embed([nn.Identity()], Size())
