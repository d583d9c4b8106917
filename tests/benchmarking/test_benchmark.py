"""Scores and evidence that exist already are enough for a benchmark."""

from __future__ import annotations

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


def test_arrays_are_enough_to_compare_an_estimator() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 15)
    evidence = {
        "d": {
            f"m{gap}": {
                "features": random.normal(size=(45, 5)) + gap * labels[:, None],
                "labels": labels,
                "metadata": {"parameters": 10 - gap},
            }
            for gap in range(5)
        }
    }
    truth = {"d": {f"m{gap}": 0.5 + gap / 10 for gap in range(5)}}
    table = Benchmark.of_evidence(evidence, truth, ["logme", "leep"]).table("kendall")
    scores = [ms.score(fields["features"], labels, "logme") for fields in evidence["d"].values()]
    expected = stats.kendalltau(scores, list(truth["d"].values())).statistic
    assert [(row.estimator, row.mean.value) for row in table.rows] == [
        ("logme", pytest.approx(expected)),
        ("parameters", -1.0),
    ]
    assert "source_probabilities" in table.absent["leep"]
