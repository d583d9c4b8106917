"""The torchvision zoo: its names and metadata, weights from torch's cache without running pickled code, its numbers."""

from __future__ import annotations

import os
import pickle
import re
import sys
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torchvision import models

from modelselect import Candidate
from modelselect.candidates.layouts import pool
from modelselect.candidates.metadata import METADATA_FIELDS
from modelselect.candidates.preprocessing import ImagePreprocessing, example_batch
from modelselect.errors import CandidateError, ExpressionError
from modelselect.verification.model import load
from modelselect_plugins.zoos.torchvision import TorchvisionZoo
from tests.verification.tuned import NAMES, agrees, batch_of, tuned_row

ZOO = TorchvisionZoo()


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torch looks for downloaded weights; there is no network."""

    def no_network(*_: Any, **__: Any) -> None:
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", no_network)
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    return folder


def only(pattern: str) -> Candidate:
    (candidate,) = ZOO.search(pattern)
    return candidate


def put_checkpoint(folder: Path, model: str, state: Any) -> None:
    torch.save(state, folder / models.get_model_weights(model).DEFAULT.url.rsplit("/", 1)[-1])  # type: ignore[attr-defined]


def random_state(model: str, **arguments: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    state: dict[str, torch.Tensor] = models.get_model(model, weights=None, **arguments).state_dict()
    return state


# --- search ----------------------------------------------------------------------------------------------------------


def test_every_classifiers_weights_are_listed_but_those_without_classes() -> None:
    listed = {candidate.name for candidate in ZOO.search("*")}
    expected = {f"{m}.{w.name}" for m in models.list_models(module=models) for w in models.get_model_weights(m)}
    assert listed == expected - {"vgg16.IMAGENET1K_FEATURES"}


def test_a_bare_model_means_its_default_weights() -> None:
    assert only("resnet50").id == only("resnet50.DEFAULT").id == "torchvision:resnet50.IMAGENET1K_V2@11ad3fa6"


def test_a_glob_without_weights_means_all_of_them() -> None:
    assert [c.name for c in ZOO.search("*resnet50")] == ["resnet50.IMAGENET1K_V1", "resnet50.IMAGENET1K_V2"]
    assert [c.name for c in ZOO.search("resnet50.*_v1")] == ["resnet50.IMAGENET1K_V1"]
    assert not ZOO.search("no_such*")


def test_an_id_finds_its_candidate_again_and_no_other_revision() -> None:
    candidate = only("resnet50.IMAGENET1K_V1")
    assert only(candidate.id.removeprefix("torchvision:")) == candidate
    with pytest.raises(ExpressionError, match="have revision 0676ba61 here, not 11ad3fa6"):
        ZOO.search("resnet50.IMAGENET1K_V1@11ad3fa6")


@pytest.mark.parametrize("pattern", ["resnet51", "resnet50.IMAGENET1K_V3"])
def test_an_exact_name_that_is_unknown_is_an_error_with_advice(pattern: str) -> None:
    with pytest.raises(ExpressionError, match=r"Did you mean 'resnet50"):
        ZOO.search(pattern)


def test_metadata_comes_from_the_weights() -> None:
    assert only("vit_b_16.IMAGENET1K_SWAG_E2E_V1").metadata == {
        "architecture": "vit_b_16",
        "family": "vision_transformer",
        "modality": "image",
        "parameters": 86_859_496,
        "input_size": (3, 384, 384),
        "source_dataset": "Instagram-3.6B -> ImageNet-1k",
        "source_classes": 1000,
        "source_accuracy": 85.304,
        "macs": 55_484_000_000,
        "size_bytes": round(331.398 * 2**20),
        "license": "https://github.com/facebookresearch/SWAG/blob/main/LICENSE",
        "url": "https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.vit_b_16.html",
        "remote_code": False,
    }


def test_metadata_is_known_for_all() -> None:
    for candidate in ZOO.search("*"):
        assert {"parameters", "input_size", "source_accuracy", "source_classes", "size_bytes"} <= set(
            candidate.metadata
        )
        assert set(candidate.metadata) <= {*METADATA_FIELDS, "macs"}
        assert candidate.revision


def as_published(densenet: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """With the names that DenseNet's layers had when its weights were published."""
    old = re.compile(r"(denselayer\d+\.(?:norm|conv))([12])")
    return {old.sub(r"\1.\2", key): value for key, value in densenet.items() if "num_batches" not in key}


# --- load ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model", ["mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1", "mnasnet0_5", "googlenet", "densenet121"]
)
def test_a_loaded_model_is_torchvisions_own(model: str, checkpoints: Path, capfd: pytest.CaptureFixture[str]) -> None:
    state = random_state(model, **({"aux_logits": True, "init_weights": False} if model == "googlenet" else {}))
    if model == "densenet121":
        state = as_published(state)
    put_checkpoint(checkpoints, model, state)
    capfd.readouterr()
    backbone = ZOO.load(only(model))
    assert capfd.readouterr().out == ""
    reference = models.get_model(model, weights="DEFAULT").eval()
    images = example_batch(backbone.preprocessing)
    with torch.inference_mode():
        outputs = backbone.read(backbone.module, images)
        assert torch.equal(outputs.logits, reference(images))
        assert outputs.features.shape[0] == 2
        assert torch.isfinite(outputs.features).all()
    assert sum(p.numel() for p in backbone.module.parameters()) == backbone.candidate.metadata["parameters"]
    transform = models.get_model_weights(model).DEFAULT.transforms()  # type: ignore[attr-defined]
    assert isinstance(backbone.preprocessing, ImagePreprocessing)
    assert backbone.preprocessing.does_the_same_as(transform)


