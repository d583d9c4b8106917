"""Files of weights: pickles where the user asks, tied tensors, other forms, and advice that works when typed."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
from safetensors.torch import load_file

import modelselect as ms
from modelselect.errors import ExpressionError
from modelselect_plugins.zoos.directory import DirectoryZoo
from tests.plugins.zoos.image_models import SIDE, vit_folder
from tests.plugins.zoos.model_folders import TEXTS, ranked, refusal
from tests.plugins.zoos.text_models import text_folder

ZOO = DirectoryZoo()
PICKLE = "pytorch_model.bin"
SAFE = "model.safetensors"
IMAGES = np.random.default_rng(0).integers(0, 256, (16, 40, 30, 3), dtype=np.uint8)


def image_folder(folder: Path) -> Any:
    model = vit_folder(folder)
    transformers.ViTImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return model


def pickle_tied(folder: Path, module: Any, name: str = PICKLE) -> None:
    """The whole state dict, in which tied tensors share their memory, as torch saves it."""
    (folder / SAFE).unlink()
    torch.save(module.state_dict(), folder / name)


def line_of_python(message: str) -> str:
    return message.split("in Python: ")[1]


# --- pickled weights -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["BertForMaskedLM", "LlamaForCausalLM"])
def test_pickled_weights_with_tied_tensors_are_read_or_converted_as_the_message_says(here: Path, model: str) -> None:
    module = text_folder(here / "a", model, tie_word_embeddings=True)
    before = ranked(TEXTS, "dir:a").score
    pickle_tied(here / "a", module)
    said = refusal("dir:a")
    assert said.startswith("the weights are pickled (pytorch_model.bin), and safetensors are expected")
    asked = re.search(r"write (\S+);", said)
    assert asked is not None
    assert asked[1] == "dir:a?weights=pickle"
    assert ranked(TEXTS, asked[1]).score == pytest.approx(before, rel=1e-5)
    exec(line_of_python(said))
    assert load_file(here / "a" / SAFE)
    assert ranked(TEXTS, "dir:a").score == pytest.approx(before, rel=1e-5)


def test_pickled_shards_are_read_or_converted_together(here: Path) -> None:
    module = image_folder(here / "a")
    before = ranked(IMAGES, "dir:a").score
    state = module.state_dict()
    names = sorted(state)
    shards = {"pytorch_model-00001-of-00002.bin": names[:9], "pytorch_model-00002-of-00002.bin": names[9:]}
    (here / "a" / SAFE).unlink()
    for file, part in shards.items():
        torch.save({name: state[name] for name in part}, here / "a" / file)
    index = {"metadata": {}, "weight_map": {name: file for file, part in shards.items() for name in part}}
    (here / "a" / f"{PICKLE}.index.json").write_text(json.dumps(index))
    assert ms.search("dir:a?weights=pickle")[0].metadata["parameters"] == sum(p.numel() for p in module.parameters())
    assert ranked(IMAGES, "dir:a?weights=pickle").score == pytest.approx(before, rel=1e-5)
    exec(line_of_python(refusal("dir:a")))
    assert ranked(IMAGES, "dir:a").score == pytest.approx(before, rel=1e-5)


def test_timms_pickled_weights_are_read_where_the_user_asks(here: Path) -> None:
    module = timm.create_model("test_resnet", num_classes=5).eval()
    timm.models.save_for_hf(module, here / "a", safe_serialization=True)
    pickle_tied(here / "a", module)
    assert "write dir:a?weights=pickle" in refusal("dir:a")
    (candidate,) = ms.search("dir:a?weights=pickle")
    assert candidate.metadata["parameters"] == sum(p.numel() for p in module.parameters())
    assert ranked(IMAGES, "dir:a?weights=pickle")


@pytest.mark.parametrize("name", ["model.pth", "weights.pt", "last.ckpt", "checkpoint.pth.tar"])
def test_pickled_weights_of_another_name_are_renamed_and_unwrapped_as_the_messages_say(here: Path, name: str) -> None:
    module = image_folder(here / "a")
    before = ranked(IMAGES, "dir:a").score
    pickle_tied(here / "a", module, name)
    torch.save({"epoch": 3}, here / "a" / "optimizer.pt")
    assert f"the weights are pickled ({name}), and model.safetensors is expected" in refusal("dir:a")
    (here / "a" / name).rename(here / "a" / PICKLE)
    assert ranked(IMAGES, "dir:a?weights=pickle").score == pytest.approx(before, rel=1e-5)
    torch.save({"epoch": 3, "state_dict": module.state_dict()}, here / "a" / PICKLE)
    said = refusal("dir:a?weights=pickle")
    assert "the pytorch_model.bin holds not only tensors by name, but epoch, state_dict" in said
    exec(line_of_python(said))
    assert ranked(IMAGES, "dir:a").score == pytest.approx(before, rel=1e-5)


class Harmful:
    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


def test_a_pickle_with_code_costs_one_row_and_runs_nothing(here: Path) -> None:
    module = image_folder(here / "models" / "bad")
    image_folder(here / "models" / "good")
    (here / "models" / "bad" / SAFE).unlink()
    torch.save({**module.state_dict(), "more": Harmful()}, here / "models" / "bad" / PICKLE)
    data = (IMAGES, [0, 1] * 8)
    board = ms.select(data, ["dir:models/bad?weights=pickle", "dir:models/good"], estimators="logme", progress=False)
    status = {row.candidate.name: row.status for row in board.rows}
    assert status["models/good"] == "ok"
    assert "reading it would run code from the file, so it was refused" in status["models/bad?weights=pickle"]
    assert not list(here.rglob("ran"))


def test_safetensors_are_read_even_where_pickles_are_allowed(here: Path) -> None:
    image_folder(here / "a")
    torch.save({"more": Harmful()}, here / "a" / PICKLE)
    assert ranked(IMAGES, "dir:a?weights=pickle")
    assert not list(here.rglob("ran"))


def test_another_value_of_weights_is_refused(here: Path) -> None:
    image_folder(here / "a")
    with pytest.raises(ExpressionError, match="weights=all is unknown; expected weights=pickle"):
        ms.search("dir:a?weights=all")


# --- other files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("tf_model.h5", "TensorFlow or Keras"),
        ("model.keras", "Keras"),
        ("flax_model.msgpack", "Flax"),
        ("model.onnx", "ONNX"),
        ("model.gguf", "llama.cpp"),
        ("saved_model.pb", "TensorFlow"),
    ],
)
def test_forms_that_pytorch_does_not_read_are_named(here: Path, name: str, form: str) -> None:
    image_folder(here / "a")
    (here / "a" / SAFE).rename(here / "a" / name)
    assert refusal("dir:a") == (
        f"the weights are only in the form of {form} ({name}), which PyTorch does not read; expected model.safetensors"
    )
    (here / "a" / "config.json").unlink()
    with pytest.raises(ExpressionError, match=rf"'a' holds weights \({name}\) but no config.json"):
        ms.search("dir:a")


def test_weights_in_a_folder_below_are_moved_as_the_message_says(here: Path) -> None:
    image_folder(here / "a")
    (here / "a" / "weights").mkdir()
    (here / "a" / SAFE).rename(here / "a" / "weights" / SAFE)
    assert refusal("dir:a").endswith("there is weights/model.safetensors: move it next to config.json")
    (here / "a" / "weights" / SAFE).rename(here / "a" / SAFE)
    assert ranked(IMAGES, "dir:a")


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_weights_that_are_no_file_are_said_to_be_none(here: Path, kind: str) -> None:
    image_folder(here / "a")
    path = here / "a" / SAFE
    path.unlink()
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nothing.safetensors")
    assert "the model.safetensors is no file" in refusal("dir:a")


def test_safetensors_of_another_name_are_renamed_as_the_message_says(here: Path) -> None:
    image_folder(here / "a")
    (here / "a" / SAFE).rename(here / "a" / "vit.safetensors")
    assert "rename vit.safetensors to model.safetensors" in refusal("dir:a")
    (here / "a" / "vit.safetensors").rename(here / "a" / SAFE)
    assert ranked(IMAGES, "dir:a")


def test_an_adapter_is_not_a_model(here: Path) -> None:
    text_folder(here / "a")
    (here / "a" / "adapter_config.json").write_text("{}")
    assert "only an adapter (adapter_config.json)" in refusal("dir:a")
    (here / "a" / "config.json").unlink()
    with pytest.raises(ExpressionError, match="only an adapter"):
        ms.search("dir:a")


def test_a_folder_with_only_a_configuration_of_generation_says_what_is_missing(here: Path) -> None:
    text_folder(here / "a", "GPT2Model")
    (here / "a" / "config.json").rename(here / "a" / "generation_config.json")
    with pytest.raises(ExpressionError, match=r"holds weights .* but no config.json, so the model cannot be built"):
        ms.search("dir:a")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_are_read_in_float32(here: Path, dtype: torch.dtype) -> None:
    image_folder(here / "a").to(dtype).save_pretrained(here / "a")
    backbone = ZOO.load(ms.search("dir:a")[0])
    assert {parameter.dtype for parameter in backbone.module.parameters()} == {torch.float32}
    assert ranked(IMAGES, "dir:a")


# --- timm's folders --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "pretrained"),
    [
        ({}, {}),
        ({"in_chans": 1}, {"input_size": [1, 64, 64], "mean": [0.5], "std": [0.5]}),
        ({"num_classes": 0}, {}),
        ({}, {"input_size": [3, 72, 56]}),
    ],
)
@pytest.mark.parametrize("nested", [True, False])
def test_timms_folders_say_what_they_are(
    here: Path, given: dict[str, Any], pretrained: dict[str, Any], nested: bool
) -> None:
    module = timm.create_model("test_resnet", **given).eval()
    timm.models.save_for_hf(module, here / "a", safe_serialization=True)
    described = {"input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.5] * 3, **pretrained}
    classes = given.get("num_classes", 1000)
    configuration = {"architecture": "test_resnet", "num_classes": classes, "num_features": module.num_features}
    if nested:
        arguments = {"in_chans": 1} if "in_chans" in given else {}
        configuration |= {"pretrained_cfg": described, "model_args": arguments}
    else:
        configuration |= described
    (here / "a" / "config.json").write_text(json.dumps(configuration))
    (candidate,) = ms.search("dir:a")
    assert candidate.metadata["input_size"] == tuple(described["input_size"])
    assert candidate.metadata["source_classes"] == classes
    assert candidate.metadata["parameters"] == sum(p.numel() for p in module.parameters())
    if nested or "in_chans" not in given:
        assert ranked(IMAGES, "dir:a")


def test_timms_networks_of_four_channels_are_refused(here: Path) -> None:
    module = timm.create_model("test_resnet", in_chans=4).eval()
    pretrained = {"input_size": [4, 64, 64], "mean": [0.5] * 4, "std": [0.5] * 4}
    timm.models.save_for_hf(module, here / "a", safe_serialization=True)
    described = {"architecture": "test_resnet", "pretrained_cfg": pretrained, "model_args": {"in_chans": 4}}
    (here / "a" / "config.json").write_text(json.dumps(described))
    assert refusal("dir:a").startswith("the network takes images of 4 channels")
