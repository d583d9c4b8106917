"""The directory zoo: what is listed, what it says without loading, what loads to which numbers, and what never runs."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from modelselect import Candidate
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.metadata import METADATA_FIELDS, TEXT_FIELDS
from modelselect.candidates.preprocessing import ImagePreprocessing, example_batch
from modelselect.candidates.readers import HeadInput
from modelselect.errors import CandidateError, ExpressionError, RemoteCodeError
from modelselect_plugins.zoos.directory import DirectoryZoo
from tests.conftest import shared_path

ZOO = DirectoryZoo()
INPUT_KEYS = ("size", "crop_pct", "mean", "std", "channels", "invert")

BUILDER = """
import torch, json, os
from safetensors.torch import load_file

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Conv2d(3, 6, 3)
        self.head = torch.nn.Linear(6, 4)

    def forward_features(self, batch):
        return self.body(batch).mean((2, 3))

    def forward(self, batch):
        return self.head(self.forward_features(batch))

def build(folder):
    import numpy
    open(os.path.join(folder, "ran"), "a").write("x")
    net = Net()
    net.load_state_dict(load_file(os.path.join(folder, "model.safetensors")))
    size = json.load(open(os.path.join(folder, "config.json")))["input"]["size"]
    return net.half(), lambda image: torch.from_numpy(
        numpy.array(image.convert("RGB").resize((size, size)))).permute(2, 0, 1) / 255
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_config(folder: Path, **configuration: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(configuration))


def timm_folder(folder: Path, seed: int = 0, architecture: str = "test_byobnet", **more: Any) -> torch.nn.Module:
    """As timm's `local-dir` has it, in half precision; returns the model in the precision of its file."""
    torch.manual_seed(seed)
    module = timm.create_model(architecture, num_classes=5).eval().half()
    pretrained = {"input_size": [3, 96, 96], "crop_pct": 0.9, "mean": [0.5] * 3, "std": [0.5] * 3, "license": "mit"}
    write_config(folder, architecture=architecture, num_classes=5, pretrained_cfg=pretrained, **more)
    save_file(module.state_dict(), folder / "model.safetensors")
    return module.float()


def builder_folder(folder: Path, code: str | None = BUILDER, seed: int = 0, **changes: Any) -> None:
    settings = {"builder": "net.py:build", "num_features": 6, "num_classes": 4, "input": {"size": 16}} | changes
    write_config(folder, **settings)
    torch.manual_seed(seed)
    parts = {"body": torch.nn.Conv2d(3, 6, 3), "head": torch.nn.Linear(6, 4)}
    save_file(
        {f"{k}.{n}": v for k, m in parts.items() for n, v in m.state_dict().items()}, folder / "model.safetensors"
    )
    if code is not None:
        (folder / "net.py").write_text(code)


def only(pattern: str) -> Candidate:
    (candidate,) = ZOO.search(pattern)
    return candidate


def read(backbone: Backbone) -> Any:
    with torch.inference_mode():
        return backbone.read(backbone.module, example_batch(backbone.preprocessing))


