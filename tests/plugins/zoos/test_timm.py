"""The timm zoo: names as timm has them, metadata without models, weights from the cache, and timm's own numbers."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform, resolve_model_data_config

from modelselect import Candidate
from modelselect.candidates.backbone import Preprocessing
from modelselect.candidates.metadata import METADATA_FIELDS, source_classes
from modelselect.candidates.preprocessing import CallablePreprocessing, ImagePreprocessing, example_batch
from modelselect.errors import CandidateError, ExpressionError
from modelselect_plugins.zoos._support import keep_registry, kept_registry
from modelselect_plugins.zoos._timm import models
from modelselect_plugins.zoos._timm.models import source_dataset, timm_backbone
from modelselect_plugins.zoos._timm.registry import registry
from modelselect_plugins.zoos.timm import TimmZoo

ZOO = TimmZoo()
TINY = "test_vit.r160_in1k"


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub's client, which may not go to the network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path


def put_into_cache(cache: Path, name: str, module: torch.nn.Module) -> None:
    """As the Hub's client leaves it after a download; in half precision."""
    repository = cache / f"models--timm--{name}"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True, exist_ok=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text("a" * 40)
    state = {k: v.half() if v.is_floating_point() else v for k, v in module.state_dict().items()}
    save_file({k: v.contiguous() for k, v in state.items()}, snapshot / "model.safetensors")


def only(pattern: str) -> Candidate:
    (candidate,) = ZOO.search(pattern)
    return candidate


# --- search ----------------------------------------------------------------------------------------------------------


def test_a_glob_means_all_pretrained_tags_that_timm_lists() -> None:
    for pattern in ("resnet1*", "*clip*", "vit_tiny_*.augreg_in21k", "no_such_thing*"):
        names = [candidate.name for candidate in ZOO.search(pattern)]
        assert names == timm.list_models(pattern, pretrained=True)


def test_every_pretrained_weight_is_listed_without_building_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("search must not build models")

    monkeypatch.setattr(timm, "create_model", forbidden)
    candidates = list(ZOO.search("*"))
    assert len(candidates) == len({candidate.id for candidate in candidates}) == len(timm.list_pretrained())
    assert all(set(candidate.metadata) <= set(METADATA_FIELDS) for candidate in candidates)


def test_a_kept_registry_gives_the_same_candidates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSELECT_CACHE", str(tmp_path))
    patterns = ("*", "resnet1*", "resnet18", "*.in1k")
    live = [[(c.id, c.metadata) for c in ZOO.search(pattern)] for pattern in patterns]
    keep_registry("timm", asdict(registry()))
    modules = {name: module for name, module in sys.modules.items() if name.split(".")[0] != "timm"}
    monkeypatch.setattr(sys, "modules", modules)
    monkeypatch.setattr("modelselect_plugins.zoos._timm.registry.required", lambda _: pytest.fail("timm was imported"))
    assert [[(c.id, c.metadata) for c in ZOO.search(pattern)] for pattern in patterns] == live


def test_a_registry_that_an_earlier_version_has_kept_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELSELECT_CACHE", str(tmp_path))

    def of_this_version(document: Mapping[str, Any]) -> str | None:
        return document.get("files")

    keep_registry("timm", {"names": "a"})
    assert kept_registry("timm", of_this_version) is None
    keep_registry("timm", {"names": "a", "files": "b"})
    assert kept_registry("timm", of_this_version) == "b"


