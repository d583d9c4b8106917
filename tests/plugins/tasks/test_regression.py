"""Regression: estimators of numbers against scikit-learn, and a whole run from a table on disk."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.linear_model import LinearRegression
from sklearn.linear_model import Ridge as ReferenceRidge
from sklearn.metrics import r2_score
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import modelselect as ms
from modelselect.errors import NotApplicableError
from modelselect.estimators.estimator import evaluate
from modelselect.evidence.evidence import Evidence
from modelselect.host.host import get_host
from modelselect_plugins.estimators._shared.folds import folds_of
from modelselect_plugins.estimators.h_score import HScore
from modelselect_plugins.estimators.linear_probe import LinearProbe
from modelselect_plugins.estimators.ridge import Ridge
from tests.cli.conftest import run

pytestmark = pytest.mark.usefixtures("cache")

TASK = get_host().task("regression")
RNG = np.random.default_rng(0)


def evidence(rows: int = 60, width: int = 8, targets: int = 1) -> Evidence:
    features = RNG.normal(size=(rows, width)) * RNG.uniform(0.1, 5, width)
    numbers = features @ RNG.normal(size=(width, targets)) + RNG.normal(size=(rows, targets))
    return Evidence.of(features=features, labels=numbers, target_kind="numbers")


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("k", [1, 5])
def test_knn_is_the_leave_one_out_r2_of_scikit_learn(k: int, targets: int) -> None:
    given = evidence(targets=targets)
    adapted = TASK.adapted(type(get_host().estimator("knn"))(k))
    assert adapted is not None
    predicted = cross_val_predict(KNeighborsRegressor(k), given.features, given.labels, cv=LeaveOneOut())
    expected = 100 * r2_score(given.labels, predicted)
    assert evaluate(adapted, given)["knn"] == pytest.approx(expected, abs=1e-6)


def h_score(given: Evidence, regularized: bool | None = None) -> float:
    adapted = TASK.adapted(HScore(regularized))
    assert adapted is not None
    return evaluate(adapted, given)["h_score"]


@pytest.mark.parametrize("targets", [1, 3])
def test_h_score_of_numbers_is_the_sum_of_squared_canonical_correlations(targets: int) -> None:
    given = evidence(targets=targets)
    assert given.features is not None
    assert given.labels is not None
    x, y = (np.linalg.qr(each - each.mean(axis=0))[0] for each in (given.features, given.labels))
    expected = float(np.square(np.linalg.svd(x.T @ y)[1]).sum())
    assert h_score(given) == pytest.approx(expected, abs=1e-9)
    if targets == 1:
        fitted = LinearRegression().fit(given.features, given.labels)
        assert h_score(given) == pytest.approx(fitted.score(given.features, given.labels), abs=1e-9)


@pytest.mark.parametrize(("rows", "width", "regularized"), [(60, 8, True), (60, 8, False), (40, 90, True)])
def test_h_score_of_classes_as_numbers_is_that_of_the_classes(rows: int, width: int, regularized: bool) -> None:
    classes = np.arange(rows) % 4
    features = RNG.normal(size=(rows, width)) + classes[:, None]
    expected = ms.score(features, classes, HScore(regularized))
    given = Evidence.of(features=features, labels=np.eye(4)[classes], target_kind="numbers")
    assert h_score(given, regularized) == pytest.approx(expected, rel=1e-9)


def test_h_score_of_numbers_takes_wide_features_and_refuses_equal_numbers() -> None:
    given = evidence(40, 90)
    assert 0 < h_score(given) < 1
    assert h_score(given) == pytest.approx(h_score(given, True))
    equal = Evidence.of(features=given.features, labels=np.full((40, 1), 0.1), target_kind="numbers")
    with pytest.raises(NotApplicableError, match="numbers that differ"):
        h_score(equal)


@pytest.mark.parametrize(("rows", "width", "targets"), [(60, 8, 1), (60, 8, 3), (40, 90, 1)])
def test_linear_probe_is_the_cross_validated_r2_of_scikit_learn(rows: int, width: int, targets: int) -> None:
    given = evidence(rows, width, targets)
    adapted = TASK.adapted(LinearProbe(regularisation=0.5))
    assert adapted is not None
    assert given.features is not None
    assert given.labels is not None
    predicted = np.empty(given.labels.shape)
    for test in folds_of(rows, 5, np.random.default_rng(0)):
        train = np.setdiff1d(np.arange(rows), test)
        scaler = StandardScaler().fit(given.labels[train])
        model = make_pipeline(StandardScaler(), ReferenceRidge(alpha=2.0))
        model.fit(given.features[train], scaler.transform(given.labels[train]))
        answer = model.predict(given.features[test]).reshape(len(test), -1)
        predicted[test] = scaler.inverse_transform(answer)
    expected = 100 * r2_score(given.labels, predicted)
    assert evaluate(adapted, given)["linear_probe"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("rows", "width"), [(60, 8), (30, 50)])
@pytest.mark.parametrize("shrinkage", [1.0, 0.01])
def test_ridge_is_the_regularised_error_at_the_optimum_of_scikit_learn(rows: int, width: int, shrinkage: float) -> None:
    given = evidence(rows, width, 2)
    targets = StandardScaler().fit_transform(given.labels)
    model = ReferenceRidge(alpha=rows * shrinkage).fit(given.features, targets)
    error = np.square(targets - model.predict(given.features)).sum() / rows
    expected = -(error + shrinkage * np.square(model.coef_).sum())
    assert evaluate(Ridge(shrinkage), given)["ridge"] == pytest.approx(expected, abs=1e-6)


def test_the_default_weighs_what_applies_and_other_methods_have_no_form() -> None:
    adapted = TASK.adapted(get_host().estimator("evidence"))
    assert adapted is not None
    found = evaluate(adapted, evidence())
    assert {name.partition("/")[0] for name in found if "/" in name} == {"logme", "linear_probe", "ridge"}
    assert TASK.adapted(get_host().estimator("gbc")) is None
    assert TASK.adapted(get_host().estimator("rankme")) is not None, "it reads no labels"


@pytest.fixture
def angles(tmp_path: Path) -> Path:
    """A table of 60 images of a line, and its angle."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    with (tmp_path / "angles.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "angle"])
        for number in range(60):
            angle = rng.uniform(0, 90)
            image = Image.fromarray(rng.integers(0, 60, (32, 32, 3), dtype=np.uint8))
            x, y = 13 * np.cos(np.radians(angle)), 13 * np.sin(np.radians(angle))
            ImageDraw.Draw(image).line([16 - x, 16 - y, 16 + x, 16 + y], fill=(230, 230, 230), width=4)
            image.save(tmp_path / "images" / f"{number}.png")
            table.writerow([f"images/{number}.png", f"{angle:.2f}"])
    return tmp_path / "angles.csv"