def refusal(folder: str, **keywords: Any) -> str:
    """What is said when the only candidate there is loaded; one line."""
    with pytest.raises(CandidateError) as caught:
        ZOO.load(only(folder), **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- search ----------------------------------------------------------------------------------------------------------


def test_a_folder_a_folder_of_folders_and_globs_mean_the_models_in_them(here: Path) -> None:
    for name in ("zoo/b", "zoo/a", "zoo/deep/c", "other/d"):
        timm_folder(here / name)
    (here / "zoo" / "no_model").mkdir()
    (here / "zoo" / "notes.txt").touch()

    def names(pattern: str) -> list[str]:
        return [candidate.name for candidate in ZOO.search(pattern)]

    assert names("zoo/a") == names("zoo/a/") == names("./zoo/a") == ["zoo/a"]
    assert names("zoo") == names("zoo/") == names("zoo/*") == ["zoo/a", "zoo/b"]
    assert names("zoo/**") == ["zoo/a", "zoo/b", "zoo/deep/c"]
    assert names("*/[bd]") == ["other/d", "zoo/b"]
    assert names(f"{here}/zoo/a") == [f"{here}/zoo/a"]
    assert names("zoo/no_model") == names("zoo/z*") == []


def test_a_path_that_leads_nowhere_is_an_error_with_advice(here: Path) -> None:
    timm_folder(here / "models" / "mobilenet")
    with pytest.raises(
        ExpressionError, match=r"there is no folder 'models/mobilnet' here .* Did you mean 'models/mobilenet'"
    ):
        ZOO.search("models/mobilnet")


def test_metadata_is_known_without_loading(here: Path) -> None:
    module = timm_folder(here / "a", pretraining="birds", published_top1=None, num_features=256)
    assert only("a").metadata == {
        "modality": "image",
        "architecture": "test_byobnet",
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "feature_dim": 256,
        "input_size": (3, 96, 96),
        "source_dataset": "birds",
        "source_classes": 5,
        "license": "mit",
        "size_bytes": (here / "a" / "model.safetensors").stat().st_size,
        "remote_code": False,
    }


def test_an_id_finds_its_candidate_again(here: Path) -> None:
    timm_folder(here / "a")
    candidate = only("a")
    assert only(candidate.id.removeprefix("directory:")) == candidate


@pytest.mark.parametrize("changed", ["model.safetensors", "config.json"])
def test_changed_files_are_another_revision_and_never_pass_for_the_old_one(here: Path, changed: str) -> None:
    timm_folder(here / "a", seed=0)
    before = only("a")
    key = ZOO.load(before).weights_key
    if changed == "config.json":
        (here / "a" / changed).write_text((here / "a" / changed).read_text().replace("0.9", "0.8"))
    else:
        modified = (here / "a" / changed).stat().st_mtime_ns
        timm_folder(here / "a", seed=1)
        os.utime(here / "a" / changed, ns=(modified, modified + 1))
    after = only("a")
    assert after.revision != before.revision
    assert ZOO.load(after).weights_key != key
    with pytest.raises(CandidateError, match="the files have changed"):
        ZOO.load(before)
    with pytest.raises(ExpressionError, match=f"holds {after.revision}, not {before.revision}"):
        ZOO.search(before.id.removeprefix("directory:"))


def test_the_revision_depends_on_content_alone(here: Path) -> None:
    timm_folder(here / "a")
    shutil.copytree(here / "a", here / "b")
    os.utime(here / "b" / "model.safetensors", (1, 1))
    assert only("a").revision == only("b").revision


def test_a_file_that_is_a_hole_of_terabytes_is_not_read(here: Path) -> None:
    timm_folder(here / "a")
    with open(here / "a" / "model.safetensors", "wb") as hole:
        hole.truncate(4 * 1024**4)
    begun = time.perf_counter()
    before = only("a").revision
    assert time.perf_counter() - begun < 20
    os.utime(here / "a" / "model.safetensors", (1, 1))
    assert only("a").revision != before


# --- broken folders --------------------------------------------------------------------------------------------------


def break_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def break_with_a_list(folder: Path) -> None:
    (folder / "config.json").write_text("[1]")


def break_form(folder: Path) -> None:
    (folder / "config.json").write_text('{"hidden": 3}')


def break_architecture(folder: Path) -> None:
    write_config(folder, architecture="test_byobnett")


def break_types(folder: Path) -> None:
    write_config(folder, architecture="test_byobnet", pretrained_cfg=[1], num_classes="many")


def remove_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickle_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def truncate_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def cut_header(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:20])


def empty_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def foreign_weights(folder: Path) -> None:
    save_file({"x": torch.zeros(2)}, folder / "model.safetensors")


def shards_elsewhere(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"x": "../b/model.safetensors"}}')


def nest_endlessly(folder: Path) -> None:
    (folder / "config.json").write_text("[" * 100_000)


def change_config(folder: Path, **changed: Any) -> None:
    write_config(folder, **{**json.loads((folder / "config.json").read_text()), **changed})


def leave_layers_out(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: tensor for name, tensor in weights.items() if "stages.0" not in name}, folder / "model.safetensors"
    )
    change_config(folder, model_args={"pretrained_strict": False})


def ask_for_another_head(folder: Path) -> None:
    pretrained = json.loads((folder / "config.json").read_text())["pretrained_cfg"]
    change_config(folder, model_args={"num_classes": 7}, pretrained_cfg=pretrained | {"classifier": "head.fc"})


