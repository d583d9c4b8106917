"""`Projected` gives another estimator the principal components of the features."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.decomposition import PCA

import modelselect as ms
from modelselect.estimators.projected import Projected
from modelselect.host.lookup import find_estimator

RNG = np.random.default_rng(0)
LABELS = np.repeat([0, 1, 2], 40)
FEATURES = RNG.normal(size=(120, 30)) + np.eye(30)[LABELS]


@pytest.mark.parametrize("name", ["sfda", "h_score", "logme", "rsa"])
def test_the_score_is_that_of_the_principal_components(name: str) -> None:
    reference = FEATURES @ RNG.normal(size=(30, 12))
    reduced, other = (PCA(5, svd_solver="full").fit_transform(array) for array in (FEATURES, reference))
    wrapped = Projected(find_estimator(name), 5)
    got = ms.score(FEATURES, LABELS, wrapped, proxy_features=reference)
    assert got == pytest.approx(ms.score(reduced, LABELS, name, proxy_features=other), rel=1e-6)


def test_it_is_what_the_other_is_and_has_a_key_of_its_own() -> None:
    other = find_estimator("ncti")
    wrapped = pickle.loads(pickle.dumps(Projected(other, 5)))
    assert (wrapped.name, wrapped.requires, wrapped.relative) == (other.name, other.requires, other.relative)
    assert len({other.key, wrapped.key, Projected(other, 6).key, Projected(find_estimator("logme"), 5).key}) == 4
    pool = [{"features": FEATURES * scale, "labels": LABELS} for scale in (1.0, 2.0)]
    assert len(ms.score_pool(pool, wrapped)) == 2