def test_a_damaged_registry_is_kept_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSELECT_CACHE", str(tmp_path))
    keep_registry("timm", {"names": "a"})
    (file,) = tmp_path.rglob("registry/*/*.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert kept_registry("timm", dict) is None
    keep_registry("timm", {"names": "a"})
    assert kept_registry("timm", dict) == {"names": "a"}


def test_where_timm_is_imported_its_names_now_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSELECT_CACHE", str(tmp_path))
    keep_registry("timm", asdict(registry()))
    names = timm.list_models()
    monkeypatch.setattr(timm, "list_models", lambda *_, pretrained=False: ["resnet18.a1_in1k"] if pretrained else names)
    assert [candidate.name for candidate in ZOO.search("*")] == ["resnet18.a1_in1k"]


def test_a_bare_architecture_means_its_default_tag() -> None:
    assert only("resnet18").id == "timm:resnet18.a1_in1k"
    assert only("resnet18").name == f"resnet18.{timm.get_pretrained_cfg('resnet18').tag}"


def test_metadata_comes_from_the_pretrained_configuration() -> None:
    assert only("vit_small_patch16_384.augreg_in21k_ft_in1k").metadata == {
        "architecture": "vit_small_patch16_384",
        "family": "vision_transformer",
        "modality": "image",
        "parameters": 22_050_664 + (24**2 - 14**2) * 384,  # of DeiT-S at 224, and positions for more patches
        "input_size": (3, 384, 384),
        "source_dataset": "ImageNet-21k -> ImageNet-1k",
        "source_classes": 1000,
        "license": "apache-2.0",
        "url": "https://huggingface.co/timm/vit_small_patch16_384.augreg_in21k_ft_in1k",
        "remote_code": False,
    }


def test_parameters_are_told_without_building_a_model_and_are_those_of_the_model() -> None:
    counts = {candidate.name: candidate.metadata.get("parameters") for candidate in ZOO.search("*")}
    assert all(counts.values())
    for name in (
        "resnet18.a1_in1k",
        "test_vit.r160_in1k",
        "vit_tiny_patch16_224.augreg_in21k",
        "convnext_atto.d2_in1k",
    ):
        assert counts[name] == sum(parameter.numel() for parameter in timm.create_model(name).parameters())


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("resnet81", "Did you mean 'resnet18'"),
        ("resnet18.a1_in2k", "Tags of this architecture: resnet18.a1_in1k, "),
        ("tv_resnet50", "renamed 'tv_resnet50': use 'resnet50.tv_in1k'"),
        ("qqq", r"modelselect search 'timm:\*'"),
    ],
)
def test_an_exact_name_that_is_unknown_is_an_error_with_advice(pattern: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        ZOO.search(pattern)


def test_an_architecture_without_weights_says_so() -> None:
    without = next(iter(set(timm.list_models()) - {n.split(".")[0] for n in timm.list_pretrained()}))
    with pytest.raises(ExpressionError, match="no pre-trained weights"):
        ZOO.search(without)


@pytest.mark.parametrize(
    ("tag", "dataset"),
    [
        ("a1_in1k", "ImageNet-1k"),
        ("fb_swsl_ig1b_ft_in1k", "Instagram-1B -> ImageNet-1k"),
        ("in22k_ft_in22k_in1k", "ImageNet-22k -> ImageNet-1k"),
        ("laion2b_ft_in12k_in1k", "LAION-2B -> ImageNet-12k -> ImageNet-1k"),
        ("lvd142m", "LVD-142M"),
        ("some_tag", None),
        (None, None),
    ],
)
def test_the_tag_says_what_it_was_trained_on(tag: str | None, dataset: str | None) -> None:
    assert source_dataset(tag) == dataset


def test_an_embedding_is_not_taken_for_source_classes() -> None:
    assert only("vit_base_patch16_clip_224.openai").metadata["source_classes"] == 0
    assert only("vit_base_patch16_224.mae").metadata["source_classes"] == 0
    assert only("vit_base_patch16_224.augreg_in21k").metadata["source_classes"] == 21843
    assert source_classes(None, 1024) == 1024  # somebody's own, without a tag
    assert source_classes("somebody's", 17) == 17


# --- load ------------------------------------------------------------------------------------------------------------


def test_weights_in_the_hubs_cache_load_without_a_network(hub_cache: Path) -> None:
    torch.manual_seed(3)
    original = timm.create_model("test_vit").eval()
    put_into_cache(hub_cache, TINY, original)
    backbone = ZOO.load(only(TINY))
    assert not backbone.module.training
    assert {p.dtype for p in backbone.module.parameters()} == {torch.float32}
    images = example_batch(backbone.preprocessing)
    with torch.inference_mode():
        outputs = backbone.read(backbone.module, images)
        reference = original.half().float()
        body = reference.forward_features(images)
        assert torch.equal(outputs.features, reference.forward_head(body, pre_logits=True))
        assert torch.equal(outputs.logits, reference(images))


def test_other_weights_have_another_key(hub_cache: Path) -> None:
    keys = set()
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        put_into_cache(hub_cache, TINY, timm.create_model("test_vit"))
        keys.add(ZOO.load(only(TINY)).weights_key)
    assert len(keys) == 2


def test_damaged_weights_cost_one_line(hub_cache: Path) -> None:
    put_into_cache(hub_cache, TINY, timm.create_model("test_vit"))
    (weights,) = hub_cache.rglob("model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CandidateError, match="timm cannot load it") as caught:
        ZOO.load(only(TINY))
    assert "\n" not in str(caught.value)


def test_offline_says_how_to_fetch(hub_cache: Path) -> None:
    with pytest.raises(CandidateError, match=f"run `hf download timm/{TINY}`") as caught:
        ZOO.load(only(TINY))
    assert "\n" not in str(caught.value)


def test_without_a_network_it_says_so_soon(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    with pytest.raises(CandidateError, match=r"cannot be reached at http://127\.0\.0\.1:9"):
        ZOO.load(only(TINY))
    assert sum(waits) < 10


def test_a_skeleton_has_the_architecture_and_no_weights() -> None:
    skeleton = ZOO.skeleton(only("resnet18"))
    assert sum(parameter.numel() for parameter in skeleton.parameters()) == 11_689_512  # torchvision's figure
    assert all(parameter.is_meta for parameter in skeleton.parameters())
    assert not skeleton.training


@pytest.mark.parametrize(
    "architecture",
    ["test_byobnet", "test_efficientnet", "efficientvit_m0", "crossvit_tiny_240", "deit_tiny_distilled_patch16_224"],
)
def test_features_and_logits_are_timms_own_whatever_the_head(architecture: str) -> None:
    torch.manual_seed(0)
    module = timm.create_model(architecture)
    backbone = timm_backbone(Candidate("timm", architecture), module, "key")
    images = example_batch(backbone.preprocessing)
    passes = []
    first = next(m for m in module.modules() if isinstance(m, torch.nn.Conv2d))
    handle = first.register_forward_hook(lambda *_: passes.append(1))
    with torch.inference_mode():
        outputs = backbone.read(module, images)
        assert len(passes) == 1
        handle.remove()
        assert torch.equal(outputs.features, module.forward_head(module.forward_features(images), pre_logits=True))
        assert torch.equal(outputs.logits, module(images))


def test_an_embedding_gives_no_source_probabilities() -> None:
    module = timm.create_model("test_vit", num_classes=512)
    module.pretrained_cfg["tag"] = "openai"
    backbone = timm_backbone(Candidate("timm", "test_vit"), module, "key")
    with torch.inference_mode():
        assert backbone.read(module, example_batch(backbone.preprocessing)).logits is None


# --- preprocessing ---------------------------------------------------------------------------------------------------


@cache
def distinct_settings() -> list[dict[str, Any]]:
    """Every data configuration that some pre-trained weights of timm's have."""
    found = {}
    for name in timm.list_pretrained():
        configuration = timm.get_pretrained_cfg(name).to_dict()
        module = SimpleNamespace(pretrained_cfg=configuration)
        found.setdefault(repr(resolve_model_data_config(module)), module)
    return [vars(module) for _, module in sorted(found.items())]


@cache
def preprocessing_of(index: int) -> Preprocessing:
    return models._preprocessing(SimpleNamespace(**distinct_settings()[index]))  # type: ignore[arg-type]


@settings(max_examples=40)
@given(st.data(), st.integers(1, 400), st.integers(1, 400))
def test_preprocessing_agrees_with_timms_to_the_last_bit(data: st.DataObject, width: int, height: int) -> None:
    small = [i for i, s in enumerate(distinct_settings()) if s["pretrained_cfg"]["input_size"][-1] <= 300]
    index = data.draw(st.sampled_from(small))
    configuration = resolve_model_data_config(SimpleNamespace(**distinct_settings()[index]))
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    preprocessing = preprocessing_of(index)
    ours = preprocessing.finish(preprocessing.prepare(image)[None])[0]
    assert torch.equal(ours, create_transform(**configuration, is_training=False)(image))


def test_nearly_all_of_timms_preprocessing_is_shared_and_kept_in_bytes() -> None:
    kinds = {"center": set(), "squash": set(), "border": set()}  # type: dict[str, set[type]]
    for index, entry in enumerate(distinct_settings()):
        configuration = entry["pretrained_cfg"]
        _, height, width = configuration["input_size"]
        if height == width <= 300 or configuration["crop_mode"] == "border":
            kinds[configuration["crop_mode"]].add(type(preprocessing_of(index)))
    assert kinds["center"] == kinds["squash"] == {ImagePreprocessing}
    assert kinds["border"] == {CallablePreprocessing}


# --- availability ----------------------------------------------------------------------------------------------------


def test_a_library_that_cannot_be_imported_is_reported_with_what_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ZOO.availability() is None
    monkeypatch.setitem(sys.modules, "timm", None)
    assert "pip install --upgrade torch torchvision timm" in str(ZOO.availability())
    with pytest.raises(ExpressionError, match="cannot be used here: timm cannot be imported"):
        ZOO.search("resnet18")
