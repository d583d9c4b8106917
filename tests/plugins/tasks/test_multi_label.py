"""Sets of labels: estimators against scikit-learn, and a whole run on mosaics of two classes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import modelselect as ms
from modelselect.estimators.estimator import evaluate
from modelselect.evidence.evidence import Evidence
from modelselect.host.host import get_host
from modelselect.tasks import OneVsRest
from modelselect_plugins.estimators._shared.folds import folds_of
from modelselect_plugins.estimators.knn import KNN
from tests.cli.conftest import run

pytestmark = pytest.mark.usefixtures("cache")

TASK = get_host().task("multi-label")


@pytest.mark.parametrize("width", [6, 80])
def test_linear_probe_is_the_cross_validated_map_of_scikit_learn(width: int) -> None:
    rng = np.random.default_rng(0)
    sets = rng.integers(0, 2, (60, 3)).astype(float)
    features = rng.normal(size=(60, width))
    features[:, :3] += sets
    adapted = TASK.adapted(get_host().estimator("linear_probe"))
    assert adapted is not None
    scores = np.empty(sets.shape)
    for test in folds_of(60, 5, np.random.default_rng(0)):
        train = np.setdiff1d(np.arange(60), test)
        for column in range(3):
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=100))
            model.fit(features[train], sets[train, column])
            scores[test, column] = model.decision_function(features[test])
    expected = 100 * average_precision_score(sets, scores, average="macro")
    found = evaluate(adapted, Evidence.of(features=features, labels=sets, target_kind="label_sets"))
    assert found["linear_probe"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("k", [1, 4, 5])
@pytest.mark.parametrize("missing", [0, 7])
def test_knn_searches_once_and_finds_what_one_label_at_a_time_finds(k: int, missing: int) -> None:
    rng = np.random.default_rng(k)
    sets = rng.integers(0, 2, (60, 3)).astype(float)
    sets = np.hstack([sets, np.eye(60, 1)])  # a label of one row does not count
    features = rng.normal(size=(60, 5))
    features[:, :3] += sets[:, :3]
    sets[:missing, 0] = np.nan
    evidence = Evidence.of(features=features, labels=sets, target_kind="label_sets")
    adapted = TASK.adapted(KNN(k))
    assert adapted is not None
    expected = evaluate(OneVsRest(KNN(k)), evidence)
    assert evaluate(adapted, evidence)["knn"] == pytest.approx(expected["knn"], rel=1e-12)


def test_every_method_of_classes_has_a_form_and_the_default_weighs_its_members() -> None:
    sets = np.random.default_rng(0).integers(0, 2, (60, 3)).astype(float)
    evidence = Evidence.of(
        features=np.random.default_rng(1).normal(size=(60, 5)), labels=sets, target_kind="label_sets"
    )
    adapted = TASK.adapted(get_host().estimator("evidence"))
    assert adapted is not None
    found = evaluate(adapted, evidence)
    assert {name.partition("/")[0] for name in found if "/" in name} == {"etran", "ncti", "logme", "linear_probe"}
    assert TASK.adapted(get_host().estimator("ridge")) is not None
    for name in ("h_score", "leep", "knn", "gbc"):
        assert TASK.adapted(get_host().estimator(name)) is not None


@pytest.fixture
def mosaics(tmp_path: Path) -> Path:
    """A table of 60 images, each of two halves that are stripes, spots or plain, with a column for each label."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    with (tmp_path / "mosaics.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "stripes", "spots"])
        for number in range(60):
            halves = rng.integers(0, 3, 2)
            pixels = rng.integers(90, 130, (32, 32, 3))
            for side, kind in enumerate(halves):
                part = pixels[:, 16 * side : 16 * side + 16]
                if kind == 0:
                    part[::4] = 250
                elif kind == 1:
                    part[4::8, 4::8] = part[5::8, 4::8] = 10
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "images" / f"{number}.png")
            unknown = "-1" if number == 0 else str(int(0 in halves))
            table.writerow([f"images/{number}.png", unknown, int(1 in halves)])
    return tmp_path / "mosaics.csv"


def test_a_table_of_mosaics_is_ranked_fine_tuned_saved_and_predicted_from_the_command_line(
    mosaics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = tmp_path / "board.json"
    code, _, error = run(
        capsys, "select", mosaics, "embedded:resnet*", "--label", "stripes,spots", "--task", "multi-label",
        "-e", "logme,h_score,ncti,leep,knn,linear_probe", "--top-k", "1", "--epochs", "2",
        "--save", tmp_path / "winner", "--json", board, "--history", "off", "-q",
    )  # fmt: skip
    assert code == 0, error
    loaded = ms.Leaderboard.load(board)
    assert loaded.provenance["task"]["name"] == "multi-label"
    assert loaded.provenance["dataset"]["targets"] == {"kind": "label_sets", "names": ["stripes", "spots"]}
    assert loaded.metric == "mAP"
    assert loaded.chance is not None
    assert 0.3 < loaded.chance < 0.8, "the share of images that have a label"
    assert loaded.best.verified_accuracy is not None
    assert 0 < loaded.best.verified_accuracy <= 1
    assert set(loaded.best.scores) >= {"logme", "h_score", "ncti", "leep", "knn", "linear_probe"}
    found = ms.load(tmp_path / "winner").predict(tmp_path / "images" / "1.png")
    assert found.classes == ("stripes", "spots")
    assert ((found.probabilities > 0) & (found.probabilities < 1)).all()


def test_lists_of_labels_are_read_by_themselves_and_a_row_may_have_none(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sets = rng.integers(0, 2, (40, 2))
    images = rng.integers(0, 60, (40, 32, 32, 3)) + 90 * sets[:, None, None, [0, 1, 1]]
    labels = [[name for name, has in zip(("red", "other"), row, strict=True) if has] for row in sets]
    board = ms.select(
        (images.astype(np.uint8), labels), "embedded:resnet.*", estimators="h_score", history=False, progress=False,
        cache_dir=tmp_path,
    )  # fmt: skip
    assert board.provenance["task"]["name"] == "multi-label"
    assert any("read as sets of 2 labels (multi-label)" in remark for remark in board.provenance["dataset"]["remarks"])