def ask_for_much(folder: Path) -> None:
    pretrained = json.loads((folder / "config.json").read_text())["pretrained_cfg"]
    change_config(folder, pretrained_cfg=pretrained | {"input_size": [3, 10**6, 10**6]})


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (nest_endlessly, "the config.json cannot be read"),
        (leave_layers_out, "the weights are not of the model that config.json describes ('test_byobnet'): Missing"),
        (ask_for_another_head, "logits would come from a random layer"),
        (ask_for_much, "the configuration asks for inputs of size (3, 1000000, 1000000)"),
        (break_json, "the config.json cannot be read"),
        (break_with_a_list, "the config.json holds list; expected an object"),
        (break_form, "has no key that says how to build the model; expected 'architecture'"),
        (break_architecture, "timm has no architecture 'test_byobnett'. Did you mean 'test_byobnet'"),
        (break_types, "timm cannot load it"),
        (remove_weights, "no model.safetensors"),
        (pickle_weights, "the weights are pickled (pytorch_model.bin)"),
        (truncate_weights, "the model.safetensors is truncated or damaged"),
        (cut_header, "the model.safetensors is truncated or damaged"),
        (empty_weights, "the model.safetensors is truncated or damaged"),
        (foreign_weights, "the weights are not of the model that config.json describes ('test_byobnet'): Missing"),
        (shards_elsewhere, "names files outside its folder"),
    ],
)
def test_a_broken_folder_is_a_candidate_that_says_why_it_does_not_load(
    here: Path, damage: Callable[[Path], None], reason: str
) -> None:
    timm_folder(here / "zoo" / "broken")
    timm_folder(here / "zoo" / "whole")
    damage(here / "zoo" / "broken")
    assert [candidate.name for candidate in ZOO.search("zoo")] == ["zoo/broken", "zoo/whole"]
    assert reason in refusal("zoo/broken")
    ZOO.load(only("zoo/whole"))


def test_only_metadata_that_can_be_is_believed(here: Path) -> None:
    timm_folder(here / "a")
    change_config(
        here / "a", num_features="64", published_top1=float("nan"), pretraining={"a": 1}, license={"name": "MIT"}
    )
    known = only("a").metadata
    assert not {"feature_dim", "source_accuracy", "source_dataset"} & set(known)
    assert known["parameters"] > 0
    change_config(here / "a", num_features=10**400, published_top1="high")
    assert not {"feature_dim", "source_accuracy"} & set(only("a").metadata)


@pytest.mark.skipif(os.name != "posix", reason="names of files are bytes on POSIX alone")
def test_a_folder_whose_name_no_leaderboard_can_hold_is_left_out_with_a_warning(here: Path) -> None:
    timm_folder(here / "zoo" / "good")
    odd = os.fsdecode(os.fsencode(here / "zoo") + b"/odd\xff")
    try:
        os.mkdir(odd)
    except OSError:
        pytest.skip("this file system takes no such name")
    shutil.copy(here / "zoo" / "good" / "config.json", odd)
    with pytest.warns(UserWarning, match="is left out, because its name is not valid UTF-8"):
        assert [candidate.name for candidate in ZOO.search("zoo")] == ["zoo/good"]


def test_a_folder_that_went_away_says_so(here: Path) -> None:
    timm_folder(here / "a")
    candidate = only("a")
    shutil.rmtree(here / "a")
    with pytest.raises(CandidateError, match="there is no folder 'a' here"):
        ZOO.load(candidate)


# --- timm's form -----------------------------------------------------------------------------------------------------


def test_timms_folders_load_in_float32_with_timms_own_numbers(here: Path) -> None:
    reference = timm_folder(here / "a")
    backbone = ZOO.load(only("a"))
    assert {parameter.dtype for parameter in backbone.module.parameters()} == {torch.float32}
    assert not backbone.module.training
    assert backbone.preprocessing == ImagePreprocessing((96, 96), 106, "bicubic", (0.5,) * 3, (0.5,) * 3)
    outputs = read(backbone)
    images = example_batch(backbone.preprocessing)
    with torch.inference_mode():
        body = reference.forward_features(images)
        assert torch.equal(outputs.features, reference.forward_head(body, pre_logits=True))
        assert torch.equal(outputs.logits, reference(images))


