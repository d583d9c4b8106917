"""The shared statistics are those of dense linear algebra, whatever the shape, the chunks and who asked before."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import modelselect as ms
from modelselect.errors import NotApplicableError
from modelselect.evidence.class_statistics import ClassStatistics
from modelselect.evidence.linear_algebra import log_determinant, nuclear_norm, solve_positive
from modelselect.evidence.statistics import FeatureStatistics

SHAPES = [(40, 7), (7, 40), (12, 12), (200, 90), (1, 5), (5, 1)]


def draw(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 3)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 5.0 + labels[:, None], labels


def of_rows(statistics: FeatureStatistics, matrix: np.ndarray) -> np.ndarray:
    """A matrix over `coordinates` as one over the features' own dimensions."""
    return matrix if statistics.basis is None else statistics.basis @ matrix @ statistics.basis.T


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


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 40), st.integers(1, 40))
def test_class_statistics_are_those_of_each_class(seed: int, n: int, d: int) -> None:
    x, labels = draw(n, d, seed)
    features = FeatureStatistics(x)
    classes = ClassStatistics(features, labels * 5 + 2)  # gaps in the labels
    assert classes.classes.tolist() == [2, 7, 12]
    assert classes.counts.tolist() == np.bincount(labels).tolist()
    scale = np.abs(x.T @ x).max()
    within, squared = np.zeros((d, d)), []
    for c, rows in enumerate(classes.indices):
        block = x[labels == c]
        np.testing.assert_array_equal(rows, np.flatnonzero(labels == c))
        mean = classes.means[c] if features.basis is None else features.basis @ classes.means[c]
        np.testing.assert_allclose(mean, block.mean(axis=0), atol=1e-12 * np.sqrt(scale))
        within += (block - block.mean(axis=0)).T @ (block - block.mean(axis=0))
        squared.append(np.square(block - block.mean(axis=0)).sum())
        gram = classes.smaller_class_gram(c)
        centred = block - x.mean(axis=0)
        assert len(gram) == min(len(block), min(n, d))
        assert np.isclose(np.trace(gram), np.square(centred).sum(), atol=1e-12 * scale)
        assert np.isclose(np.square(gram).sum(), np.square(centred.T @ centred).sum(), atol=1e-10 * scale**2)
    np.testing.assert_allclose(of_rows(features, classes.within_class_scatter), within, atol=1e-11 * scale)
    np.testing.assert_allclose(classes.squared_deviations, squared, atol=1e-11 * scale)
    total = classes.within_class_scatter + classes.between_class_scatter
    np.testing.assert_allclose(total, features.scatter, atol=1e-11 * scale)


def test_classes_far_apart_keep_the_digits_of_what_is_within() -> None:
    x, labels = draw(300, 6)
    far = x + 1e6 * labels[:, None]
    expected = ClassStatistics(FeatureStatistics(x), labels).within_class_scatter
    ours = ClassStatistics(FeatureStatistics(far), labels).within_class_scatter
    np.testing.assert_allclose(ours, expected, rtol=1e-7, atol=1e-7 * np.abs(expected).max())


def test_targets_in_place_of_classes_are_refused() -> None:
    with pytest.raises(NotApplicableError, match=r"targets have shape \(4, 2\)"):
        ClassStatistics(FeatureStatistics(np.eye(4)), np.ones((4, 2), dtype=np.int64))


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


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12))
def test_the_solution_is_that_of_the_pseudoinverse_where_the_matrix_is_singular(
    seed: int, size: int, rank: int
) -> None:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(size, min(rank, size)))
    right = root @ rng.normal(size=(root.shape[1], 2))
    matrix = root @ root.T
    expected = np.linalg.pinv(matrix, rcond=1e-10, hermitian=True) @ right
    np.testing.assert_allclose(matrix @ solve_positive(matrix, right), right, atol=1e-6 * np.abs(right).max())
    if np.linalg.cond(root) < 1e3:
        np.testing.assert_allclose(
            solve_positive(matrix, right), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max()
        )


def test_log_determinant_and_nuclear_norm_are_those_of_lapack() -> None:
    rng = np.random.default_rng(0)
    for shape in ((30, 8), (8, 30)):
        x = rng.normal(size=shape)
        assert np.isclose(nuclear_norm(x), np.linalg.norm(x, "nuc"), rtol=1e-12)
    gram = x @ x.T
    assert np.isclose(log_determinant(gram), np.linalg.slogdet(gram)[1], rtol=1e-12)


def test_torch_tensors_score_as_arrays_do() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = (rng.normal(size=(60, 8)) + labels[:, None]).astype(np.float32)
    tensors = torch.from_numpy(features).requires_grad_(), torch.from_numpy(labels)
    assert ms.score(*tensors, "logme") == ms.score(features, labels, "logme")


@pytest.mark.parametrize("shape", [(90, 12), (9, 40)])
def test_the_linear_algebra_of_another_device_agrees(shape: tuple[int, int]) -> None:
    """Without a GPU, torch does it on the processor: the code is the same."""
    torch = pytest.importorskip("torch")
    features = np.random.default_rng(0).normal(size=shape)
    device = "cuda" if torch.cuda.is_available() else "cpu:0"
    here, there = FeatureStatistics(features), FeatureStatistics(features, device)
    np.testing.assert_allclose(there.scatter, here.scatter, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(there.scatter_eigh[0], here.scatter_eigh[0], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(there.principal_components(5), here.principal_components(5), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(there.gram_eigh[0], here.gram_eigh[0], rtol=1e-9, atol=1e-9)
