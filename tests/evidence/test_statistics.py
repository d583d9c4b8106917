"""Statistics of the features are those of the rows, whatever is asked first."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import modelselect as ms
from modelselect.evidence.class_statistics import ClassStatistics
from modelselect.evidence.statistics import FeatureStatistics
from tests.evidence.material import SHAPES, draw, of_rows


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_scatter_gram_and_spectrum_are_those_of_the_rows(n: int, d: int) -> None:
    x, _ = draw(n, d)
    statistics = FeatureStatistics(x)
    centred = x - x.mean(axis=0)
    scale = np.abs(x.T @ x).max()
    np.testing.assert_allclose(of_rows(statistics, statistics.gram), x.T @ x, atol=1e-12 * scale)
    np.testing.assert_allclose(of_rows(statistics, statistics.scatter), centred.T @ centred, atol=1e-12 * scale)
    singular = np.linalg.svd(centred, compute_uv=False)
    np.testing.assert_allclose(statistics.singular_values, singular, atol=1e-6 * np.sqrt(scale))
    uncentred = np.linalg.svd(x, compute_uv=False) ** 2
    np.testing.assert_allclose(statistics.gram_eigh[0][::-1], uncentred, atol=1e-12 * scale)
    np.testing.assert_allclose(statistics.squared_norms, np.square(centred).sum(axis=1), atol=1e-12 * scale)
    assert np.isclose(statistics.total_variance, np.square(centred).sum() / max(n - 1, 1), atol=1e-12 * scale)


@pytest.mark.parametrize(("n", "d"), [*SHAPES, (100, 80), (80, 100)])
@pytest.mark.parametrize("k", [1, 3, 70])
def test_principal_components_are_those_of_the_full_decomposition(n: int, d: int, k: int) -> None:
    x, _ = draw(n, d)
    statistics = FeatureStatistics(x)
    _, singular, axes = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    signs = np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1))
    expected = (x - x.mean(axis=0)) @ (axes * signs)[:k].T
    ours = statistics.principal_components(k)
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, atol=1e-8 * max(singular[0], 1))
    variances = singular[:k] ** 2 / max(n - 1, 1)
    np.testing.assert_allclose(statistics.explained_variance(k), variances, atol=1e-10 * max(variances[0], 1))


def test_a_direction_without_variance_projects_to_exactly_zero() -> None:
    x, _ = draw(50, 4)
    x = np.hstack([x, x[:, :1], np.ones((50, 1))])
    assert not FeatureStatistics(x).principal_components(6)[:, 4:].any()


QUESTIONS = {
    "spectrum": lambda s: s.features.scatter_eigh[0],
    "components": lambda s: s.features.principal_components(8),
    "many components": lambda s: s.features.principal_components(80),
    "gram": lambda s: s.features.gram_eigh[1],
    "singular values": lambda s: s.features.singular_values,
    "within": lambda s: s.within_class_scatter,
    "deviations": lambda s: s.deviations,
    "norms": lambda s: s.features.squared_norms,
}


@pytest.mark.parametrize("shape", [(150, 100), (60, 100)])
def test_answers_do_not_depend_on_what_was_asked_before(shape: tuple[int, int]) -> None:
    x, labels = draw(*shape)
    alone = {name: ask(ClassStatistics(FeatureStatistics(x), labels)) for name, ask in QUESTIONS.items()}
    for order in (list(QUESTIONS), list(QUESTIONS)[::-1]):
        shared = ClassStatistics(FeatureStatistics(x), labels)
        for name in order:
            np.testing.assert_array_equal(QUESTIONS[name](shared), alone[name], err_msg=name)


def test_chunks_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels = draw(150, 20)
    whole = {name: ask(ClassStatistics(FeatureStatistics(x), labels)) for name, ask in QUESTIONS.items()}
    monkeypatch.setattr("modelselect.evidence.linear_algebra._CHUNK_BYTES", 7 * 20 * 8)
    for name, ask in QUESTIONS.items():
        chunked = ask(ClassStatistics(FeatureStatistics(x), labels))
        np.testing.assert_allclose(np.abs(chunked), np.abs(whole[name]), rtol=1e-9, atol=1e-7, err_msg=name)


def test_memory_mapped_features_are_never_copied_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n, d = 20_000, 128
    path = tmp_path / "features.npy"
    rng = np.random.default_rng(0)
    np.save(path, rng.normal(size=(n, d)).astype(np.float32))
    labels = rng.integers(0, 5, n)
    mapped = np.load(path, mmap_mode="r")
    monkeypatch.setattr("modelselect.evidence.linear_algebra._CHUNK_BYTES", 1 << 18)
    FeatureStatistics(np.eye(3)).scatter_eigh  # noqa: B018  (so that no import is counted)
    tracemalloc.start()
    statistics = ClassStatistics(FeatureStatistics(mapped), labels)
    for ask in (QUESTIONS["spectrum"], QUESTIONS["gram"], QUESTIONS["within"], QUESTIONS["norms"]):
        ask(statistics)
    statistics.squared_deviations  # noqa: B018
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * n * d / 4


def test_torch_tensors_score_as_arrays_do() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = (rng.normal(size=(60, 8)) + labels[:, None]).astype(np.float32)
    tensors = torch.from_numpy(features).requires_grad_(), torch.from_numpy(labels)
    assert ms.score(*tensors, "logme") == ms.score(features, labels, "logme")


@pytest.mark.parametrize("repeated", [False, True])
def test_fewer_rows_than_dimensions_keep_their_products(repeated: bool) -> None:
    """Repeated rows are dependent, so that their coordinates come from another decomposition."""
    x, labels = draw(30, 70)
    if repeated:
        x[1:5] = x[0]
    statistics = FeatureStatistics(x)
    assert statistics.has_independent_rows is not repeated
    centred = x - x.mean(axis=0)
    scale = np.abs(x @ x.T).max()
    np.testing.assert_allclose(statistics.products, x @ x.T, atol=1e-12 * scale)
    np.testing.assert_allclose(statistics.smaller_scatter, centred @ centred.T, atol=1e-12 * scale)
    np.testing.assert_allclose(statistics.along_mean, centred @ x.mean(axis=0), atol=1e-12 * scale)
    coordinates, basis = np.asarray(statistics.coordinates), statistics.basis
    assert basis is not None
    np.testing.assert_allclose(coordinates @ basis.T, x, atol=1e-8 * np.sqrt(scale))
    np.testing.assert_allclose(basis.T @ basis, np.eye(30), atol=1e-6)
    np.testing.assert_allclose(statistics.ones, basis.sum(axis=0), atol=1e-6)
    vectors = np.random.default_rng(0).normal(size=(30, 2))
    np.testing.assert_allclose(statistics.in_feature_space(vectors), basis @ vectors, atol=1e-6)
    plain, classes = statistics.unrotated, ClassStatistics(statistics, labels)
    assert plain.coordinates is statistics.features
    np.testing.assert_allclose(plain.mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(classes.unrotated.means, classes.means @ basis.T, atol=1e-8 * np.sqrt(scale))


def test_as_many_rows_as_dimensions_are_their_own_coordinates() -> None:
    statistics = FeatureStatistics(draw(12, 12)[0])
    assert statistics.unrotated is statistics
    assert not statistics.has_independent_rows
    assert statistics.smaller_scatter is statistics.scatter
