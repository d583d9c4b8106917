"""Estimators that need no labels: held against their equations, and used on data without labels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp

import modelselect as ms
from modelselect.host.defaults import DEFAULT_ESTIMATORS
from modelselect_plugins.estimators.energy import Energy
from modelselect_plugins.estimators.ensemble import default_members
from modelselect_plugins.estimators.rankme import RankMe

NAMES = ("rankme", "energy")


@pytest.mark.parametrize("shape", [(200, 16), (40, 100), (30, 30)])
def test_rankme_is_the_equation_of_the_paper(shape: tuple[int, int]) -> None:
    features = np.random.default_rng(0).normal(size=shape) + 3.0
    singular = np.linalg.svd(features, compute_uv=False)
    shares = singular / singular.sum() + 1e-7
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert ms.score(features, None, "rankme") == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_rankme_of_equally_strong_directions_is_their_number(rank: int) -> None:
    basis, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(50, rank)))
    rotation, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(8, 8)))
    features = 7.0 * basis @ np.eye(rank, 8) @ rotation
    assert ms.score(features, None, "rankme") == pytest.approx(rank, rel=1e-4)  # the paper adds 1e-7 to each share
    assert ms.score(1e-3 * features, None, "rankme") == pytest.approx(ms.score(features, None, "rankme"), rel=1e-9)


def test_rankme_of_nothing_says_why() -> None:
    with pytest.raises(ms.errors.NotApplicableError, match="not all zero"):
        ms.score(np.zeros((5, 3)), None, RankMe())


@pytest.mark.parametrize(("share", "counted"), [(0.005, 1), (0.02, 2), (1.0, 100)])
def test_energy_is_the_mean_over_the_rows_that_fit_least(share: float, counted: int) -> None:
    features = np.random.default_rng(0).normal(size=(100, 8)) * 100
    expected = np.sort(logsumexp(features, axis=1))[:counted].mean()
    assert ms.score(features, None, Energy(share=share)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ms.errors.InvalidInputError, match="share is"):
        ms.score(np.ones((5, 3)), None, Energy(share=share))


def test_select_ranks_data_without_labels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    board = ms.select((images, None), "embedded:plain*", estimators=list(NAMES), history=False, progress=False)
    assert len(board.ranked) == len(board.rows) == 2
    for row in board.rows:
        assert set(NAMES) <= set(row.scores)


def test_they_join_no_default() -> None:
    assert not set(NAMES) & set(DEFAULT_ESTIMATORS)
    assert not set(NAMES) & {member.name for member in default_members()}
