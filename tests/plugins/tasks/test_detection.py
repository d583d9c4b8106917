"""Boxes in images: features against torchvision's RoIAlign, precision against scikit-learn, and whole runs on files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torchvision.ops import roi_align

import modelselect as ms
from modelselect.candidates.preprocessing import ImagePreprocessing
from modelselect.errors import CandidateError, DatasetError, InvalidInputError
from modelselect.host.host import get_host
from modelselect.report.answer import Kept, loading_code, next_step
from modelselect.testing.tasks import check_task
from modelselect.utils.boxes import BACKGROUND, Box, Boxes
from modelselect_plugins.tasks._regions import BoxPreprocessing, in_boxes
from modelselect_plugins.tasks.detection import box_map
from tests.cli.conftest import run
from tests.plugins.tasks.dense import shown, timm_folder, tuned
from tests.plugins.zoos.image_models import SIDE, VISION, vit_folder
from tests.plugins.zoos.text_models import text_folder
from tests.probe.test_boxes import scenes, table, write

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data", *scenes(40))
    return tmp_path


def test_the_task_keeps_its_promises() -> None:
    check_task(get_host().task("detection"))


# --- the metric ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("background", [0, 2, None])
def test_precision_is_that_of_scikit_learn(background: int | None) -> None:
    rng = np.random.default_rng(0)
    metric = box_map(background)
    for _ in range(20):
        targets = rng.integers(-1, 4, (6, 5))
        scores = rng.random((6, 5, 4)).round(1)  # with ties
        known = targets >= 0
        classes = [label for label in range(4) if label != background]
        expected = [average_precision_score(targets[known] == label, scores[known][:, label]) for label in classes]
        assert metric.measure(targets, scores) == pytest.approx(np.mean(expected), abs=1e-12)
        assert metric.guessing is not None
        shares = [float((targets[known] == label).mean()) for label in classes]
        assert metric.guessing(targets) == pytest.approx(np.mean(shares), abs=1e-12)
    low, high = metric.interval(targets, scores)
    assert low < metric.measure(targets, scores) < high


# --- evidence --------------------------------------------------------------------------------------------------------


def by_torchvision(maps: torch.Tensor, image: list[int], corners: np.ndarray) -> np.ndarray:
    """(B, D) the mean of torchvision's 7 x 7 bins with 2 x 2 points each, from maps (I, D, H, W)."""
    height, width = maps.shape[2:]
    places = torch.tensor(corners, dtype=torch.float32) * torch.tensor([width, height, width, height])
    boxes = torch.cat([torch.tensor(image, dtype=torch.float32)[:, None], places], 1)
    found = roi_align(maps, boxes, (7, 7), sampling_ratio=2, aligned=True)
    return found.mean((2, 3)).numpy()  # type: ignore[no-any-return]


def test_features_of_boxes_are_those_of_roi_align_on_a_map_by_hand() -> None:
    rng = np.random.default_rng(0)
    maps = torch.tensor(rng.normal(size=(3, 5, 7, 4)), dtype=torch.float32)
    low = rng.uniform(0, 0.7, (20, 2))
    corners = np.hstack([low, low + rng.uniform(0.02, 0.3, (20, 2))])
    image = rng.integers(0, 3, 20)
    found = in_boxes(maps, torch.tensor(image), torch.tensor(corners))
    expected = by_torchvision(maps.permute(0, 3, 1, 2), image.tolist(), corners)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    ramp = torch.arange(8.0).repeat(1, 4, 1)[..., None]  # each cell says its column: a mean is the middle of the box
    middle = in_boxes(ramp, torch.zeros(1, dtype=torch.long), torch.tensor([[0.25, 0.3, 0.75, 0.6]]))
    assert float(middle) == pytest.approx(3.5, abs=1e-5)