def test_features_are_what_the_classifier_is_given(checkpoints: Path) -> None:
    put_checkpoint(checkpoints, "mobilenet_v3_small", random_state("mobilenet_v3_small"))
    put_checkpoint(checkpoints, "squeezenet1_1", random_state("squeezenet1_1"))
    mobilenet, squeezenet = ZOO.load(only("mobilenet_v3_small")), ZOO.load(only("squeezenet1_1"))
    with torch.inference_mode():
        images = example_batch(mobilenet.preprocessing)
        module: Any = mobilenet.module
        expected = module.classifier[:3](module.avgpool(module.features(images)).flatten(1))
        assert torch.equal(mobilenet.read(module, images).features, expected)
        module = squeezenet.module
        assert torch.equal(squeezenet.read(module, images).features, pool(module.features(images)))


def test_other_weights_have_another_key(checkpoints: Path) -> None:
    state = random_state("shufflenet_v2_x0_5")
    put_checkpoint(checkpoints, "shufflenet_v2_x0_5", state)
    key = ZOO.load(only("shufflenet_v2_x0_5")).weights_key
    assert ZOO.load(only("shufflenet_v2_x0_5")).weights_key == key
    state["fc.bias"][0] += 1
    put_checkpoint(checkpoints, "shufflenet_v2_x0_5", state)
    assert ZOO.load(only("shufflenet_v2_x0_5")).weights_key != key


class Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_pickle_that_runs_code_is_refused_and_runs_none(how: str, checkpoints: Path) -> None:
    target = checkpoints / "ran"
    if how == "torch":
        put_checkpoint(checkpoints, "squeezenet1_1", {"x": Payload(target)})
    else:
        name = models.get_model_weights("squeezenet1_1").DEFAULT.url.rsplit("/", 1)[-1]  # type: ignore[attr-defined]
        (checkpoints / name).write_bytes(pickle.dumps(Payload(target), protocol=2))
    with pytest.raises(CandidateError, match="the weights cannot be read"):
        ZOO.load(only("squeezenet1_1"))
    assert not target.exists()


def test_damaged_or_foreign_weights_cost_one_line(checkpoints: Path) -> None:
    put_checkpoint(checkpoints, "squeezenet1_1", random_state("squeezenet1_0"))
    with pytest.raises(CandidateError, match="do not fit the architecture") as caught:
        ZOO.load(only("squeezenet1_1"))
    assert "\n" not in str(caught.value)
    (path,) = checkpoints.iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CandidateError, match="delete it and run again") as caught:
        ZOO.load(only("squeezenet1_1"))
    assert "\n" not in str(caught.value)


def test_offline_says_where_to_put_the_file(checkpoints: Path) -> None:
    with pytest.raises(
        CandidateError, match=r"download https://.*/resnet18-f37072fd\.pth, then copy the file to"
    ) as caught:
        ZOO.load(only("resnet18"))
    assert str(checkpoints) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(checkpoints.iterdir())


@pytest.mark.parametrize("head_only", [False, True])
def test_a_saved_winner_needs_no_weights_of_torchvision(
    head_only: bool, checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELSELECT_CACHE", str(tmp_path / "cache"))
    put_checkpoint(checkpoints, "shufflenet_v2_x0_5", random_state("shufflenet_v2_x0_5"))
    row, expected = tuned_row("torchvision:shufflenet_v2_x0_5", head_only=head_only)
    row.save(tmp_path / "winner")
    for file in checkpoints.iterdir():
        file.unlink()
    model = load(tmp_path / "winner")
    with torch.no_grad():
        logits = model.read(model.module, batch_of(model)).logits
    assert logits is not None
    assert agrees(logits, expected)
    assert model.class_names == NAMES


@pytest.mark.parametrize("model", ["googlenet", "maxvit_t", "swin_t", "vgg11", "convnext_tiny", "resnet18"])
def test_a_skeleton_has_the_architecture_and_no_weights(model: str) -> None:
    candidate = only(model)
    skeleton = ZOO.skeleton(candidate)
    assert sum(p.numel() for p in skeleton.parameters()) == candidate.metadata["parameters"]
    assert all(p.is_meta for p in skeleton.parameters())
    assert not skeleton.training


def test_heads_that_only_training_uses_are_left_out() -> None:
    skeleton = ZOO.skeleton(only("inception_v3"))
    auxiliary = 3_326_696  # parameters of its second classifier
    assert sum(p.numel() for p in skeleton.parameters()) == only("inception_v3").metadata["parameters"] - auxiliary


def test_a_library_that_cannot_be_imported_is_reported_with_what_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ZOO.availability() is None
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert "pip install --upgrade torch torchvision" in str(ZOO.availability())
    with pytest.raises(ExpressionError, match="cannot be used here: torchvision cannot be imported"):
        ZOO.search("resnet18")


def test_a_regnet_has_a_skeleton_though_it_cannot_be_built_on_the_meta_device() -> None:
    candidate = only("regnet_x_400mf.IMAGENET1K_V1")
    skeleton = ZOO.skeleton(candidate)
    assert all(parameter.is_meta for parameter in skeleton.parameters())
    assert sum(parameter.numel() for parameter in skeleton.parameters()) == candidate.metadata["parameters"]