def test_a_table_of_angles_is_ranked_fine_tuned_saved_and_predicted_from_the_command_line(
    angles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = tmp_path / "board.json"
    code, shown, error = run(
        capsys, "select", angles, "embedded:resnet*", "-e", "logme,knn,gbc", "--top-k", "1", "--epochs", "2",
        "--save", tmp_path / "winner", "--json", board, "--history", tmp_path / "history.sqlite", "-q",
    )  # fmt: skip
    assert code == 0, error
    assert "are read as numbers (regression)" in " ".join((shown + error).split())
    assert "gbc is not defined for one number or several numbers for each row" in " ".join((shown + error).split())
    loaded = ms.Leaderboard.load(board)
    assert loaded.provenance["task"]["name"] == "regression"
    assert loaded.metric == "R²"
    assert loaded.chance == 0, "the mean explains no variance"
    assert loaded.best.verified_accuracy is not None
    assert loaded.best.verified_accuracy <= 1
    assert loaded.best.verified_metrics.keys() == {"r2", "mean_absolute_error", "spearman"}
    assert loaded.best.verified_metrics["r2"] == loaded.best.verified_accuracy
    assert re.search(r"On the same rows: mean absolute error \d+\.\d{3}, Spearman correlation -?0\.\d{3}\.", shown)
    code, shown, error = run(capsys, "predict", tmp_path / "winner", tmp_path / "images" / "0.png", "--json")
    assert code == 0, error
    assert '"angle"' in shown
    results = list(ms.History(tmp_path / "history.sqlite").results())
    assert {result.metric for result in results} == {"regression:accuracy", "regression:logme", "regression:knn"}
    assert not ms.History(tmp_path / "history.sqlite").view().results, "results of numbers say nothing of classes"
    assert len(ms.History(tmp_path / "history.sqlite").view(task="regression").results) == len(results)


def test_a_trained_head_predicts_in_the_units_of_the_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    brightness = rng.uniform(100, 200, 80)
    images = (brightness[:, None, None, None] + rng.uniform(-20, 20, (80, 32, 32, 3))).astype(np.uint8)
    numbers = np.stack([brightness, 1000 - 5 * brightness], axis=1)
    board = ms.select(
        (images, numbers), "embedded:resnet.textures", task="regression", estimators="logme", top_k=1, verify="head",
        fine_tuning=ms.FineTuning(epochs=30), history=False, progress=False, cache_dir=tmp_path,
    )  # fmt: skip
    values = board.best.predict(list(images)).values
    assert values.shape == (80, 2)
    assert r2_score(numbers, values) > 0.8
    assert board.best.verified_accuracy == pytest.approx(r2_score(numbers, values), abs=0.2)