@pytest.mark.parametrize("size", [(16, 24), (9, 7), (33, 20)])
def test_boxes_travel_with_the_image_whatever_its_size(size: tuple[int, int]) -> None:
    import PIL.Image

    rng = np.random.default_rng(0)
    picture = PIL.Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8))
    corners = rng.random((9, 4)).astype(np.float32)
    image = ImagePreprocessing(size, size)
    preprocessing = BoxPreprocessing(image)
    plain = image.finish(torch.stack([image.prepare(picture)]))
    for item, first, boxes in (
        (Box(picture, tuple(corners[0].tolist()), 70_000), 70_000, corners[:1]),
        (Boxes(picture, corners), 9, corners),
    ):
        made = preprocessing.finish(torch.stack([preprocessing.prepare(item)]))
        torch.testing.assert_close(made[:, :, : size[0]], plain)
        said = made[0, :, size[0] :].flatten()
        assert said[0] == first
        np.testing.assert_array_equal(said[1 : 1 + boxes.size].numpy(), boxes.reshape(-1))
        assert not said[1 + boxes.size :].any()
    torch.testing.assert_close(preprocessing.finish(torch.stack([preprocessing.prepare(picture)])), plain)


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_features_of_timm_are_its_last_map_in_each_box(here: Path, name: str) -> None:
    settings: dict[str, Any] = {"img_size": 64} if name.startswith("vit") else {}
    model = timm_folder(here / "model", name, **settings)
    images, targets = scenes(6)
    probe = ms.Probe.of((images, targets))
    with torch.no_grad():
        maps = model.forward_intermediates(
            shown(images, settings.get("img_size", 224)), indices=1, norm=True, intermediates_only=True
        )[-1]
    found = ms.features(probe, "dir:model", progress=False)
    assert probe.groups is not None
    corners = np.array([probe.item(row).corners for row in range(len(probe))])
    expected = by_torchvision(maps, probe.groups.tolist(), corners)
    np.testing.assert_allclose(found.features, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(found.labels, probe.labels)
    np.testing.assert_array_equal(found.groups, probe.groups)


def test_features_at_layers_are_hidden_states_in_each_box(here: Path) -> None:
    import transformers

    module = vit_folder(here / "model", "ViTModel")
    half: Any = {"size": {"height": SIDE, "width": SIDE}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    transformers.ViTImageProcessor(**half).save_pretrained(here / "model")
    images, targets = scenes(6)
    probe = ms.Probe.of((images, targets))
    assert probe.groups is not None
    corners = np.array([probe.item(row).corners for row in range(len(probe))])
    side = SIDE // VISION["patch_size"]
    with torch.no_grad():
        output = module.base_model(shown(images, SIDE, "bilinear"), output_hidden_states=True)
    found = ms.features(probe, ["dir:model?layer=*", "dir:model"], cache_dir=here / "a", progress=False)
    assert len(found) == 3
    for key, evidence in found.items():
        layer = key.partition("layer=")[2].partition("@")[0]
        tokens = output.hidden_states[int(layer)] if layer else output.last_hidden_state
        maps = tokens[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        expected = by_torchvision(maps, probe.groups.tolist(), corners)
        np.testing.assert_allclose(evidence.features, expected, rtol=1e-3, atol=1e-3)
        alone = ms.features(probe, key.removeprefix("layer:").partition("@")[0], cache_dir=here / "b", progress=False)
        np.testing.assert_allclose(evidence.features, alone.features, rtol=1e-5, atol=1e-5)


# --- fine-tuning -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["full", "head", "lora"])
def test_the_verified_precision_is_that_of_the_kept_weights_by_torchvision_and_scikit_learn(
    here: Path, method: str
) -> None:
    verified, kept, model, held = tuned(here, method, [BACKGROUND, "cup", "plate"])
    size = model.pretrained_cfg["input_size"][1]
    wholes = [held.item(row) for row in range(len(held))]
    row, place = np.nonzero(held.targets >= 0)
    with torch.no_grad():
        maps = model.forward_features(shown([np.asarray(whole.image) for whole in wholes], size))
    corners = np.array([wholes[r].corners[p] for r, p in zip(row, place, strict=True)])
    features = by_torchvision(maps, row.tolist(), corners)
    scores = features @ kept["head.weight"].T + kept["head.bias"]
    chances = torch.tensor(scores).double().softmax(1).numpy()
    labels = held.targets[row, place]
    expected = [average_precision_score(labels == label, chances[:, label]) for label in (1, 2)]
    assert verified.accuracy == pytest.approx(np.mean(expected), abs=2e-2)  # two boxes may be as probable
    assert verified.metrics["accuracy"] == pytest.approx(float((scores.argmax(1) == labels).mean()), abs=2e-2)
    assert verified.rows == len(held)
    assert verified.interval[0] <= verified.accuracy <= verified.interval[1]


@pytest.mark.parametrize(
    ("data", "arguments"),
    [
        ("data", ("--verify", "head", "--epochs", "60")),
        ("table.parquet", ("--verify", "head", "--epochs", "60")),
        ("data", ("--verify", "full", "--epochs", "1")),
        ("data", ("--verify", "lora", "--epochs", "1", "--task", "detection")),
        ("data", ("--layers", "best", "-e", "logme,knn,linear_probe", "--epochs", "1", "--verify", "head")),
    ],
)
def test_boxes_are_ranked_and_fine_tuned_from_the_command_line(
    here: Path, capsys: pytest.CaptureFixture[str], data: str, arguments: tuple[str, ...]
) -> None:
    text_folder(here / "text")
    table(*scenes(40)).to_parquet(here / "table.parquet")
    code, out, error = run(
        capsys, "select", data, *arguments, "-c", "embedded:resnet*", "-c", "dir:text", "--top-k", "1",
        "--json", "board.json", "--history", "history.sqlite", "-q",
    )  # fmt: skip
    assert code == 0, error
    board = ms.Leaderboard.load(here / "board.json")
    assert len(board.ranked) == 2
    assert board.provenance["task"]["name"] == "detection"
    assert board.provenance["task"]["metrics"] == ["box_map", "accuracy"]
    assert board.best.verified_accuracy is not None
    assert "Each row is a box: " in (here / "board.json").read_text()
    failed = next(row for row in board.rows if "text" in row.candidate.name and row not in board.ranked)
    assert "the features of each pixel" in str(failed)
    kept = {result.metric for result in ms.History(here / "history.sqlite").results()}
    assert {metric for metric in kept if metric.startswith("detection:")}
    if "60" in arguments:
        assert board.best.verified_accuracy > board.provenance["task"]["chance"] + 0.2, out
    board.report(here / "board.html")
    assert "box mAP" in (here / "board.html").read_text("utf-8")


def test_the_winner_is_saved_and_says_that_it_predicts_no_boxes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    timm_folder(here / "model", "resnet10t", in_chans=3)
    code, _, error = run(
        capsys, "select", "data", "-c", "dir:model", "-e", "logme", "--top-k", "1", "--epochs", "1", "--save", "winner",
        "--json", "board.json", "-q",
    )  # fmt: skip
    assert code == 0, error
    loaded = ms.load(here / "winner")
    with torch.no_grad():
        maps = loaded.module.body.forward_features(torch.zeros(1, 3, 64, 64))
    assert maps.shape[0] == 1
    with pytest.raises(CandidateError, match="the model tells the class of given boxes"):
        loaded.predict(here / "data/images")
    code, _, error = run(capsys, "predict", "winner", "data/images")
    assert code != 0
    assert "the model tells the class of given boxes" in error
    board = ms.Leaderboard.load(here / "board.json")
    for said in (
        next_step(board, Kept(winner="winner")),
        loading_code(board.best, Kept(winner="winner"), of_boxes=True),
    ):
        assert "module.body" in str(said)
        assert "predict" not in str(said)
    with pytest.raises(CandidateError, match="was fine-tuned for boxes already"):
        ms.features(here / "data", "dir:winner", progress=False)
    with pytest.raises(InvalidInputError, match="scripts are written for classes"):
        board.script("timm")


def test_a_plan_a_budget_costs_a_benchmark_and_a_default_ranking_take_boxes(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for more in (("--dry-run",), ("--budget", "20s"), ("--costs",), ()):
        code, out, error = run(capsys, "select", "data", "-c", "embedded:resnet*", "-q", *more)
        assert code == 0, (more, out, error)
    code, out, error = run(
        capsys, "benchmark", "embedded:resnet*", "data", "-e", "logme,knn", "--epochs", "1", "--verify", "head", "-q",
    )  # fmt: skip
    assert code == 0, (out, error)


def test_brief_tuning_rounds_all_estimators_and_history_know_the_task(here: Path) -> None:
    write(here / "more", *scenes(60))
    settings: dict[str, Any] = {"progress": False, "history": here / "history.sqlite"}
    board = ms.select(
        here / "more", "embedded:resnet*", tune=2, top_k=1, epochs=2, budget="10min", estimators="all", **settings
    )
    assert board.metric == "box mAP"
    assert all(row.brief_accuracy is not None for row in board.rows)
    assert board.best.verified_accuracy is not None
    assert {"logme", "knn", "linear_probe", "h_score", "evidence"} <= board.best.scores.keys()
    assert all(result.metric.startswith("detection:") for result in ms.History(here / "history.sqlite").results())
    again = ms.select(here / "data", "embedded:resnet*", rounds=True, progress=False, history=False)
    assert len(again.ranked) == 2
    assert {"ncti_source", "persistence_source"} & board.best.scores.keys(), "whole images of the source are boxes"
    images, targets = scenes(40)
    classes = ms.select(
        (images, [len(names) for _, names in targets]), "embedded:resnet*", estimators="logme,knn", **settings
    )
    assert classes.provenance["task"]["name"] != "detection"
    other = [row.scores["logme"] for row in classes.rows]
    assert not set(other) & {row.scores["logme"] for row in board.rows}


def test_other_rows_and_other_tasks_are_refused(here: Path) -> None:
    with pytest.raises(DatasetError, match=r"the task is detection, which needs images with boxes"):
        get_host().task("detection").of_rows(ms.Probe.of((np.zeros((8, 9, 9, 3), np.uint8), [0, 1] * 4)))
    with pytest.raises(DatasetError, match="each row of data is a box"):
        get_host().task("classification").of_rows(ms.Probe.of(here / "data"))
