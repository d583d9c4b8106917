"""Scores and evidence that exist already are enough for a benchmark."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import modelselect as ms
from modelselect.benchmarking.benchmark import Benchmark
from tests.conftest import shared_path


def test_published_scores_give_the_published_agreement() -> None:
    """Those of H-score, which are printed with digits enough; Aircraft and Pets are misprinted upstream."""
    path = shared_path("truth", "published-scores-and-accuracies-10x8.csv")
    frame = pd.read_csv(path)
    printed = frame[frame.model == "Weighted Tau"].set_index("dataset").hscore
    scores = frame[frame.finetuned_acc != "-"]
    found = Benchmark.of_scores(scores, scores, columns={"accuracy": "finetuned_acc"}).table(resamples=0)
    row = next(row for row in found.rows if row.estimator == "hscore")
    assert len(row.figures) == 8
    for dataset in set(row.figures) - {"Aircraft", "OxfordIIITPets"}:
        assert row.figures[dataset].value == pytest.approx(float(printed[dataset]), abs=6e-4), dataset


LABELS = np.repeat([0, 1, 2], 15)
TRUTH = {"d": {f"m{gap}": 0.5 + gap / 10 for gap in range(5)}}


def evidence_of_five() -> dict[str, dict[str, dict[str, Any]]]:
    random = np.random.default_rng(0)
    return {
        "d": {
            f"m{gap}": {
                "features": random.normal(size=(45, 5)) + gap * LABELS[:, None],
                "labels": LABELS,
                "metadata": {"parameters": 10 - gap},
            }
            for gap in range(5)
        }
    }


def test_arrays_are_enough_to_compare_an_estimator() -> None:
    evidence, truth, labels = evidence_of_five(), TRUTH, LABELS
    table = Benchmark.of_evidence(evidence, truth, ["logme", "leep"]).table("kendall")
    scores = [ms.score(fields["features"], labels, "logme") for fields in evidence["d"].values()]
    expected = stats.kendalltau(scores, list(truth["d"].values())).statistic
    assert [(row.estimator, row.mean.value) for row in table.rows] == [
        ("logme", pytest.approx(expected)),
        ("parameters", -1.0),
    ]
    assert "source_probabilities" in table.absent["leep"]


class Exiting(ms.Estimator):
    """Ends the process where it is asked in a certain way."""

    name = "exiting"
    requires = frozenset({"features", "labels"})
    citation = "none"

    def __init__(self, where: str) -> None:
        self.where = where

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        return sys.exit(3) if self.where == "score" else {self.name: 1.0}

    def combine(self, scores: Sequence[Mapping[str, float]]) -> Any:
        return sys.exit(3) if self.where == "combine" else super().combine(scores)


@pytest.mark.parametrize("where", ["score", "combine"])
def test_an_estimator_that_ends_the_process_costs_its_own_column(where: str) -> None:
    table = Benchmark.of_evidence(evidence_of_five(), TRUTH, ["logme", Exiting(where)]).table("kendall")
    assert "SystemExit: 3" in table.absent["exiting"]
    assert [row.estimator for row in table.rows] == ["logme", "parameters"]
