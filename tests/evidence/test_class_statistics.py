"""Statistics of classes are those of the rows of each class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelselect.errors import NotApplicableError
from modelselect.evidence.class_statistics import ClassStatistics
from modelselect.evidence.statistics import FeatureStatistics
from tests.evidence.material import draw, of_rows


@settings(max_examples=30)
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
