"""Metrics agree with scikit-learn and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn import metrics as reference

from modelselect.tasks import F1, MEAN_ABSOLUTE_ERROR, MEAN_AVERAGE_PRECISION, MEAN_AVERAGE_PRECISION_2007, R2, SPEARMAN


@pytest.mark.parametrize("columns", [1, 3])
def test_metrics_of_numbers_agree_with_scikit_learn_and_scipy(columns: int) -> None:
    rng = np.random.default_rng(columns)
    targets = rng.normal(size=(80, columns)) * [1.0, 100.0, 0.01][:columns]
    predictions = targets + rng.normal(size=targets.shape) * targets.std(axis=0)
    assert R2.measure(targets, predictions) == pytest.approx(reference.r2_score(targets, predictions), abs=1e-9)
    expected = reference.mean_absolute_error(targets, predictions)
    assert MEAN_ABSOLUTE_ERROR.measure(targets, predictions) == pytest.approx(expected, abs=1e-9)
    each = [spearmanr(targets[:, i], predictions[:, i]).statistic for i in range(columns)]
    assert SPEARMAN.measure(targets, predictions) == pytest.approx(np.mean(each), abs=1e-9)


@pytest.mark.parametrize("ties", [False, True])
def test_map_and_f1_agree_with_scikit_learn(ties: bool) -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, (60, 5)).astype(float)
    logits = targets + rng.normal(size=targets.shape) - 0.5
    logits = np.round(logits) if ties else logits
    expected = reference.average_precision_score(targets, logits, average="macro")
    assert MEAN_AVERAGE_PRECISION.measure(targets, logits) == pytest.approx(expected, abs=1e-9)
    expected = reference.f1_score(targets, logits >= 0, average="macro", zero_division=0)
    assert F1.measure(targets, logits) == pytest.approx(expected, abs=1e-9)


def test_labels_that_are_not_known_count_neither_way() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, (60, 2)).astype(float)
    logits = targets + rng.normal(size=targets.shape)
    known = np.delete(targets[:, 0], np.arange(10)), np.delete(logits[:, 0], np.arange(10))
    targets[:10, 0] = np.nan
    expected = [
        reference.average_precision_score(*known),
        reference.average_precision_score(targets[:, 1], logits[:, 1]),
    ]
    assert MEAN_AVERAGE_PRECISION.measure(targets, logits) == pytest.approx(np.mean(expected), abs=1e-9)


def test_a_metric_without_anything_to_tell_apart_is_no_number() -> None:
    assert math.isnan(R2.measure(np.ones((5, 1)), np.zeros((5, 1))))
    assert math.isnan(MEAN_AVERAGE_PRECISION.measure(np.ones((5, 2)), np.zeros((5, 2))))


def eleven_points(targets: np.ndarray, scores: np.ndarray) -> float:
    """As the rules of the challenge say it, point by point, from scikit-learn's curve."""
    precision, recall, _ = reference.precision_recall_curve(targets, scores)
    return float(np.mean([max(precision[:-1][recall[:-1] >= point - 1e-9]) for point in np.linspace(0, 1, 11)]))


@pytest.mark.parametrize("digits", [0, 1, 9])
def test_the_map_of_2007_is_that_of_its_eleven_points(digits: int) -> None:
    rng = np.random.default_rng(digits)
    targets, scores = rng.integers(0, 2, (50, 3)).astype(float), rng.normal(size=(50, 3)).round(digits)
    expected = np.mean([eleven_points(targets[:, label], scores[:, label]) for label in range(3)])
    assert MEAN_AVERAGE_PRECISION_2007.measure(targets, scores) == pytest.approx(expected, abs=1e-12)
    assert math.isnan(MEAN_AVERAGE_PRECISION_2007.measure(np.zeros((5, 2)), np.zeros((5, 2))))


def test_the_interval_holds_the_metric_and_narrows_with_rows() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for rows in (30, 3000):
        targets = rng.normal(size=(rows, 1))
        predictions = targets + 0.5 * rng.normal(size=targets.shape)
        low, high = R2.interval(targets, predictions)
        assert low < R2.measure(targets, predictions) < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 5
