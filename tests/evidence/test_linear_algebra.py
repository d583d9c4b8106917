"""Linear algebra agrees with NumPy and LAPACK."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelselect.evidence.linear_algebra import (
    Tridiagonal,
    log_determinant,
    nuclear_norm,
    solve_positive,
    well_conditioned_factor,
)
from modelselect.evidence.statistics import FeatureStatistics


@settings(max_examples=30)
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


@pytest.mark.parametrize("size", [1, 2, 3, 40])
def test_a_tridiagonal_reduction_solves_for_any_shift(size: int) -> None:
    rng = np.random.default_rng(size)
    root = rng.normal(size=(size, size))
    matrix, right = root @ root.T, rng.normal(size=(size, 3))
    reduced = Tridiagonal.of(matrix)
    np.testing.assert_allclose(reduced.eigenvalues, np.linalg.eigvalsh(matrix), rtol=1e-9, atol=1e-12)
    turned = reduced.rotated(right)
    solution = reduced.solve(0.5, turned)
    assert solution is not None
    expected = right.T @ np.linalg.solve(matrix + 0.5 * np.eye(size), right)
    np.testing.assert_allclose(turned.T @ solution, expected, rtol=1e-9, atol=1e-12)
    assert reduced.solve(-2 * reduced.eigenvalues[-1], turned) is None or size == 1


def test_a_factor_of_a_nearly_singular_matrix_is_refused() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(20, 30))
    factor = well_conditioned_factor(root @ root.T)
    assert factor is not None
    np.testing.assert_allclose(factor @ factor.T, root @ root.T, rtol=1e-12, atol=1e-12)
    root[1] = root[0] + 1e-7 * root[1]
    assert well_conditioned_factor(root @ root.T) is None
    root[1] = root[0]
    assert well_conditioned_factor(root @ root.T) is None
