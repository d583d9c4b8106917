"""Better than guessing: noise never is, data is, and the test is the binomial one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import betainc
from scipy.stats import binom

import modelselect as ms
from modelselect.errors import InvalidInputError
from modelselect.estimators.guessing import _incomplete_beta, better_than_guessing
from tests.conftest import shared_path
from tests.selection.material import rank

BALANCED = [25, 25, 25, 25]


def noise_accuracies(seed: int, counts: list[int], candidates: int = 20) -> dict[str, list[float]]:
    """Of candidates whose features are noise, of one to sixty dimensions, on labels that they do not know."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    pool = [rng.normal(size=(len(labels), d)) for d in rng.integers(1, 60, candidates)]
    return {name: [ms.score(features, labels, name) for features in pool] for name in ("knn", "linear_probe")}


@pytest.mark.parametrize("counts", [BALANCED, [80, 10, 10]])
@pytest.mark.parametrize("seed", range(2))
def test_noise_is_no_better_than_guessing(seed: int, counts: list[int]) -> None:
    accuracies = noise_accuracies(seed, counts)
    assert not better_than_guessing(accuracies, counts).any()
    assert max(accuracies["knn"]) > 100 * np.square(np.array(counts) / sum(counts)).sum() + 5, (
        "the best is above chance"
    )


def test_neighbours_of_noise_are_no_better_than_guessing_in_at_least_19_of_20_pools() -> None:
    passed = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        labels = rng.permutation(np.repeat(np.arange(4), 25))
        found = [ms.score(rng.normal(size=(100, d)), labels, "knn") for d in (1, 2, 3, 5, 10, 30)]
        passed += better_than_guessing({"knn": found}, BALANCED).any()
    assert passed <= 5


def test_two_identical_rows_of_which_each_finds_the_other_are_not_two_independent_rows() -> None:
    # Copies of rows with the labels of their originals at random: 50 pairs, each right or wrong as a whole.
    passed = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        features = np.repeat(rng.normal(size=(50, 4)), 2, axis=0) + 1e-6 * rng.normal(size=(100, 4))
        labels = rng.permutation(np.repeat(np.arange(4), 25))
        passed += better_than_guessing({"knn": [ms.score(features, labels, "knn")]}, BALANCED)[0]
    assert passed <= 8  # 5 of 100 are expected


def test_features_that_know_something_are_better_than_guessing() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 25)
    means = rng.normal(size=(4, 16))
    accuracies = noise_accuracies(0, BALANCED, candidates=8)
    for name, column in accuracies.items():
        column[7] = ms.score(means[labels] + rng.normal(size=(100, 16)), labels, name)
    assert np.flatnonzero(better_than_guessing(accuracies, BALANCED)).tolist() == [7]


def test_a_small_class_that_neighbours_find_counts_though_the_largest_class_is_guessed_more_often() -> None:
    # 75% of the rows are of the largest class, but neighbours that say nothing are right for 58%.
    counts = [180, 20, 20, 20]
    assert better_than_guessing({"knn": [74.0]}, counts).tolist() == [True]
    assert better_than_guessing({"linear_probe": [74.0]}, counts).tolist() == [False]


def test_the_rate_of_a_linear_probe_is_the_largest_class_and_the_test_is_binomial() -> None:
    counts = np.array([120, 80])  # they count as 100 independent rows
    for right in (70, 75, 80):
        expected = binom.sf(right - 1, 100, 0.6)
        for level in (expected * 0.99, expected * 1.01):
            passes = better_than_guessing({"linear_probe": [float(right)]}, counts, level=level)[0]
            assert passes == (expected < level)


def test_the_more_accuracies_are_looked_at_the_higher_one_has_to_be() -> None:
    few, many = ({"knn": [42.0] + [25.0] * others} for others in (0, 50))
    assert better_than_guessing(few, BALANCED)[0]
    assert not better_than_guessing(many, BALANCED)[0]
    unknown = {"knn": [42.0] + [float("nan")] * 50}
    assert better_than_guessing(unknown, BALANCED).tolist() == [True] + [False] * 50


@pytest.mark.parametrize(
    ("accuracies", "counts", "level", "words"),
    [
        ({"logme": [0.5]}, BALANCED, 0.05, "expected knn or linear_probe"),
        ({}, BALANCED, 0.05, "no estimator"),
        ({"knn": [50.0], "linear_probe": [50.0, 60.0]}, BALANCED, 0.05, "one number for each candidate"),
        ({"knn": [150.0]}, BALANCED, 0.05, "per cent"),
        ({"knn": [50.0]}, [100, 0], 0.05, "at least two classes"),
        ({"knn": [50.0]}, BALANCED, 5, "between 0 and 1"),
    ],
)
def test_what_cannot_be_tested_is_refused(accuracies: Any, counts: Any, level: float, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        better_than_guessing(accuracies, counts, level)


@pytest.mark.parametrize("dataset", ["neu6", "trashnet6"])
def test_real_images_are_better_than_guessing(dataset: str, cache: Any) -> None:
    probe = ms.Probe.of(shared_path("lab", "datasets", dataset), size=120)
    candidates = ["embedded:plain.letters", "embedded:resnet.textures", "embedded:vit.letters"]
    board = rank(probe, candidates, estimators=["knn", "linear_probe"])
    accuracies = {name: [row.scores[name] for row in board.rows] for name in ("knn", "linear_probe")}
    assert better_than_guessing(accuracies, np.bincount(probe.labels)).any()


@pytest.mark.parametrize("rows", [2, 30, 600, 50_000])
def test_the_tail_is_the_incomplete_beta_function_of_scipy(rows: int) -> None:
    draw = np.random.default_rng(rows)
    for _ in range(200):
        count, rate = draw.uniform(1e-9, rows), draw.uniform(0.001, 0.999)
        expected = betainc(count, rows - count + 1, rate)
        assert _incomplete_beta(count, rows - count + 1, rate) == pytest.approx(expected, rel=1e-8, abs=1e-14)
