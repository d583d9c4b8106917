"""Features and labels that the tests of the statistics share."""

from __future__ import annotations

import numpy as np

from modelselect.evidence.statistics import FeatureStatistics

SHAPES = [(40, 7), (7, 40), (12, 12), (200, 90), (1, 5), (5, 1)]


def draw(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 3)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 5.0 + labels[:, None], labels


def of_rows(statistics: FeatureStatistics, matrix: np.ndarray) -> np.ndarray:
    """A matrix over `coordinates` as one over the features' own dimensions."""
    return matrix if statistics.basis is None else statistics.basis @ matrix @ statistics.basis.T
