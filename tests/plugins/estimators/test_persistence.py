"""The persistence ratio: an exact diagram, in little memory, of samples that are drawn fairly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform

import modelselect as ms
from modelselect.errors import EvidenceError, InvalidInputError, NotApplicableError, ScoreWarning
from modelselect_plugins.estimators import persistence
from modelselect_plugins.estimators.persistence import (
    Persistence,
    PersistenceSource,
    diagram,
    plot_diagram,
    spanning_tree_lengths,
)


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


@settings(max_examples=30)
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


def test_repeats_run_on_any_probe_and_say_how_much_the_samples_differ() -> None:
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 5, 300)
    features = rng.normal(size=(5, 8))[labels] * 2 + rng.normal(size=(300, 8))
    whole = ms.score(features, labels, "persistence", components=True)
    halves = ms.score(features, labels, Persistence(repeats=4), components=True)
    assert whole["H_ratio_sd"] == 0
    assert halves["H_ratio_sd"] > 0
    assert halves["H_ratio"] == pytest.approx(whole["H_ratio"], abs=0.1)
    assert ms.score(features, labels, Persistence(repeats=1)) == whole["persistence"]  # no more rows than 2,048
    one = ms.score(features, labels, Persistence(sample_rows=100, repeats=1), components=True)
    assert one["H_tight"] > whole["H_tight"]  # the rows of a smaller sample are farther apart
    with pytest.raises(InvalidInputError, match="repeats is 0"):
        ms.score(features, labels, Persistence(repeats=0))


@pytest.mark.parametrize("repeats", [1, 3])
def test_a_sample_of_the_source_has_enough_rows_of_each_class(repeats: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(persistence, "diagram", lambda rows: seen.append(len(rows)) or diagram(rows))
    rng = np.random.default_rng(5)
    source = {"source_features": rng.normal(size=(400, 4)), "source_labels": np.arange(400) % 20}
    for rows_per_class, expected in ((1, 50), (10, 200)):
        method = PersistenceSource(sample_rows=50, repeats=repeats, rows_per_class=rows_per_class)
        ms.score(None, None, method, **source)
        assert seen == [expected] * repeats
        seen.clear()


def test_a_source_with_few_rows_of_each_class_is_scored_with_a_warning() -> None:
    rng = np.random.default_rng(6)
    source = {"source_features": rng.normal(size=(60, 4)), "source_labels": np.arange(60) % 30}
    with pytest.warns(ScoreWarning, match=r"60 rows of 30 classes.*size=300"):
        ms.score(None, None, "persistence_source", **source)


def test_the_diagram_has_the_values_that_the_score_is_made_of_and_can_be_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    labels = np.arange(60) % 3
    features = rng.normal(size=(3, 4))[labels] * 10 + rng.normal(size=(60, 4))
    points = diagram(features)
    assert points.shape == (59, 2)
    assert (points[:, 0] == 0).all()
    assert (np.diff(points[:, 1]) <= 0).all()
    components = ms.score(features, labels, "persistence", components=True)
    assert points[:2, 1].mean() == pytest.approx(components["H_sep"])
    assert points[2:, 1].mean() == pytest.approx(components["H_tight"])
    figure = plot_diagram(points, 3, tmp_path / "diagram.svg")
    labels_shown = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels_shown == ["within clusters (57)", "between clusters (2)"]
    assert "<svg" in (tmp_path / "diagram.svg").read_text(encoding="utf-8")
