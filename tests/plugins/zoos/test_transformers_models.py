"""Folders that transformers 5 writes: towers of images and texts, grey networks, masked autoencoders, refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import modelselect as ms
from modelselect.candidates.preprocessing import example_batch
from modelselect.errors import NothingRankedError
from modelselect_plugins.zoos.directory import DirectoryZoo
from modelselect_plugins.zoos.hub import HubZoo
from tests.hub.models import files_of
from tests.hub.server import Hub
from tests.plugins.zoos.image_models import (
    SIDE,
    SQUARE,
    TEXT,
    TOWERS,
    VISION,
    processor_folder,
    towers_folder,
    vit_folder,
)
from tests.plugins.zoos.model_folders import LABELS, TEXTS, ranked, refusal
from tests.plugins.zoos.text_models import text_folder, tokenizer

ZOO = DirectoryZoo()


def images(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, (16, *shape), dtype=np.uint8)


def change(file: Path, **changed: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))


# --- models of two towers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", TOWERS)
def test_the_vision_tower_reads_images_and_the_text_tower_reads_texts(here: Path, family: str) -> None:
    model = towers_folder(here / "both", family)
    assert not (here / "both" / "preprocessor_config.json").exists()
    (candidate,) = ms.search("dir:both")
    assert candidate.metadata["modality"] == "image"
    assert candidate.metadata["input_size"] == (3, SIDE, SIDE)
    assert candidate.metadata["source_classes"] == 0
    assert candidate.metadata["parameters"] == sum(p.numel() for p in model.vision_model.parameters())
    backbone = ZOO.load(candidate)
    batch = example_batch(backbone.preprocessing)
    with torch.inference_mode():
        expected = model.vision_model(pixel_values=batch).pooler_output
        torch.testing.assert_close(backbone.read(backbone.module, batch).features, expected.flatten(1))
    assert ZOO.skeleton(candidate) is not None
    text = ZOO.for_modality(candidate, "text")
    assert text.metadata["modality"] == "text"
    assert text.metadata["parameters"] == sum(p.numel() for p in model.text_model.parameters())
    assert ZOO.for_modality(text, "text") == text
    assert ZOO.for_modality(candidate, "image") == candidate
    assert ZOO.skeleton(text) is not None
    backbone = ZOO.load(text)
    example = torch.stack([backbone.preprocessing.prepare(row) for row in TEXTS[:2]])
    with torch.inference_mode():
        features = backbone.read(backbone.module, backbone.preprocessing.finish(example)).features
        for row, given in zip(TEXTS, features, strict=False):
            whole = {"padding": "max_length", "max_length": 20} if family == "Siglip" else {}
            tokens = tokenizer()(row, return_tensors="pt", **whole)
            named = {"input_ids": tokens["input_ids"]}
            encoder = model.text_model.roberta if family == "AltCLIP" else model.text_model  # before its projection
            output = encoder(**named)
            own = output.last_hidden_state[0, 0] if text.name.endswith("=cls") else output.pooler_output[0]
            torch.testing.assert_close(given, own, rtol=1e-4, atol=1e-5)


def test_a_model_of_two_towers_is_ranked_on_whatever_the_probe_holds(here: Path) -> None:
    towers_folder(here / "both", "CLIP")
    assert ranked(images(40, 30, 3), "dir:both").candidate.name == "both"
    assert ranked(TEXTS, "dir:both").candidate.name == "both?pooling=last"
    assert ranked(TEXTS, "dir:both?pooling=mean").candidate.name == "both?pooling=mean"


def test_a_fine_tuned_clip_has_its_classes(here: Path) -> None:
    configuration = transformers.CLIPConfig(vision_config=VISION, text_config=TEXT, num_labels=5)
    model = transformers.CLIPForImageClassification(configuration).eval()
    model.save_pretrained(here / "tuned")
    processor_folder(here / "tuned")
    (candidate,) = ms.search("dir:tuned")
    assert (candidate.metadata["modality"], candidate.metadata["source_classes"]) == ("image", 5)
    backbone = ZOO.load(candidate)
    batch = example_batch(backbone.preprocessing)
    with torch.inference_mode():
        assert torch.equal(backbone.read(backbone.module, batch).logits, model(batch).logits)


def test_the_hub_gives_the_same_towers(hub: Hub, here: Path) -> None:
    model = towers_folder(here / "both", "Siglip")
    hub.model("lab/both", files_of(here / "both"), library_name="transformers")
    zoo = HubZoo()
    (candidate,) = zoo.search("lab/both")
    assert candidate.metadata["modality"] == "image"
    backbone = zoo.load(candidate)
    batch = example_batch(backbone.preprocessing)
    with torch.inference_mode():
        expected = model.vision_model(pixel_values=batch).pooler_output
        torch.testing.assert_close(backbone.read(backbone.module, batch).features, expected)
    text = zoo.for_modality(candidate, "text")
    assert (text.name, text.revision) == ("lab/both?pooling=pooler", candidate.revision)
    assert zoo.load(text).read is not None


def test_pooling_of_a_text_tower_is_for_text_towers(here: Path) -> None:
    text_folder(here / "bert")
    assert (
        refusal("dir:bert?pooling=pooler") == "pooling=pooler is only for the text towers of SigLIP; try pooling=mean"
    )
    assert ranked(TEXTS, "dir:bert?pooling=mean")


# --- networks of one channel -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"image_mean": [0.5], "image_std": [0.25]},
        {"image_mean": 0.5, "image_std": 0.25},
        {"image_mean": [0.5] * 3, "image_std": [0.25] * 3},
        {"image_mean": [0.5], "image_std": [0.25], "do_convert_rgb": True},
        {"image_mean": [0.5], "image_std": [0.25], "do_grayscale": True},
        {"do_normalize": False},
        {"do_normalize": False, "do_rescale": False},
    ],
)
@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 3)])
def test_a_network_of_one_channel_is_shown_grey(here: Path, settings: dict[str, Any], shape: tuple[int, ...]) -> None:
    from PIL import Image

    vit_folder(here / "grey", num_channels=1)
    transformers.ViTImageProcessor(size={"height": SIDE, "width": SIDE}, **settings).save_pretrained(here / "grey")
    (candidate,) = ms.search("dir:grey")
    assert candidate.metadata["input_size"] == (1, SIDE, SIDE)
    preprocessing = ZOO.load(candidate).preprocessing
    image = Image.fromarray(images(*shape)[0])
    pixels = torch.from_numpy(np.array(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR))).float()
    if settings.get("do_rescale", True):
        pixels = pixels / 255
    if settings.get("do_normalize", True):
        pixels = (pixels - 0.5) / 0.25
    torch.testing.assert_close(preprocessing.finish(preprocessing.prepare(image)[None])[0, 0], pixels)
    ranked(images(*shape), "dir:grey")


def test_a_grey_clip_is_ranked(here: Path) -> None:
    towers_folder(here / "both", "CLIP", num_channels=1)
    ranked(images(40, 30), "dir:both")


def test_several_means_for_one_channel_are_refused_with_what_to_write(here: Path) -> None:
    vit_folder(here / "grey", num_channels=1)
    values = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.25]}
    transformers.ViTImageProcessor(size={"height": SIDE, "width": SIDE}, **values).save_pretrained(here / "grey")
    said = refusal("dir:grey")
    assert "has 3 values of image_mean (0.4, 0.5, 0.6), but the network takes one channel" in said
    advice = re.search(r'such as (".*)', said)
    assert advice is not None
    change(here / "grey" / "preprocessor_config.json", **json.loads("{" + advice[1] + "}"))
    ranked(images(40, 30), "dir:grey")


def test_four_channels_are_refused(here: Path) -> None:
    vit_folder(here / "four", num_channels=4)
    values = {"image_mean": [0.5] * 4, "image_std": [0.25] * 4}
    transformers.ViTImageProcessor(**values).save_pretrained(here / "four")
    assert refusal("dir:four") == ("the network takes images of 4 channels, but rows are shown in 3 (RGB) or 1 (grey)")


# --- other kinds of models -------------------------------------------------------------------------------------------


def test_a_masked_autoencoder_sees_the_whole_image_and_gives_the_same_features_each_time(here: Path) -> None:
    model = transformers.ViTMAEModel(transformers.ViTMAEConfig(**VISION)).eval()
    model.save_pretrained(here / "mae")
    transformers.ViTImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(here / "mae")
    backbone = ZOO.load(ms.search("dir:mae")[0])
    batch = example_batch(backbone.preprocessing)
    with torch.inference_mode():
        first, again = (backbone.read(backbone.module, batch).features for _ in range(2))
        model.config.mask_ratio = 0.0
        assert torch.equal(first, again)
        torch.testing.assert_close(first, model(batch).last_hidden_state[:, 0])


@pytest.mark.parametrize("channels", [1, 3])
def test_timms_models_in_transformers_are_read(here: Path, channels: int) -> None:
    described = {
        "architecture": "test_resnet",
        "num_classes": 4,
        "label_names": list("abcd"),
        "model_args": {"in_chans": channels},
        "pretrained_cfg": {
            "input_size": [channels, 64, 64],
            "mean": [0.5] * channels,
            "std": [0.25] * channels,
            "classifier": "fc",
            "first_conv": "conv1",
        },
    }
    configuration = transformers.TimmWrapperConfig.from_dict(described)
    model = transformers.TimmWrapperForImageClassification(configuration).eval()
    model.save_pretrained(here / "wrapped")
    (candidate,) = ms.search("dir:wrapped")
    known = candidate.metadata
    assert (known["architecture"], known["source_classes"]) == ("test_resnet", 4)
    assert known["input_size"] == (channels, 64, 64)
    backbone = ZOO.load(candidate)
    batch = example_batch(backbone.preprocessing)
    with torch.inference_mode():
        assert torch.equal(backbone.read(backbone.module, batch).logits, model(batch).logits)


def test_models_that_cannot_be_taken_apart_say_how_to_save_their_vision_tower(here: Path) -> None:
    llama = {"model_type": "llama", **TEXT, "num_key_value_heads": 1}
    configuration = transformers.LlavaConfig(
        vision_config={"model_type": "clip_vision_model", **VISION}, text_config=llama
    )
    transformers.LlavaModel(configuration).save_pretrained(here / "llava")
    transformers.CLIPImageProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    ).save_pretrained(here / "llava")
    said = refusal("dir:llava")
    assert "the model takes text and images together (llava), and its vision tower cannot be loaded alone" in said
    exec(said.split("in Python: ")[1])
    assert ranked(images(40, 30, 3), "dir:tower")


@pytest.mark.parametrize(
    ("kind", "settings", "reason"),
    [
        (
            "SuperPoint",
            {"encoder_hidden_sizes": [8, 8, 8, 16], "decoder_hidden_size": 16},
            "has no encoder for the model",
        ),
        ("Wav2Vec2", {"conv_dim": [8], "conv_stride": [5], "conv_kernel": [10]}, "takes sound (wav2vec2)"),
        ("Vilt", {**VISION, **TEXT}, "takes text and images together (vilt)"),
    ],
)
def test_what_gives_no_features_of_images_or_texts_is_refused(
    here: Path, kind: str, settings: dict[str, Any], reason: str
) -> None:
    getattr(transformers, f"{kind}Config")(**settings).save_pretrained(here / "other")
    vit_folder(here / "vit")
    (here / "vit" / "model.safetensors").rename(here / "other" / "model.safetensors")
    transformers.ViTImageProcessor().save_pretrained(here / "other")
    assert reason in refusal("dir:other")


def test_texts_that_meet_an_image_model_are_named(here: Path) -> None:
    vit_folder(here / "vit")
    transformers.ViTImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(here / "vit")
    with pytest.raises(NothingRankedError, match="takes images, but the probe's rows are str"):
        ms.select((TEXTS, LABELS), "dir:vit", estimators="logme", progress=False)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_missing_image_processor_is_written_as_the_message_says(here: Path, channels: int) -> None:
    vit_folder(here / "vit", num_channels=channels, image_size=224, patch_size=56)
    said = refusal("dir:vit")
    assert "the folder has no preprocessor_config.json" in said
    (here / "vit" / "preprocessor_config.json").write_text(said.split("such as ")[1])
    ranked(images(40, 30, 3), "dir:vit")


def test_a_configuration_without_architectures_is_read_without_its_head(here: Path) -> None:
    vit_folder(here / "vit")
    transformers.ViTImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(here / "vit")
    change(here / "vit" / "config.json", architectures=None)
    assert ms.search("dir:vit")[0].metadata["modality"] == "image"
    assert ranked(images(40, 30, 3), "dir:vit")


# --- what others make of a folder ------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod."])
def test_names_that_compilation_or_data_parallelism_changed_are_read(here: Path, prefix: str) -> None:
    module = vit_folder(here / "a")
    processor_of_images(here / "a")
    file = here / "a" / "model.safetensors"
    save_file({prefix + name: tensor for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    (candidate,) = DirectoryZoo().search("a")
    backbone = DirectoryZoo().load(candidate)
    batch = example_batch(backbone.preprocessing)
    with torch.inference_mode():
        assert torch.equal(backbone.read(backbone.module, batch).logits, module(batch).logits)


def test_a_configuration_that_asks_for_tuples_is_read(here: Path) -> None:
    module = vit_folder(here / "a", return_dict=False)
    processor_of_images(here / "a")
    module.config.return_dict = True
    (candidate,) = DirectoryZoo().search("a")
    backbone = DirectoryZoo().load(candidate)
    batch = example_batch(backbone.preprocessing)
    with torch.inference_mode():
        assert torch.equal(backbone.read(backbone.module, batch).logits, module(batch).logits)


@pytest.mark.parametrize("method", ["awq", "gptq", "bitsandbytes"])
def test_quantised_weights_are_refused(here: Path, method: str) -> None:
    vit_folder(here / "a")
    processor_of_images(here / "a")
    change(here / "a" / "config.json", quantization_config={"quant_method": method, "bits": 4})
    assert f"the weights are quantised ({method}), but features are read in float32. Give" in refusal("dir:a")


def test_a_model_of_videos_is_refused(here: Path) -> None:
    sizes = {**VISION, "num_frames": 4, "tubelet_size": 2}
    transformers.VideoMAEModel(transformers.VideoMAEConfig(**sizes)).save_pretrained(here / "a")
    transformers.VideoMAEImageProcessor(size={"shortest_edge": SIDE}, crop_size=SQUARE).save_pretrained(here / "a")
    assert "prepares videos (frames, channels, height, width); the model takes no images" in refusal("dir:a")


def test_images_as_patches_of_their_own_number_are_refused(here: Path) -> None:
    sees = {**{name: value for name, value in VISION.items() if name != "image_size"}, "num_patches": 16}
    configuration = transformers.Siglip2Config(vision_config=sees, text_config=TEXT)
    transformers.Siglip2Model(configuration).save_pretrained(here / "a")
    transformers.Siglip2ImageProcessor(patch_size=8, max_num_patches=16).save_pretrained(here / "a")
    assert "cuts images into patches (NaFlex)" in refusal("dir:a")


def processor_of_images(folder: Path) -> None:
    transformers.ViTImageProcessor(size=SQUARE).save_pretrained(folder)