@pytest.mark.parametrize("architecture", ["mobilenetv3_small_050", "dla46_c"])
def test_an_architecture_that_says_itself_how_strict_it_is_loads_whole_or_not_at_all(
    architecture: str, here: Path
) -> None:
    reference = timm_folder(here / "a", architecture=architecture)
    backbone = ZOO.load(only("a"))
    with torch.inference_mode():
        assert torch.equal(read(backbone).logits, reference(example_batch(backbone.preprocessing)))
    weights = load_file(here / "a" / "model.safetensors")
    left_out = max(weights, key=lambda name: weights[name].numel())
    save_file({name: tensor for name, tensor in weights.items() if name != left_out}, here / "a" / "model.safetensors")
    assert "the weights are not of the model that config.json describes" in refusal("a")


def test_what_timm_does_not_know_of_a_configuration_is_left_out(here: Path) -> None:
    module: Any = timm_folder(here / "a")
    file = here / "a" / "config.json"
    pretrained = json.loads(file.read_text())["pretrained_cfg"]
    flat = {"architecture": "test_byobnet", "num_classes": 5, "global_pool": "avg", "trained_by": "me", **pretrained}
    for content in (flat, {**flat, "pretrained_cfg": {**pretrained, "global_pool": "avg"}}):
        file.write_text(json.dumps(content))
        backbone = ZOO.load(only("a"))
        with torch.inference_mode():
            assert torch.equal(read(backbone).logits, module(example_batch(backbone.preprocessing)))
        assert backbone.preprocessing.size == (96, 96)
        assert ZOO.skeleton(only("a")).num_classes == 5


@pytest.mark.parametrize(
    "places",
    [
        {"source": "hf-hub", "hf_hub_id": "evil/x"},
        {"url": "http://127.0.0.1:9/x.pth", "source": "url"},
        {"file": "other.safetensors"},
        {"state_dict": {"x": 1}},
        {"custom_load": True},
    ],
)
def test_the_weights_of_a_timm_folder_are_those_in_it_whatever_the_configuration_says(
    here: Path, places: dict[str, Any]
) -> None:
    timm_folder(here / "a")
    expected = read(ZOO.load(only("a")))
    file = here / "a" / "config.json"
    for unknown in ({}, {"trained_by": "me"}):
        configuration = json.loads(file.read_text())
        configuration["pretrained_cfg"] |= {**places, **unknown}
        file.write_text(json.dumps(configuration))
        found = read(ZOO.load(only("a")))
        assert torch.equal(found.features, expected.features)


@pytest.mark.parametrize(
    "arguments",
    [
        {"checkpoint_path": "other.safetensors"},
        {"pretrained_cfg_overlay": {"file": "other.safetensors"}},
        {"pretrained_cfg_overlay": {"file": None, "url": "http://127.0.0.1:9/x.pth"}},
    ],
)
def test_a_timm_folder_names_no_other_weights(here: Path, arguments: dict[str, Any]) -> None:
    timm_folder(here / "other", seed=1)
    shutil.copy(here / "other" / "model.safetensors", here / "other.safetensors")
    for unknown in ({}, {"trained_by": "me"}):
        timm_folder(here / "a", model_args=arguments)
        file = here / "a" / "config.json"
        configuration = json.loads(file.read_text())
        configuration["pretrained_cfg"] |= unknown
        file.write_text(json.dumps(configuration))
        assert next(iter(arguments)) in refusal("a")


def test_a_timm_folder_whose_index_names_shards_is_refused(here: Path) -> None:
    timm_folder(here / "a")
    (here / "a" / "model.safetensors").rename(here / "a" / "s1.safetensors")
    index = {"weight_map": {"conv.weight": "s1.safetensors"}}
    (here / "a" / "model.safetensors.index.json").write_text(json.dumps(index))
    torch.save(timm.create_model("test_byobnet", num_classes=5).state_dict(), here / "a" / "pytorch_model.bin")
    assert "timm reads weights from one file" in refusal("a")  # and not the pickle beside them


