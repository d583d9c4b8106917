"""The silhouette, held against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

import modelselect as ms


@pytest.mark.parametrize("counts", [(30, 20, 10), (2, 1), (700, 500), (5, 1, 1, 4)])
def test_it_is_that_of_scikit_learn(counts: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    features = rng.normal(size=(len(labels), 6)) + labels[:, None]
    assert ms.score(features, labels, "silhouette") == pytest.approx(silhouette_score(features, labels), abs=1e-12)


def test_rows_that_are_equal_have_none() -> None:
    with pytest.raises(ms.errors.NotApplicableError, match="all rows are equal"):
        ms.score(np.ones((6, 2)), [0, 0, 0, 1, 1, 1], "silhouette")


def test_equal_rows_of_two_classes_count_as_zero() -> None:
    features = np.array([[0.0], [0.0], [5.0], [5.0]])
    labels = [0, 1, 0, 1]
    assert ms.score(features, labels, "silhouette") == pytest.approx(silhouette_score(features, labels), abs=1e-12)
