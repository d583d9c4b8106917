"""INT, held against the definition: the mean over pairs of classes of the mean distance between their rows."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

import modelselect as ms


@pytest.mark.parametrize("counts", [(30, 20, 10), (2, 1), (700, 500), (5, 1, 1, 4)])
@pytest.mark.parametrize("dimensions", [3, 60])
def test_it_is_the_mean_of_the_mean_distances(counts: tuple[int, ...], dimensions: int) -> None:
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(3 * np.arange(len(counts)) + 1, counts))  # with gaps
    features = rng.normal(size=(len(labels), dimensions)) + labels[:, None]
    pairs = combinations([features[labels == label] for label in np.unique(labels)], 2)
    expected = np.mean([cdist(a, b).mean() for a, b in pairs])
    assert ms.score(features, labels, "int") == pytest.approx(expected, rel=1e-12)


def test_it_grows_as_classes_part_and_with_the_scale_of_the_features() -> None:
    features, labels = np.array([[0.0], [1.0], [5.0], [6.0]]), [0, 0, 1, 1]
    assert ms.score(features, labels, "int") == pytest.approx(5)
    assert ms.score(features + 3 * np.array(labels)[:, None], labels, "int") == pytest.approx(8)
    assert ms.score(2 * features, labels, "int") == pytest.approx(10)


def test_equal_rows_have_no_distance() -> None:
    assert ms.score(np.ones((4, 2)), [0, 0, 1, 1], "int") == 0


def test_one_class_has_no_pair() -> None:
    with pytest.raises(ms.errors.EvidenceError):
        ms.score(np.eye(3), [0, 0, 0], "int")
