"""Baselines say what the metadata say, cost nothing, and never guess."""

from __future__ import annotations

import csv
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.errors import NotApplicableError
from modelselect.testing.estimators import check_estimator
from modelselect_plugins.estimators.static import modelselect_register_estimators
from tests.conftest import shared_path

BASELINES = {estimator.name: estimator for estimator in modelselect_register_estimators()}
NAMES = ["parameters", "source_accuracy", "downloads"]


@pytest.mark.parametrize("name", NAMES)
def test_they_keep_an_estimators_promises(name: str) -> None:
    check_estimator(BASELINES[name])
    assert BASELINES[name].is_static
    assert BASELINES[name].cost == "free"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [7, 7.0, np.int64(7), np.float32(7)])
def test_the_score_is_the_number_in_the_metadata(name: str, value: Any) -> None:
    assert ms.score(None, None, BASELINES[name], metadata={name: value, "other": 1}) == 7.0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("metadata", [{}, {"other": 1}, {"NAME": None}, {"NAME": float("nan")}, {"NAME": "many"}])
def test_what_is_not_known_is_not_guessed_and_named(name: str, metadata: dict[str, Any]) -> None:
    known = {name if key == "NAME" else key: value for key, value in metadata.items()}
    with pytest.raises(NotApplicableError, match=f"candidate's.* {name}"):
        ms.score(None, None, BASELINES[name], metadata=known)


def test_the_figures_known_for_eleven_imagenet_networks_come_out() -> None:
    """Weighted Kendall on the benchmark of SFDA and NCTI, whose best published method reaches 0.73."""
    # ImageNet top-1 and millions of parameters of torchvision's first weights, as its documentation lists them.
    metadata = {
        "densenet121": {"source_accuracy": 74.434, "parameters": 7.98},
        "densenet169": {"source_accuracy": 75.600, "parameters": 14.15},
        "densenet201": {"source_accuracy": 76.896, "parameters": 20.01},
        "googlenet": {"source_accuracy": 69.778, "parameters": 6.62},
        "inception_v3": {"source_accuracy": 77.294, "parameters": 27.16},
        "mnasnet1_0": {"source_accuracy": 73.456, "parameters": 4.38},
        "mobilenet_v2": {"source_accuracy": 71.878, "parameters": 3.50},
        "resnet34": {"source_accuracy": 73.314, "parameters": 21.80},
        "resnet50": {"source_accuracy": 76.130, "parameters": 25.56},
        "resnet101": {"source_accuracy": 77.374, "parameters": 44.55},
        "resnet152": {"source_accuracy": 78.312, "parameters": 60.19},
    }
    accuracies: dict[str, dict[str, float]] = defaultdict(dict)
    with open(shared_path("truth", "supervised-cnn-11x11.csv")) as file:
        for row in csv.DictReader(file):
            accuracies[row["dataset"]][row["model"]] = float(row["accuracy"])
    for name, expected in (("source_accuracy", 0.65), ("parameters", 0.58)):
        scores = dict(
            zip(metadata, ms.score_pool([{"metadata": m} for m in metadata.values()], BASELINES[name]), strict=True)
        )
        found = np.mean([ms.agreement(scores, truth).weighted_kendall for truth in accuracies.values()])
        assert found == pytest.approx(expected, abs=0.0055)