def test_timms_skeleton_has_no_weights(here: Path) -> None:
    timm_folder(here / "a")
    skeleton = ZOO.skeleton(only("a"))
    assert skeleton is not None
    assert all(parameter.is_meta for parameter in skeleton.parameters())
    assert sum(parameter.numel() for parameter in skeleton.parameters()) == only("a").metadata["parameters"]


# --- code of its own -------------------------------------------------------------------------------------------------


def test_code_of_its_own_does_not_run_unless_allowed(here: Path) -> None:
    builder_folder(here / "a")
    assert only("a").metadata["remote_code"] is True
    with pytest.raises(RemoteCodeError, match=r"net\.py:build.* trust_remote_code=True .* --trust-remote-code"):
        ZOO.load(only("a"))
    assert ZOO.skeleton(only("a")) is None
    assert not (here / "a" / "ran").exists()


def test_allowed_code_gives_features_and_logits_in_one_pass(here: Path) -> None:
    builder_folder(here / "a")
    backbone = ZOO.load(only("a"), trust_remote_code=True)
    assert {parameter.dtype for parameter in backbone.module.parameters()} == {torch.float32}
    outputs, images = read(backbone), example_batch(backbone.preprocessing)
    module: Any = backbone.module
    with torch.inference_mode():
        assert torch.equal(outputs.features, module.forward_features(images))
        assert torch.equal(outputs.logits, module(images))
    assert isinstance(backbone.read, HeadInput)


def test_nothing_is_written_next_to_the_code(here: Path) -> None:
    builder_folder(here / "a")
    ZOO.load(only("a"), trust_remote_code=True)
    assert {path.name for path in (here / "a").iterdir()} == {"config.json", "model.safetensors", "net.py", "ran"}


def test_the_code_may_be_in_the_parent_and_is_part_of_the_identity(here: Path) -> None:
    builder_folder(here / "zoo" / "a", code=None)
    builder_folder(here / "zoo" / "b", code=None, seed=1)
    (here / "zoo" / "net.py").write_text(BUILDER)
    before = only("zoo/a")
    first, second = (ZOO.load(c, trust_remote_code=True) for c in ZOO.search("zoo"))
    assert first.preprocessing.key == second.preprocessing.key
    assert first.weights_key != second.weights_key
    (here / "zoo" / "net.py").write_text(BUILDER.replace("mean((2, 3))", "amax((2, 3))"))
    assert only("zoo/a").revision != before.revision


@pytest.mark.parametrize(
    "spec", ["../net.py:build", "/etc/net.py:build", "sub/net.py:build", "..\\net.py:build", "net:build"]
)
def test_code_elsewhere_is_refused(here: Path, spec: str) -> None:
    builder_folder(here / "zoo" / "a", code=None, builder=spec)
    for folder in (here, here / "zoo" / "a" / "sub"):
        folder.mkdir(exist_ok=True)
        (folder / "net.py").write_text(BUILDER)
    message = refusal("zoo/a", trust_remote_code=True)
    assert "expected 'file.py:function', with a file in the model's folder or its parent" in message
    assert not list(here.rglob("ran"))


def test_code_that_is_not_there_is_named(here: Path) -> None:
    (here / "net.py").write_text(BUILDER)  # two levels up is elsewhere
    builder_folder(here / "zoo" / "a", code=None)
    assert "'net.py' is neither in the model's folder nor in its parent" in refusal("zoo/a", trust_remote_code=True)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def build(folder): raise KeyError('x')", "net.py:build failed (KeyError: 'x')"),
        ("import sys; sys.exit(3)", "net.py:build failed (SystemExit: 3)"),
        ("def build(folder:", "net.py:build failed (SyntaxError"),
        ("build_it = None", "net.py:build failed (AttributeError"),
        ("def build(folder): return 3", "net.py:build returned int; expected (torch.nn.Module, transform)"),
        ("import torch\ndef build(folder): return torch.nn.Identity(), print", "has no method `forward_features`"),
        (BUILDER.replace(".mean((2, 3))", ".wrong()"), "`forward_features` failed on two images of noise"),
        (BUILDER.replace("/ 255", "/ 255 + torch.rand(1)"), "different tensors for the same image"),
    ],
)
def test_code_that_fails_costs_one_line(here: Path, code: str, reason: str) -> None:
    builder_folder(here / "a", code=code)
    assert reason in refusal("a", trust_remote_code=True)


