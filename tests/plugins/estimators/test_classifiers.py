"""knn, centroid and linear_probe: accuracies that an independent classifier finds too, and no row judged by itself."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import modelselect as ms
from modelselect.errors import NotApplicableError
from modelselect_plugins.estimators._shared.classes import stratified_sample
from modelselect_plugins.estimators._shared.distances import nearest_rows
from modelselect_plugins.estimators._shared.folds import standardised, standardised_in_span
from modelselect_plugins.estimators.centroid import Centroid
from modelselect_plugins.estimators.knn import KNN
from modelselect_plugins.estimators.linear_probe import LinearProbe, _deal, logistic_regression


def draw(seed: int, n_rows: int = 60, width: int = 5, n_classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.repeat(np.arange(n_classes), 2), rng.integers(0, n_classes, n_rows - 2 * n_classes)])
    return rng.normal(size=(n_classes, width))[labels] + rng.normal(size=(n_rows, width)), labels


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 70))
def test_neighbours_are_the_nearest_other_rows_in_any_chunking(seed: int, k: int, chunk: int) -> None:
    rows, _ = draw(seed)
    numbers, squared = nearest_rows(rows, k, chunk=chunk)
    distances, expected = NearestNeighbors(n_neighbors=k).fit(rows).kneighbors()
    np.testing.assert_array_equal(numbers, expected)
    np.testing.assert_allclose(np.sqrt(squared), distances, rtol=1e-9)


@pytest.mark.parametrize("k", [1, 6])
@pytest.mark.parametrize("noise", [1.0, 1e-4])
def test_neighbours_are_the_nearest_also_where_single_precision_cannot_tell(noise: float, k: int) -> None:
    rng = np.random.default_rng(0)
    rows = 1e30 * (rng.normal(size=(9, 40))[rng.integers(0, 9, 300)] + noise * rng.normal(size=(300, 40)))
    rows -= rows.mean(axis=0)
    expected = NearestNeighbors(n_neighbors=k, algorithm="kd_tree").fit(rows * 1e-30).kneighbors(return_distance=False)
    exact = np.linalg.norm(rows[:, None] - rows[expected], axis=2)
    _, squared = nearest_rows(rows, k)
    np.testing.assert_allclose(np.sqrt(squared), np.sort(exact, axis=1), rtol=1e-5)


@pytest.mark.parametrize("k", [1, 3])
def test_knn_is_leave_one_out(k: int) -> None:
    features, labels = draw(0, n_classes=2)
    expected = cross_val_score(KNeighborsClassifier(k), features, labels, cv=LeaveOneOut()).mean()
    assert ms.score(features, labels, KNN(k)) == pytest.approx(100 * expected)


def test_where_neighbours_tie_the_nearest_decides() -> None:
    features, labels = [[0.0], [1.0], [3.0], [10.0]], [0, 0, 1, 1]  # the two nearest of each row are of two classes
    assert ms.score(features[:3], labels[:3], KNN(2)) == pytest.approx(200 / 3)


def test_more_neighbours_than_rows_take_all_rows() -> None:
    assert ms.score([[0.0], [1.0], [5.0]], [0, 0, 1], KNN(50)) == pytest.approx(200 / 3)


def test_centroid_leaves_each_row_out_of_its_own_mean() -> None:
    features, labels = draw(1)
    expected = cross_val_score(NearestCentroid(), features, labels, cv=LeaveOneOut()).mean()
    assert ms.score(features, labels, "centroid") == pytest.approx(100 * expected)
    flattered = NearestCentroid().fit(features, labels).score(features, labels)
    assert ms.score(features, labels, Centroid(leave_one_out=False)) == pytest.approx(100 * flattered)


def test_a_class_of_one_row_is_not_judged() -> None:
    features, labels = [[0.0], [1.0], [5.0], [6.0], [0.4]], [0, 0, 1, 1, 2]
    assert ms.score(features, labels, "centroid") < 100  # its mean lies among the others' rows
    for name in ("centroid", "linear_probe"):
        with pytest.raises(NotApplicableError, match="two rows"):
            ms.score(np.eye(3), [0, 1, 2], name)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(2, 6), st.integers(0, 99))
def test_every_class_is_dealt_out_evenly_and_always_trained_on(counts: list[int], folds: int, seed: int) -> None:
    indices = np.repeat(np.arange(len(counts)), counts)
    fold = _deal(indices, folds, np.random.default_rng(seed))
    for c, count in enumerate(counts):
        tested = fold[indices == c]
        if count == 1:
            assert tested.tolist() == [-1]
            continue
        shares = np.bincount(tested, minlength=folds)
        assert (tested >= 0).all()
        assert shares.max() < count  # some row of the class is left to train on, whatever the fold
        assert shares.max() - shares[: min(folds, (fold >= 0).sum())].min() <= 1


@pytest.mark.parametrize("width", [8, 200])
def test_the_probe_is_scikit_learns_cross_validated(width: int) -> None:
    features, labels = draw(2, n_rows=90, width=width)
    features = 3 + features * np.linspace(1, 50, width)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    fold = _deal(labels, 5, np.random.default_rng(0))
    splits = [(np.flatnonzero(fold != test), np.flatnonzero(fold == test)) for test in range(5)]
    scores = [model.fit(features[a], labels[a]).score(features[b], labels[b]) * len(b) for a, b in splits]
    ours = ms.score(features, labels, LinearProbe(iterations=1000))
    assert ours == pytest.approx(100 * sum(scores) / 90, abs=0.01 if width == 8 else 1.2)  # one row at most


def test_a_fit_cut_short_is_silent() -> None:
    features, labels = draw(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ms.score(features, labels, LinearProbe(iterations=2))


def test_large_probes_are_sampled_by_class() -> None:
    features, labels = draw(4, n_rows=300)
    sampled = LinearProbe(max_rows=100)
    assert ms.score(features, labels, sampled) == ms.score(features, labels, sampled)
    assert ms.score(features, labels, sampled) == pytest.approx(ms.score(features, labels, "linear_probe"), abs=15)


@settings(max_examples=50)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.floats(0.05, 1), st.integers(0, 99))
def test_a_stratified_sample_keeps_the_class_shares(counts: list[int], share: float, seed: int) -> None:
    indices = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    size = max(int(share * len(indices)), 1)
    rows = stratified_sample(indices, size, np.random.default_rng(seed))
    taken = np.bincount(indices[rows], minlength=len(counts))
    exact = np.array(counts) * size / len(indices)
    assert len(np.unique(rows)) == len(rows)
    assert (taken >= 1).all()
    assert (taken <= counts).all()
    assert (np.abs(taken - exact) <= 1).all()
    if (exact >= 1).all():
        assert len(rows) == size


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("iterations", [3, 100])
def test_the_regression_is_that_of_scikit_learn(n_classes: int, iterations: int) -> None:
    rng = np.random.default_rng(n_classes)
    classes = rng.permutation(np.arange(90) % n_classes)
    rows = rng.normal(size=(90, 20)) + rng.normal(size=(n_classes, 20))[classes]
    weights, bias = logistic_regression(rows, classes, 0.5, iterations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged after three iterations
        theirs = LogisticRegression(C=0.5, max_iter=iterations).fit(rows, classes)
    np.testing.assert_allclose(weights, theirs.coef_.T, atol=1e-10)
    np.testing.assert_allclose(bias, theirs.intercept_, atol=1e-10)


@given(
    rows=hnp.arrays(
        np.float64,
        st.tuples(st.integers(2, 12), st.integers(1, 20)),
        elements=st.floats(-100, 100).map(lambda number: round(number, 3)),
    ),
    held_out=st.integers(1, 5),
)
def test_coordinates_in_the_span_of_the_training_rows_keep_all_inner_products(rows: Any, held_out: int) -> None:
    test = np.resize(rows[::-1] + 1.5, (held_out, rows.shape[1]))
    train, others = standardised(rows, test)
    coordinates, others_within = standardised_in_span(rows, test)
    assert coordinates.shape == (len(rows), min(rows.shape))
    assert others_within.shape == (held_out, min(rows.shape))
    scale = max(np.abs(train).max(), 1.0) * max(np.abs(others).max(), 1.0) * rows.shape[1]
    np.testing.assert_allclose(coordinates @ coordinates.T, train @ train.T, rtol=0, atol=1e-9 * scale)
    np.testing.assert_allclose(coordinates @ others_within.T, train @ others.T, rtol=0, atol=1e-7 * scale)
