"""Pixels of images: maps against the libraries, mIoU against scikit-learn, and whole runs on shapes from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import jaccard_score
from torch.nn import functional
from torchmetrics.classification import MulticlassJaccardIndex

import modelselect as ms
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.preprocessing import ImagePreprocessing
from modelselect.errors import CandidateError, DatasetError, InvalidInputError
from modelselect.evaluation.context import EvaluationContext
from modelselect.evaluation.description import Describer
from modelselect.evaluation.keys import Keys
from modelselect.evaluation.loading import Loader
from modelselect.evaluation.training_memory import TrainingMemory
from modelselect.extraction.inputs import InputCache
from modelselect.host.host import get_host
from modelselect.host.lookup import task_of
from modelselect.selection.affordable import epoch_passes, fine_tuning_passes
from modelselect.tasks import Metric
from modelselect.testing.tasks import check_task
from modelselect.verification import FineTuning
from modelselect.verification.parts import MaskFiles
from modelselect_plugins.tasks import segmentation
from modelselect_plugins.tasks._maps import whole_image
from modelselect_plugins.tasks.segmentation import MEAN_IOU, Segmentation
from tests.cli.conftest import run
from tests.plugins.tasks.dense import shown, timm_folder, tuned
from tests.plugins.zoos.image_models import SIDE, VISION, vit_folder
from tests.plugins.zoos.text_models import text_folder
from tests.probe.test_masks import scenes, write

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data", *shapes(40))
    return tmp_path


def shapes(count: int, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Squares with horizontal stripes and squares with vertical ones, on noise; their places differ."""
    rng = np.random.default_rng(seed)
    images, masks = [], []
    for _ in range(count):
        mask = np.zeros((64, 64), np.uint8)
        pixels = rng.integers(0, 256, (64, 64, 3))
        for kind in (1, 2):
            y, x = rng.integers(0, 36, 2)
            mask[y : y + 28, x : x + 28] = kind
        stripes = np.broadcast_to(255 * (np.arange(64) // 2 % 2), (64, 64))
        pixels = np.where((mask == 1)[..., None], stripes.T[..., None], pixels)
        pixels = np.where((mask == 2)[..., None], stripes[..., None], pixels)
        mask[0] = 255
        images.append(pixels.astype(np.uint8))
        masks.append(mask)
    return images, masks


def test_the_task_keeps_its_promises() -> None:
    check_task(get_host().task("segmentation"))


# --- the metric ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 5])
def test_miou_is_that_of_scikit_learn_and_of_torchmetrics(classes: int) -> None:
    rng = np.random.default_rng(classes)
    for _ in range(30):
        targets = rng.integers(-1, classes, (4, 6, 7))
        said = np.where(
            rng.random(targets.shape) < 0.5, np.maximum(targets, 0), rng.integers(0, classes, targets.shape)
        )
        known = targets >= 0
        found = MEAN_IOU.measure(targets, said)
        assert found == pytest.approx(jaccard_score(targets[known], said[known], average="macro"), abs=1e-12)
        theirs = MulticlassJaccardIndex(classes, ignore_index=-1)(torch.tensor(said), torch.tensor(targets))
        assert found == pytest.approx(float(theirs), abs=1e-6)
    expected = Metric(MEAN_IOU.name, MEAN_IOU.title, MEAN_IOU.measure).interval(targets, said, seed=1)
    assert MEAN_IOU.interval(targets, said, seed=1) == pytest.approx(expected, abs=1e-12)


# --- evidence --------------------------------------------------------------------------------------------------------


def at_rows(maps: torch.Tensor, probe: ms.Probe) -> np.ndarray:
    """(N, D) what torch's own interpolation gives at the probe's pixels, from maps (I, D, H, W) of all images."""
    assert probe.groups is not None
    items = [probe.item(row) for row in range(len(probe))]
    grid = torch.tensor([[[[2 * item.x - 1, 2 * item.y - 1]]] for item in items], dtype=torch.float32)
    found = functional.grid_sample(
        maps[torch.tensor(probe.groups)], grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return found[:, :, 0, 0].numpy()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("resnet18", {}),
        ("convnext_atto", {}),
        ("vit_tiny_patch16_224", {"img_size": 64}),
        ("swin_tiny_patch4_window7_224", {}),
        ("vit_small_patch14_reg4_dinov2", {"img_size": 70, "depth": 2}),
    ],
)
def test_features_of_timm_are_its_last_map_at_each_pixel(here: Path, name: str, settings: dict[str, Any]) -> None:
    model = timm_folder(here / "model", name, **settings)
    images, masks = scenes(6)
    probe = ms.Probe.of((images, masks), size=40)
    with torch.no_grad():
        made = model.forward_intermediates(
            shown(images, settings.get("img_size", 224)), indices=1, norm=True, intermediates_only=True
        )
        if name in ("swin_tiny_patch4_window7_224", "convnext_atto"):  # their norm comes after the last intermediate
            made = [model.forward_features(shown(images, 224))]
    maps = made[-1].permute(0, 3, 1, 2) if name.startswith("swin") else made[-1]
    found = ms.features(probe, "dir:model", progress=False)
    assert found.features is not None
    np.testing.assert_allclose(found.features, at_rows(maps, probe), rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(found.labels, probe.labels)
    np.testing.assert_array_equal(found.groups, probe.groups)


@pytest.mark.parametrize("model", ["ViTForImageClassification", "ViTModel"])
def test_features_of_transformers_are_hidden_states_at_each_patch_and_layer(here: Path, model: str) -> None:
    import transformers

    module = vit_folder(here / "model", model)
    half: Any = {"size": {"height": SIDE, "width": SIDE}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    transformers.ViTImageProcessor(**half).save_pretrained(here / "model")
    images, masks = scenes(6)
    probe = ms.Probe.of((images, masks), size=40)
    side = SIDE // VISION["patch_size"]
    with torch.no_grad():
        output = module.base_model(shown(images, SIDE, "bilinear"), output_hidden_states=True)

    def maps(tokens: torch.Tensor) -> torch.Tensor:
        return tokens[:, 1:].transpose(1, 2).unflatten(2, (side, side))

    found = ms.features(probe, ["dir:model?layer=*", "dir:model"], cache_dir=here / "a", progress=False)
    assert len(found) == 3
    for key, evidence in found.items():
        layer = key.partition("layer=")[2].partition("@")[0]
        expected = maps(output.hidden_states[int(layer)] if layer else output.last_hidden_state)
        np.testing.assert_allclose(evidence.features, at_rows(expected, probe), rtol=1e-3, atol=1e-3)
        alone = ms.features(probe, key.removeprefix("layer:").partition("@")[0], cache_dir=here / "b", progress=False)
        np.testing.assert_allclose(evidence.features, alone.features, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "vit_b_32", "swin_t", "mobilenet_v3_small", "densenet121"])
def test_the_map_of_torchvision_is_what_it_pools(name: str) -> None:
    import torchvision

    module = torchvision.models.get_model(name, weights=None).eval()
    candidate, preprocessing = ms.search("embedded:resnet.letters")[0], ImagePreprocessing((224, 224), 232)
    from modelselect.candidates.inspection import reader_for_module

    images = torch.rand(2, 3, 224, 224)
    read = reader_for_module(module, images)
    backbone = Backbone(candidate, module, preprocessing, read, "weights")
    ready = get_host().task("segmentation").training(get_host().task("segmentation").reading(backbone))
    with torch.no_grad():
        found = ready.read(module, images).features
        pooled = read(module, images).features
    if name == "vit_b_32":
        assert found.shape == (2, 7, 7, 768)
    elif name == "mobilenet_v3_small":
        assert found.shape == (2, 7, 7, 576)
    else:
        means = found.relu().mean((1, 2)) if name == "densenet121" else found.mean((1, 2))
        torch.testing.assert_close(means, pooled, rtol=1e-4, atol=1e-4)


def test_an_image_is_read_once_for_its_pixels_in_a_batch(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    timm_folder(here / "model", "resnet18")
    loaded = get_host().zoo("directory").load(ms.search("dir:model")[0])
    conv = type(loaded.module.conv1)
    forward = conv.forward

    def counted(self: Any, batch: torch.Tensor) -> torch.Tensor:
        if batch.shape[1] == 3:
            seen.append(len(batch))
        return forward(self, batch)  # type: ignore[no-any-return]

    monkeypatch.setattr(conv, "forward", counted)
    probe = ms.Probe.of(scenes(4))
    ms.features(probe, "dir:model", batch_size=48, progress=False)
    assert len(probe) == 192
    assert sum(seen) <= 4 * 3 + 8  # 4 batches of 48 pixels, each of one image; and trials


def test_outputs_are_enlarged_a_few_classes_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = np.random.default_rng(0).normal(size=(3, 4, 5, 7)).astype(np.float32)
    outputs[..., 6] = outputs[..., 2]  # of equal outputs, the first class
    targets = np.zeros((3, 20, 30))
    large = functional.interpolate(
        torch.from_numpy(outputs).permute(0, 3, 1, 2), size=(20, 30), mode="bilinear", align_corners=False
    )
    for at_once in (1, 2 * 20 * 30, 5 * 20 * 30, 1 << 26):
        monkeypatch.setattr(segmentation, "_ENLARGED_AT_ONCE", at_once)
        np.testing.assert_array_equal(Segmentation().decoded(outputs, targets), large.argmax(1).numpy())


@pytest.mark.parametrize("candidate", ["embedded:vit.letters", "embedded:resnet.letters"])
def test_what_is_kept_for_all_tasks_does_not_depend_on_the_task_and_costs_do(here: Path, candidate: str) -> None:
    """An image is read once for its pixels, so their latency is another one."""
    found, costs = [], set()
    for probe in (ms.Probe.of(here / "data"), ms.Probe.of((list(np.zeros((8, 32, 32, 3), np.uint8)), [0, 1] * 4))):
        task = task_of(get_host(), "auto", probe)
        context = EvaluationContext(
            probe=probe, cache_dir=here / f"store{len(found)}", spool=InputCache(None), task=task
        )
        loader = Loader(context, ms.search(candidate)[0])
        costs.add(Keys(loader).costs())
        assert loader.backbone is not None  # so that there are weights to trace
        described = Describer(loader).describe()
        found.append((described.macs, described.graph, TrainingMemory(loader).bytes() is not None))
    assert found[0] == found[1]
    assert found[0][0] is not None
    assert found[0][2]
    assert len(costs) == 2


def test_an_image_without_a_pixel_gives_the_mean_of_its_map(here: Path) -> None:
    """Such as those of a source, which estimators compare with the user's."""
    model = timm_folder(here / "model", "resnet18")
    loaded = get_host().task("segmentation").reading(get_host().zoo("directory").load(ms.search("dir:model")[0]))
    images = scenes(3)[0]
    rows = torch.stack([loaded.preprocessing.prepare(Image.fromarray(image)) for image in images])
    with torch.no_grad():
        found = loaded.read(loaded.module, loaded.preprocessing.finish(rows)).features
        expected = model.forward_features(shown(images, 224)).mean((2, 3))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_a_preprocessing_is_known_by_what_it_makes_of_black_and_white() -> None:
    from torchvision import transforms

    from modelselect.candidates.preprocessing import CallablePreprocessing

    steps: Any = transforms.Compose(
        [transforms.Resize(40), transforms.CenterCrop(32), transforms.ToTensor(), transforms.Normalize([0.4], [0.2])]
    )
    found = whole_image(CallablePreprocessing(steps, "own"))
    assert (found.size, found.resize) == ((32, 32), (32, 32))
    assert found.mean == pytest.approx((0.4,) * 3, abs=1e-6)
    assert found.std == pytest.approx((0.2,) * 3, abs=1e-6)
    bent: Any = transforms.Compose([steps, transforms.Lambda(lambda tensor: tensor.exp())])
    with pytest.raises(CandidateError, match="does more than resizing and normalising"):
        whole_image(CallablePreprocessing(bent, "bent"))


# --- fine-tuning -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["full", "head", "lora"])
def test_the_verified_miou_is_that_of_the_kept_weights_by_timm_and_scikit_learn(here: Path, method: str) -> None:
    verified, kept, model, held = tuned(here, method, ["0", "1", "2"])
    size = model.pretrained_cfg["input_size"][1]
    with torch.no_grad():
        maps = model.forward_features(shown([np.asarray(held.item(row)) for row in range(len(held))], size))
        weight, bias = (torch.tensor(kept[f"head.{name}"]) for name in ("weight", "bias"))
        logits = functional.conv2d(maps, weight[:, :, None, None], bias)
        large = functional.interpolate(logits, size=held.targets.shape[1:], mode="bilinear", align_corners=False)
    said, known = large.argmax(1).numpy(), held.targets >= 0
    expected = jaccard_score(held.targets[known], said[known], average="macro")
    assert verified.accuracy == pytest.approx(expected, abs=2e-3)  # a pixel between two classes may go to either
    assert verified.metrics["accuracy"] == pytest.approx(float((said == held.targets)[known].mean()), abs=2e-3)
    assert verified.rows == len(held)
    assert verified.interval[0] <= verified.accuracy <= verified.interval[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--verify", "head", "--epochs", "60"),
        ("--verify", "full", "--epochs", "1"),
        ("--verify", "lora", "--epochs", "1", "--task", "segmentation"),
        ("--layers", "best", "--epochs", "1", "--verify", "head"),
    ],
)
def test_shapes_are_ranked_and_fine_tuned_from_the_command_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    text_folder(here / "text")
    code, out, error = run(
        capsys, "select", "data", *arguments, "-c", "embedded:resnet*", "-c", "dir:text", "--top-k", "1",
        "--json", "board.json", "--history", "history.sqlite", "-q",
    )  # fmt: skip
    assert code == 0, error
    board = ms.Leaderboard.load(here / "board.json")
    assert len(board.ranked) == 2
    assert board.provenance["task"]["name"] == "segmentation"
    assert board.provenance["task"]["metrics"] == ["mean_iou", "accuracy"]
    assert board.best.verified_accuracy is not None
    failed = next(row for row in board.rows if "text" in row.candidate.name and row not in board.ranked)
    assert "the features of each pixel" in str(failed)
    kept = {result.metric for result in ms.History(here / "history.sqlite").results()}
    assert "segmentation:accuracy" in kept
    if "60" in arguments:
        assert board.best.verified_accuracy > board.provenance["task"]["chance"] + 0.1, out


def test_the_winner_is_saved_and_predicts_masks(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    timm_folder(here / "model", "resnet10t", in_chans=3)
    code, _, error = run(
        capsys, "select", "data", "-c", "dir:model", "-e", "logme", "--top-k", "1", "--epochs", "1", "--verify", "head",
        "--save", "winner", "--json", "board.json", "-q",
    )  # fmt: skip
    assert code == 0, error
    images = scenes(3)[0]
    (here / "new").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(here / "new" / f"{number}.png")
    (here / "new" / "2.png").write_bytes(b"no image")
    loaded = ms.load(here / "winner")
    found = loaded.predict(here / "new", batch_size=2)
    for image, row in zip(images[:2], found[:2], strict=True):
        size = loaded.preprocessing.image.size[0]  # type: ignore[attr-defined]
        with torch.no_grad():
            maps = loaded.module.body.forward_features(shown([image], size)).permute(0, 2, 3, 1)
            logits = loaded.module.head(maps).permute(0, 3, 1, 2)
            large = functional.interpolate(logits, size=image.shape[:2], mode="bilinear", align_corners=False)
        assert row.label.shape == image.shape[:2]
        assert (row.label == large[0].argmax(0).numpy()).mean() > 0.999
    assert found[2].label is None
    assert np.isnan(found.probabilities[2]).all()
    assert found.probabilities[:2].sum(1) == pytest.approx([1, 1])
    again = ms.Leaderboard.load(here / "board.json").best.predict(images[:2])
    assert all((a.label == b.label).all() for a, b in zip(again, found[:2], strict=True))
    code, out, error = run(capsys, "predict", "winner", "new", "--masks", "masks")
    assert code == 0, error
    assert sorted(path.name for path in (here / "masks").iterdir()) == ["0.png", "1.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(here / "masks" / "1.png")), found[1].label)
    kept = loaded.predict(here / "new", masks=here / "kept")
    assert [row.label for row in kept] == [str(here / "kept/0.png"), str(here / "kept/1.png"), None]
    assert all(row.label is None for row in loaded.predict(here / "new", masks=False))
    (here / "twice").mkdir()
    Image.fromarray(images[0]).save(here / "twice" / "0.jpg")
    code, _, error = run(capsys, "predict", "winner", "new", "twice", "--masks", "others")
    assert (code, (here / "others").exists()) == (2, False)
    assert "two images are called '0'" in error
    code, out, _ = run(capsys, "predict", "winner", "new", "--json")
    assert set(json.loads(out)[0]) == {"input", "values", "reason"}
    with pytest.raises(CandidateError, match="was fine-tuned for pixels already"):
        ms.features(here / "data", "dir:winner", progress=False)


def test_masks_are_written_one_by_one_in_as_many_bits_as_classes_need(here: Path) -> None:
    for classes, kind in (([0, 255], np.uint8), ([0, 300], np.uint16)):
        write_mask = MaskFiles(here / "out", ["a/x.jpg", "y.png"], np.array(classes))
        mask = np.array([[0, classes[1]]], np.int16)
        assert write_mask("a/x.jpg", mask) == str(here / "out" / "x.png")
        found = np.asarray(Image.open(here / "out" / "x.png"))
        assert (found.dtype, found.tolist()) == (kind, mask.tolist())
    for classes in ([-2, 3], [0, 70_000]):
        with pytest.raises(InvalidInputError, match="have no grey values"):
            MaskFiles(here / "none", ["x"], np.array(classes))
    (here / "file").write_text("")
    with pytest.raises(InvalidInputError, match="cannot write masks to"):
        MaskFiles(here / "file", ["x"], np.array([0, 1]))


def test_estimates_count_images_and_the_memory_of_masks(here: Path) -> None:
    probe = ms.Probe.of(here / "data", size=50, holdout=0.25)
    assert probe.holdout is not None
    assert (probe.training.n_inputs, probe.holdout.n_inputs) == (30, 10)
    assert fine_tuning_passes(FineTuning(epochs=2), "head", probe) == 40
    assert epoch_passes(probe) == 30 * 3
    memory = {}
    for name, data in (("pixels", here / "data"), ("images", (np.stack(shapes(20)[0]), [0, 1] * 10))):
        board = ms.select(
            data, "embedded:resnet.letters", estimators="logme", max_training_memory="8GB", progress=False
        )
        memory[name] = board.best.training_memory_bytes
        assert memory[name] is not None
    assert memory["pixels"] - memory["images"] == FineTuning().batch_size * 128 * 128 * 3 * 12


def test_a_plan_a_budget_and_costs_take_pixels(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more in (("--dry-run",), ("--budget", "20s"), ("--costs",)):
        code, out, error = run(capsys, "select", "data", "-c", "embedded:resnet*", "-e", "logme", "-q", *more)
        assert code == 0, (more, out, error)


def test_other_rows_and_other_tasks_are_refused(here: Path) -> None:
    with pytest.raises(DatasetError, match=r"the task is segmentation, which needs images with masks"):
        get_host().task("segmentation").of_rows(ms.Probe.of((np.zeros((8, 9, 9, 3), np.uint8), [0, 1] * 4)))
    with pytest.raises(DatasetError, match="each row of data is a pixel"):
        get_host().task("classification").of_rows(ms.Probe.of(here / "data"))