GRID = BUILDER.replace(".mean((2, 3))", ".permute(0, 2, 3, 1) * 1").replace(
    "self.head(self.forward_features(batch))", "self.head(self.forward_features(batch).mean((1, 2)))"
)
UNSHOWN = GRID.replace("self.body(batch)", "torch.nn.functional.conv2d(batch, self.body.weight, self.body.bias)")


@pytest.mark.parametrize("classes", [4, 0])
@pytest.mark.parametrize("code", [GRID, UNSHOWN])
def test_a_grid_of_features_is_averaged_over_its_places(here: Path, code: str, classes: int) -> None:
    builder_folder(here / "a", code=code, num_classes=classes)
    backbone = ZOO.load(only("a"), trust_remote_code=True)
    images = example_batch(backbone.preprocessing)
    with torch.inference_mode():
        features, logits = backbone.read(backbone.module, images)
        assert torch.allclose(features, backbone.module.forward_features(images).mean((1, 2)))  # type: ignore[operator]
    assert (logits is None) == (classes == 0)


def test_a_grid_of_which_nothing_shows_the_channels_is_refused_with_what_settles_it(here: Path) -> None:
    builder_folder(here / "a", code=UNSHOWN, num_features=None)
    assert "set num_features in config.json" in refusal("a", trust_remote_code=True)
    builder_folder(here / "a", code=UNSHOWN, num_features=6)  # as the message says
    assert ZOO.load(only("a"), trust_remote_code=True).read is not None


@pytest.mark.parametrize(("key", "claimed", "given"), [("num_features", 7, 6), ("num_classes", 5, 4)])
def test_a_module_that_is_not_what_its_configuration_says_is_refused(
    here: Path, key: str, claimed: int, given: int
) -> None:
    builder_folder(here / "a", **{key: claimed})
    assert f"says {key} {claimed}, but its module gives {given}" in refusal("a", trust_remote_code=True)


def test_no_classes_mean_no_logits(here: Path) -> None:
    builder_folder(here / "a", num_classes=0)
    assert read(ZOO.load(only("a"), trust_remote_code=True)).logits is None


# --- transformers' form ----------------------------------------------------------------------------------------------


def transformers_folder(folder: Path, model: str, **settings: Any) -> Any:
    """A tiny random model of a class, as `save_pretrained` writes it in half precision; returned in float32."""
    import transformers

    common = {"image_size": 32, "num_labels": 5}
    tiny = {
        "ViT": {
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "patch_size": 8,
        },
        "DeiT": {
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "patch_size": 8,
        },
        "Dinov2": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8},
        "ResNet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
        "ConvNext": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2},
        "Swin": {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4, "patch_size": 4},
    }
    family = next(name for name in tiny if model.startswith(name))
    torch.manual_seed(0)
    configuration = getattr(transformers, f"{family}Config")(**{**common, **tiny[family], **settings})
    module = getattr(transformers, model)(configuration).eval().half()
    module.save_pretrained(folder)
    crop = {"do_center_crop": True, "crop_size": {"height": 32, "width": 32}, "size": {"shortest_edge": 36}}
    processor = (
        transformers.BitImageProcessor(**crop)
        if family in ("Dinov2", "ResNet")
        else transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    )
    processor.save_pretrained(folder)
    return module.float()


@pytest.mark.parametrize(
    ("model", "features"),
    [
        ("ViTForImageClassification", lambda m, x: m.vit(x).last_hidden_state[:, 0]),
        ("ResNetForImageClassification", lambda m, x: m.resnet(x).pooler_output.flatten(1)),
        ("ConvNextForImageClassification", lambda m, x: m.convnext(x).pooler_output),
        ("SwinForImageClassification", lambda m, x: m.swin(x).pooler_output),
        ("Dinov2ForImageClassification", None),
        ("DeiTForImageClassificationWithTeacher", lambda m, x: m.deit(x).last_hidden_state[:, 0]),
    ],
)
def test_transformers_classifiers_load_in_float32_with_their_own_numbers(
    here: Path, model: str, features: Callable[[Any, torch.Tensor], torch.Tensor] | None
) -> None:
    reference = transformers_folder(here / "a", model)
    candidate = only("a")
    assert candidate.metadata["source_classes"] == 5
    assert candidate.metadata["input_size"] == (3, 32, 32)
    assert candidate.metadata["parameters"] == sum(parameter.numel() for parameter in reference.parameters())
    backbone = ZOO.load(candidate)
    assert {parameter.dtype for parameter in backbone.module.parameters()} == {torch.float32}
    outputs, images = read(backbone), example_batch(backbone.preprocessing)
    with torch.inference_mode():
        assert torch.equal(outputs.logits, reference(images).logits)
        if features is not None:
            torch.testing.assert_close(outputs.features, features(reference, images), rtol=0, atol=1e-6)
    skeleton = ZOO.skeleton(candidate)
    assert skeleton is not None
    assert all(parameter.is_meta for parameter in skeleton.parameters())


