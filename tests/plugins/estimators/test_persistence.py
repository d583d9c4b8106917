"""The persistence ratio: an exact diagram, in little memory, of samples that are drawn fairly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform

import modelselect as ms
from modelselect.errors import EvidenceError, NotApplicableError
from modelselect_plugins.estimators import persistence
from modelselect_plugins.estimators.persistence import Persistence, spanning_tree_lengths


def rips_lengths(points: np.ndarray) -> np.ndarray:
    """Finite 0-dimensional persistences of the Vietoris-Rips filtration, as gudhi finds them."""
    gudhi = pytest.importorskip("gudhi")
    tree = gudhi.RipsComplex(points=points).create_simplex_tree(max_dimension=1)
    tree.compute_persistence(homology_coeff_field=2, min_persistence=-1)
    intervals = tree.persistence_intervals_in_dimension(0)
    return np.sort(intervals[np.isfinite(intervals[:, 1]), 1])


@pytest.mark.parametrize("kept_numbers", [2**25, 1])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_diagram_is_gudhis_duplicates_included(
    kept_numbers: int, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(persistence, "_KEPT_NUMBERS", kept_numbers)
    rng = np.random.default_rng(0)
    points = (100 + rng.normal(size=(150, 6))).astype(dtype)
    points[100:] = points[rng.integers(0, 100, 50)]
    lengths = np.sort(spanning_tree_lengths(points))
    expected = rips_lengths(points.astype(np.float64))
    assert (lengths[:50] == 0).all()
    np.testing.assert_allclose(lengths, expected, rtol=1e-6, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 60), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_the_tree_is_the_shortest_there_is(n_rows: int, width: int, seed: int) -> None:
    points = np.random.default_rng(seed).normal(size=(n_rows, width))
    expected = minimum_spanning_tree(squareform(pdist(points))).sum()
    assert spanning_tree_lengths(points).sum() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("noise", [1.0, 1e-5])
def test_the_tree_of_many_dimensions_is_exact_whatever_the_rounding(noise: float) -> None:
    rng = np.random.default_rng(2)
    points = 10 + rng.normal(size=(30, 64))[rng.integers(0, 30, 900)] + noise * rng.normal(size=(900, 64))
    expected = np.sort(minimum_spanning_tree(squareform(pdist(points))).data)
    np.testing.assert_allclose(np.sort(spanning_tree_lengths(points)), expected, rtol=1e-7)


def test_few_kept_distances_give_the_same_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    points = rng.normal(size=(12, 20))[rng.integers(0, 12, 700)] * 3 + rng.normal(size=(700, 20))
    everything = np.sort(spanning_tree_lengths(points))
    monkeypatch.setattr(persistence, "_KEPT_NUMBERS", 1)  # 64 rows at a time, one row in a block
    np.testing.assert_allclose(np.sort(spanning_tree_lengths(points)), everything, rtol=1e-12)


def test_components_follow_equation_1() -> None:
    components = ms.score([[0.0], [1.0], [5.0], [7.0]], [0, 0, 1, 1], "persistence", components=True)
    assert components["H_sep"] == 4.0
    assert components["H_tight"] == 1.5
    assert components["H_ratio"] == 0.375
    assert components["persistence"] == -0.375
    assert components["H_ratio_sd"] == 0.0


def test_large_probes_are_sampled_repeatably_and_say_how_much_the_samples_differ() -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 5, 600)
    features = rng.normal(size=(5, 8))[labels] * 2 + rng.normal(size=(600, 8))
    sampled = Persistence(max_rows=200)
    components = ms.score(features, labels, sampled, components=True)
    assert components == ms.score(features, labels, sampled, components=True)
    assert components != ms.score(features, labels, sampled, components=True, seed=1)
    assert components["H_ratio_sd"] > 0
    everything = ms.score(features, labels, Persistence(max_rows=None))
    assert components["persistence"] == pytest.approx(everything, abs=0.1)


def test_source_features_give_a_property_of_the_model() -> None:
    rng = np.random.default_rng(3)
    features, labels = rng.normal(size=(80, 4)), rng.integers(0, 3, 80)
    with_unlabelled = {
        "source_features": np.concatenate([features, 1e6 * np.ones((5, 4))]),
        "source_labels": np.concatenate([labels, np.full(5, -1)]),
    }
    assert ms.score(None, None, "persistence_source", **with_unlabelled) == ms.score(features, labels, "persistence")
    with pytest.raises(EvidenceError, match="two or more"):
        ms.score(None, None, "persistence_source", source_features=features, source_labels=[0] * 80)


def test_what_cannot_be_measured_is_said() -> None:
    with pytest.raises(NotApplicableError, match="a class of its own"):
        ms.score(np.eye(4), [0, 1, 2, 3], "persistence")
    with pytest.raises(EvidenceError, match="all rows of the features are equal"):
        ms.score(np.ones((6, 3)), [0, 0, 0, 1, 1, 1], "persistence")
