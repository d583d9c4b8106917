"""`score()` refuses bare arrays that it cannot score, and says why."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import modelselect as ms
from modelselect.errors import EvidenceError, ModelSelectError, NotApplicableError
from modelselect.host.host import get_host


def test_the_wrong_number_of_labels_is_refused_by_score() -> None:
    with pytest.raises(EvidenceError, match="the numbers of rows differ"):
        ms.score(np.zeros((4, 2)), [0, 1, 1], "logme")
    with pytest.raises(EvidenceError, match="NaN"):
        ms.score([[0.0], [np.nan]], [0, 1], "logme")
    with pytest.raises(EvidenceError, match="one class"):
        ms.score([[0.0], [1.0]], [1, 1], "logme")


def test_neighbours_say_so_where_no_class_has_two_rows() -> None:
    with pytest.raises(ms.errors.NotApplicableError, match="no class has two"):
        ms.score(np.eye(4), [0, 1, 2, 3], "knn")


@pytest.mark.parametrize("size", [1e80, 1e-170])
def test_numbers_that_overflow_on_the_way_are_no_business_of_the_user(size: float) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 30)
    features = rng.normal(size=(60, 3)) + 3 * labels[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for name in ("logme", "knn", "nc_score", "silhouette", "linear_probe", "itm", "lead"):
            with contextlib.suppress(EvidenceError, NotApplicableError):
                assert np.isfinite(ms.score(features * size, labels, name))


def test_features_without_a_square_are_refused() -> None:
    features = np.random.default_rng(0).normal(size=(60, 3))
    features[7, 1] = -1e150
    with pytest.raises(EvidenceError, match=r"features holds a number above 1e\+100, first in row 7"):
        ms.score(features, np.repeat([0, 1], 30), "logme")


@pytest.mark.parametrize("name", [name for name, method in get_host().estimators.items() if not method.is_static])
@pytest.mark.parametrize("labels", [np.random.default_rng(0).normal(size=(24, 2)), np.eye(3)[[0, 1, 2] * 8, :2]])
def test_every_estimator_scores_or_refuses_targets_of_another_kind(name: str, labels: NDArray[Any]) -> None:
    rng = np.random.default_rng(0)
    fields = {
        "source_probabilities": np.full((24, 5), 0.2),
        "proxy_features": rng.normal(size=(24, 3)),
        "source_features": rng.normal(size=(24, 4)),
        "source_labels": np.arange(24) % 3,
        "groups": np.arange(24) // 4,
    }
    with contextlib.suppress(ModelSelectError):
        ms.score(rng.normal(size=(24, 4)), labels, name, components=True, **fields)