@pytest.mark.parametrize("model", ["ViTForImageClassification", "ResNetForImageClassification"])
def test_transformers_images_are_prepared_by_their_own_processor_and_kept_in_bytes(here: Path, model: str) -> None:
    from PIL import Image
    from transformers import AutoImageProcessor

    transformers_folder(here / "a", model)
    preprocessing = ZOO.load(only("a")).preprocessing
    image = Image.effect_noise((70, 51), 90).convert("RGB")
    prepared = preprocessing.prepare(image)
    assert prepared.dtype == torch.uint8
    expected = AutoImageProcessor.from_pretrained(here / "a", backend="pil")(image, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(preprocessing.finish(prepared[None]), expected, rtol=0, atol=1e-5)
    transformers_folder(here / "b", model)
    assert ZOO.load(only("b")).preprocessing.key == preprocessing.key


def test_a_pooler_without_weights_is_not_read(here: Path) -> None:
    reference = transformers_folder(here / "a", "ViTForImageClassification")
    configuration = json.loads((here / "a" / "config.json").read_text())
    (here / "a" / "config.json").write_text(json.dumps(configuration | {"architectures": ["ViTModel"]}))
    outputs = read(backbone := ZOO.load(only("a")))
    images = example_batch(backbone.preprocessing)
    with torch.inference_mode():
        assert torch.equal(outputs.features, reference.vit(images).last_hidden_state[:, 0])
    assert outputs.logits is None


def test_a_pooler_with_weights_is_read(here: Path) -> None:
    reference = transformers_folder(here / "a", "ViTModel")
    outputs = read(backbone := ZOO.load(only("a")))
    with torch.inference_mode():
        assert torch.equal(outputs.features, reference(example_batch(backbone.preprocessing)).pooler_output)
    assert only("a").metadata["source_classes"] == 0


def test_layers_left_at_random_are_refused(here: Path) -> None:
    transformers_folder(here / "a", "ViTForImageClassification")
    state = load_file(here / "a" / "model.safetensors")
    lost = next(name for name in state if "layernorm" in name and name.endswith("weight"))
    save_file({k: v for k, v in state.items() if k != lost}, here / "a" / "model.safetensors", {"format": "pt"})
    assert "the weights lack 1 tensors of ViTForImageClassification" in refusal("a")


def test_transformers_says_nothing_of_its_own(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    transformers_folder(here / "a", "ViTModel")
    capfd.readouterr()
    ZOO.load(only("a"))
    assert capfd.readouterr() == ("", "")


def test_an_attention_that_would_be_fetched_from_the_hub_and_run_is_not(here: Path) -> None:
    transformers_folder(here / "a", "ViTForImageClassification")
    before = read(ZOO.load(only("a")))
    change_config(here / "a", attn_implementation="kernels-community/flash-attn3")
    candidate = only("a")
    after = read(ZOO.load(candidate))
    assert torch.equal(before.features, after.features)
    assert ZOO.skeleton(candidate) is not None


def test_a_class_in_code_of_its_own_needs_permission_and_never_asks(here: Path) -> None:
    transformers_folder(here / "a", "ViTForImageClassification")
    configuration = json.loads((here / "a" / "config.json").read_text())
    configuration |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    (here / "a" / "config.json").write_text(json.dumps(configuration))
    (here / "a" / "mine.py").write_text("open('ran', 'w')")
    with pytest.raises(RemoteCodeError, match="model type 'mine'"):
        ZOO.load(only("a"))
    assert not list(here.rglob("ran"))


def test_shards_are_read_together(here: Path) -> None:
    reference = transformers_folder(here / "a", "ViTForImageClassification")
    before = only("a").metadata["parameters"]
    (here / "a" / "model.safetensors").unlink()
    reference.save_pretrained(here / "a", max_shard_size="20KB")
    assert len(list((here / "a").glob("model-*.safetensors"))) > 1
    assert only("a").metadata["parameters"] == before
    outputs = read(backbone := ZOO.load(only("a")))
    with torch.inference_mode():
        assert torch.equal(outputs.logits, reference(example_batch(backbone.preprocessing)).logits)


# --- the lab ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab() -> list[Candidate]:
    return list(ZOO.search(f"{shared_path('lab', 'models')}/*"))


def lab_configuration(candidate: Candidate) -> dict[str, Any]:
    configuration: dict[str, Any] = json.loads((Path(candidate.name) / "config.json").read_text())
    return configuration


@pytest.mark.lab
def test_the_labs_metadata_is_what_its_table_says(lab: list[Candidate]) -> None:
    assert len(lab) == 29
    for candidate in lab:
        configuration, metadata = lab_configuration(candidate), candidate.metadata
        size = configuration["input"]["size"]
        assert set(metadata) <= {*METADATA_FIELDS, *TEXT_FIELDS}
        assert metadata["parameters"] == configuration["params"]
        assert metadata["input_size"] == (configuration["input"].get("channels", 3), size, size)
        assert metadata["source_classes"] == configuration["num_classes"]
        assert metadata.get("source_accuracy") == configuration["published_top1"]
        assert metadata["remote_code"] is ("builder" in configuration)
        assert metadata["license"].lower() in configuration["licence"].lower()


@pytest.mark.lab
@pytest.mark.slow
def test_all_of_the_lab_loads_and_reads_as_it_says(lab: list[Candidate]) -> None:
    backbones = {Path(c.name).name: ZOO.load(c, trust_remote_code=True) for c in lab}
    for name, backbone in backbones.items():
        configuration, module = lab_configuration(backbone.candidate), backbone.module
        images = example_batch(backbone.preprocessing)
        with torch.inference_mode():
            features, logits = backbone.read(module, images)
            assert features.shape == (2, configuration["num_features"]), name
            assert torch.isfinite(features).all(), name
            if "builder" in configuration:
                assert torch.equal(features, module.forward_features(images)), name  # type: ignore[operator]
            if configuration["num_classes"]:
                assert logits.shape == (2, configuration["num_classes"]), name
                assert torch.equal(logits, module(images)), name
            else:
                assert logits is None, name
    keys = {name: backbone.preprocessing.key for name, backbone in backbones.items()}
    said = [lab_configuration(candidate) for candidate in lab]
    distinct = {("builder" in s, *(str(s["input"].get(key)) for key in INPUT_KEYS)) for s in said}
    assert len(set(keys.values())) == len(distinct)  # so that each distinct preprocessing is decoded once
    assert keys["deeplab_mnv2_050_voc"] == keys["mobilenetv1_025_224_in1k"]
    assert keys["mobilenetv1_100_224_in1k"] == keys["mobilenetv2_100_224_inat_bird"]
    assert keys["resnet20_cifar10"] != keys["resnet8_cifar10"]


@pytest.mark.lab
def test_the_labs_code_does_not_run_unless_allowed(lab: list[Candidate]) -> None:
    for candidate in lab:
        if candidate.metadata["remote_code"]:
            with pytest.raises(RemoteCodeError, match="trust_remote_code=True"):
                ZOO.load(candidate)


@pytest.mark.lab
def test_timms_loader_and_the_labs_own_code_give_the_same_features() -> None:
    folder = shared_path("lab", "models", "mobilenetv2_100_224_in1k")
    backbone = ZOO.load(only(str(folder)))
    namespace: dict[str, Any] = {"__name__": "zoo"}
    exec(compile((folder.parent / "zoo.py").read_bytes(), "zoo.py", "exec"), namespace)
    module, _ = namespace["build_candidate"](str(folder))
    images = example_batch(backbone.preprocessing)
    with torch.inference_mode():
        assert torch.equal(backbone.read(backbone.module, images).features, module.forward_features(images))
