"""Features of a scale that no network has: a finite score, or an error that says what is wrong."""

from __future__ import annotations

import contextlib
import math
import warnings
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.host.host import get_host
from modelselect.host.lookup import find_estimator

LABELS = np.arange(18) % 4
FEATURES = np.random.default_rng(0).normal(size=(18, 26)) + np.eye(26)[LABELS]
GIVEN = {
    "source_probabilities": np.random.default_rng(1).dirichlet(np.ones(5), 18),
    "source_features": np.random.default_rng(2).normal(size=(30, 26)),
    "source_labels": np.arange(30) % 3,
    "proxy_features": np.random.default_rng(3).normal(size=(18, 6)),
}
SCALED = {
    "as small as float32 allows": np.maximum(np.round(FEATURES * 9), 0).astype(np.float32) * np.float32(1e-45),
    "1e50": FEATURES * 1e50,
    "1e94": FEATURES * 1e94,
}


@pytest.mark.parametrize("scale", SCALED)
@pytest.mark.parametrize("name", sorted(get_host().estimators))
def test_the_score_is_finite_or_an_error_says_why(name: str, scale: str) -> None:
    given: dict[str, Any] = {field: value for field, value in GIVEN.items() if field in find_estimator(name).requires}
    with warnings.catch_warnings(), contextlib.suppress(ms.errors.EvidenceError, ms.errors.NotApplicableError):
        warnings.simplefilter("ignore")
        found = ms.score(SCALED[scale], LABELS, name, components=True, **given)
        assert all(map(math.isfinite, found.values()))
