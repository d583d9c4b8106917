"""A folder that would block, never end, fill the memory or refer to other models is refused before it is read."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

from modelselect.errors import CandidateError
from modelselect_plugins.zoos import _bounds
from modelselect_plugins.zoos._transformers import texts
from modelselect_plugins.zoos.directory import DirectoryZoo
from tests.plugins.zoos.text_models import text_folder

ZOO = DirectoryZoo()


def vit(folder: Path, **changes: object) -> Path:
    torch.manual_seed(0)
    configuration = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=8
    )
    transformers.ViTModel(configuration).save_pretrained(folder)
    declared = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(declared | changes))
    processor(folder, height=32, width=32)
    return folder


def processor(folder: Path, **size: int) -> None:
    values = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    settings = {"image_processor_type": "ViTImageProcessor", "size": size, **values}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))


def replaced(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (replaced("config.json", os.mkfifo), "config.json is a named pipe"),
        (replaced("config.json", lambda path: path.symlink_to("/dev/zero")), "config.json is a device"),
        (replaced("config.json", lambda path: path.symlink_to("config.json")), "config.json cannot be looked at"),
        (replaced("model.safetensors", os.mkfifo), "model.safetensors is a named pipe; expected a file"),
        (replaced("tokenizer.json", os.mkfifo), "tokenizer.json is a named pipe; expected a file"),
        (replaced("preprocessor_config.json", lambda path: path.symlink_to("/dev/zero")), "is a device"),
        (lambda folder: vit(folder, num_hidden_layers=10**7), "asks for num_hidden_layers = 10,000,000"),
        (lambda folder: vit(folder, backbone="hf-hub:evil/x"), "refers to another model .backbone is 'hf-hub:evil/x'"),
        (lambda folder: vit(folder, transformers_weights="x.safetensors"), "another file in place of the usual one"),
        (lambda folder: vit(folder, vision_config={"transformers_weights": "x"}), "vision_config.transformers_weights"),
        (lambda folder: vit(folder, configuration_files=["../c.4.json"]), r"configuration_files\[0\] is ..\./c\.4"),
        (lambda folder: processor(folder, height=9999, width=9999), "9,999 x 9,999 pixels"),
        (lambda folder: processor(folder, shortest_edge=10**7), "expected at most 10,000 pixels on a side"),
    ],
)
def test_a_folder_is_refused_quickly_with_the_reason(
    tmp_path: Path, change: Callable[[Path], object], words: str
) -> None:
    change(vit(tmp_path / "model"))
    begun = time.perf_counter()
    found = list(ZOO.search(str(tmp_path / "model")))
    assert len(found) == 1  # and not: no candidate matches
    with pytest.raises(CandidateError, match=words):
        ZOO.load(found[0])
    assert time.perf_counter() - begun < 200


def test_a_folder_as_it_should_be_is_loaded(tmp_path: Path) -> None:
    usual = {"configuration_files": ["config.json"], "transformers_weights": "model.safetensors"}
    (found,) = ZOO.search(str(vit(tmp_path / "model", **usual)))
    assert ZOO.load(found).module is not None


def test_a_tokenizer_is_read_from_the_usual_files_alone(tmp_path: Path) -> None:
    text_folder(tmp_path / "model")
    file = tmp_path / "model" / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"fast_tokenizer_files": ["../tokenizer.4.0.json"]}))
    (found,) = ZOO.search(str(tmp_path / "model"))
    with pytest.raises(CandidateError, match=r"tokenizer_config\.json asks for another file in place of the usual one"):
        ZOO.load(found)


def test_the_revision_covers_every_file_that_a_tokenizer_of_transformers_reads() -> None:
    kinds = {kind for kind in transformers.TOKENIZER_MAPPING.values() if hasattr(kind, "vocab_files_names")}
    read = {name for kind in kinds for name in kind.vocab_files_names.values()}
    assert len(read) > 10
    assert read - {"normalizer.json"} <= {*texts.FILES}  # Whisper's, which is for its answers


@pytest.mark.parametrize("key", ["a" * 100_000, "[1]" * 30_000 + "x"], ids=["letters", "brackets"])
def test_long_keys_of_a_configuration_take_no_time(key: str) -> None:
    begun = time.perf_counter()
    _bounds.check_configuration({key: [0] * 2000}, 10)
    assert time.perf_counter() - begun < 5


def test_a_description_may_not_be_endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bounds, "LARGEST_DESCRIPTION", 100)
    (tmp_path / "tokenizer.json").write_text("x" * 101)
    with pytest.raises(CandidateError, match=r"tokenizer\.json has 101 bytes"):
        _bounds.check_files(tmp_path)


def test_no_network_is_reached_for_a_folder() -> None:
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    with _bounds.without_network():
        assert constants.HF_HUB_OFFLINE
    assert before == constants.HF_HUB_OFFLINE


def test_threads_that_load_folders_at_once_leave_the_network_as_it_was() -> None:
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    first, second = _bounds.without_network(), _bounds.without_network()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert constants.HF_HUB_OFFLINE
    second.__exit__(None, None, None)
    assert before == constants.HF_HUB_OFFLINE
