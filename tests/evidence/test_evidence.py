"""Arrays as people have them become evidence, and what cannot be is met with what was given and what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.errors import InvalidInputError
from modelselect_plugins.estimators.centroid import Centroid

FEATURES = np.random.default_rng(0).normal(size=(20, 3)) + np.arange(20)[:, None] % 2
LABELS = np.arange(20) % 2


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["a", "b"] * 10, dtype=object),
        np.array([0, 1] * 10, dtype=object),
        np.array([False, True] * 10, dtype=object),
        LABELS.astype(np.float32),
        LABELS.astype(np.uint8),
        ["a", "b"] * 10,
    ],
)
def test_labels_of_any_container_score_alike(labels: Any) -> None:
    assert ms.score(FEATURES, labels, "logme") == ms.score(FEATURES, LABELS, "logme")


def test_bfloat16_tensors_are_read() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(FEATURES).bfloat16()
    assert ms.score(tensor, LABELS, "logme") == ms.score(tensor.float(), LABELS, "logme")


def test_what_a_mask_hides_is_not_scored_in_silence() -> None:
    masked = np.ma.masked_invalid(np.where(np.arange(20)[:, None] == 3, np.nan, FEATURES))
    with pytest.raises(ms.errors.EvidenceError, match="NaN or infinity, first in row 3"):
        ms.score(masked, LABELS, "logme")


@pytest.mark.parametrize(
    ("features", "labels", "estimator", "seed", "message"),
    [
        ([[1.0, 2.0], [3.0]], [0, 1], "logme", 0, "features are lists of different lengths"),
        (FEATURES, np.array([0, "a"] * 10, dtype=object), "logme", 0, "kind integer and string, 0 in row 0"),
        (FEATURES, LABELS, "logme", -1, "seed is -1"),
        (FEATURES, LABELS, "logme", "x", "seed is 'x'"),
        (FEATURES, LABELS, Centroid, 0, r"expected a name, or an instance"),
        (FEATURES, LABELS, 5, 0, "estimator is 5"),
    ],
)
def test_what_cannot_be_scored_is_one_error_that_says_why(
    features: Any, labels: Any, estimator: Any, seed: Any, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        ms.score(features, labels, estimator, seed=seed)
