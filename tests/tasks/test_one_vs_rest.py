"""One label against the rest: the mean of an estimator over labels."""

from __future__ import annotations

import numpy as np
import pytest

import modelselect as ms
from modelselect.errors import NotApplicableError
from modelselect.estimators.estimator import evaluate
from modelselect.evidence.evidence import Evidence
from modelselect.host.host import get_host
from modelselect.tasks import OneVsRest

RNG = np.random.default_rng(0)
SETS = RNG.integers(0, 2, (80, 3)).astype(float)
FEATURES = np.hstack([SETS, RNG.normal(size=(80, 5))]) + 0.3 * RNG.normal(size=(80, 8))


def scored(name: str, sets: np.ndarray, features: np.ndarray = FEATURES) -> dict[str, float]:
    evidence = Evidence.of(features=features, labels=sets, target_kind="label_sets")
    return dict(evaluate(OneVsRest(get_host().estimator(name)), evidence))


@pytest.mark.parametrize("name", ["h_score", "knn", "nc_score", "lfc", "gbc", "transrate"])
def test_the_score_is_the_mean_of_the_scores_of_the_labels(name: str) -> None:
    alone = [ms.score(FEATURES, SETS[:, column].astype(int), name) for column in range(3)]
    assert scored(name, SETS)[name] == pytest.approx(np.mean(alone), rel=1e-9)


def test_the_components_of_a_method_relative_to_a_pool_are_means_too() -> None:
    alone = [ms.score(FEATURES, SETS[:, column].astype(int), "ncti", components=True) for column in range(3)]
    found = scored("ncti", SETS)
    assert found == {name: pytest.approx(np.mean([each[name] for each in alone])) for name in alone[0]}


def test_leep_takes_one_label_at_a_time() -> None:
    probabilities = np.random.default_rng(1).dirichlet(np.ones(4), 80)
    evidence = Evidence.of(labels=SETS, source_probabilities=probabilities, target_kind="label_sets")
    found = evaluate(OneVsRest(get_host().estimator("leep")), evidence)
    alone = [
        ms.score(None, SETS[:, column].astype(int), "leep", source_probabilities=probabilities) for column in range(3)
    ]
    assert found["leep"] == pytest.approx(np.mean(alone), rel=1e-9)


def test_rows_of_which_a_label_is_not_known_do_not_count_for_it() -> None:
    sets = SETS.copy()
    sets[:7, 1] = np.nan
    alone = [
        ms.score(FEATURES, SETS[:, 0].astype(int), "h_score"),
        ms.score(FEATURES[7:], SETS[7:, 1].astype(int), "h_score"),
        ms.score(FEATURES, SETS[:, 2].astype(int), "h_score"),
    ]
    assert scored("h_score", sets)["h_score"] == pytest.approx(np.mean(alone), rel=1e-9)


def test_logme_of_all_labels_is_that_of_each_label_whether_some_are_missing_or_not() -> None:
    alone = [ms.score(FEATURES, SETS[:, [column]], "logme") for column in range(3)]
    assert scored("logme", SETS)["logme"] == pytest.approx(np.mean(alone), rel=1e-9)
    sets = SETS.copy()
    sets[:7, 1] = np.nan
    alone[1] = ms.score(FEATURES[7:], SETS[7:, [1]], "logme")
    assert scored("logme", sets)["logme"] == pytest.approx(np.mean(alone), rel=1e-9)


def test_labels_that_hardly_vary_say_that_they_cannot_be_scored() -> None:
    sets = np.zeros((80, 2))
    sets[0] = 1
    with pytest.raises(NotApplicableError, match="fewer than 2 of them for every label"):
        scored("h_score", sets)
