"""A fine-tuned model is written as a folder that its library loads with the same outputs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import transformers
from PIL import Image
from safetensors.numpy import load_file

import modelselect as ms
from modelselect.candidates.backbone import Backbone
from modelselect.errors import CandidateError, InvalidInputError, RemoteCodeError
from modelselect.leaderboard.leaderboard import Row
from modelselect_plugins.zoos.hub import HubZoo
from tests.hub import models
from tests.plugins.zoos.test_directory import builder_folder
from tests.verification.tuned import NAMES, TEXTS, agrees, batch_of, put, tuned_row

pytestmark = pytest.mark.usefixtures("here")


def logits_of(backbone: Backbone) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = backbone.module(batch_of(backbone))
    return logits


SOURCES = {
    "timm": lambda: put("models/timm", models.timm_files()),
    "timm convolutional": lambda: put("models/timm", models.timm_files("test_efficientnet")),
    "vit": lambda: put("models/vit", models.image_files("vit")),
    "resnet": lambda: put("models/resnet", models.image_files("resnet")),
    "dinov2": lambda: put("models/dinov2", models.image_files("dinov2")),
    "bert": lambda: put("models/bert", models.text_files()),
    "embedded": lambda: "embedded:resnet.letters",
}


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_loaded_and_what_is_saved_give_the_fine_tuned_logits(source: str) -> None:
    row, expected = tuned_row(SOURCES[source]())
    loaded = row.load()
    assert loaded.class_names == NAMES
    assert not loaded.module.training
    assert agrees(logits_of(loaded), expected)

    row.save("saved")
    assert not list(Path("saved").glob("*.bin"))
    (again,) = ms.search("dir:saved")
    found = Row(again).load()
    assert agrees(found.read(found.module, batch_of(loaded)).logits, expected)  # type: ignore[arg-type]
    assert found.preprocessing.key == loaded.preprocessing.key


@pytest.mark.parametrize("source", ["timm", "embedded", "vit"])
def test_of_a_head_alone_the_backbone_is_the_pre_trained_one(source: str) -> None:
    row, expected = tuned_row(SOURCES[source](), head_only=True)
    loaded = row.load()
    assert agrees(logits_of(loaded), expected)
    row.save("saved")
    found = Row(*ms.search("dir:saved")).load()
    assert agrees(found.read(found.module, batch_of(loaded)).logits, expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("architecture", ["test_vit", "test_efficientnet", "test_resnet", "test_convnext"])
def test_timm_loads_what_was_saved_of_a_timm_model(architecture: str) -> None:
    row, expected = tuned_row(put("models/a", models.timm_files(architecture)))
    row.save("saved")
    module = timm.create_model("local-dir:saved", pretrained=True).eval()
    with torch.no_grad():
        assert agrees(module(batch_of(row.load())), expected)
    assert module.pretrained_cfg["label_names"] == list(NAMES)
    assert module.pretrained_cfg["input_size"] == timm.create_model("local-dir:models/a").pretrained_cfg["input_size"]
    (again,) = ms.search("dir:saved")
    assert again.metadata["source_classes"] == 3
    assert "source_dataset" not in again.metadata


@pytest.mark.parametrize("kind", ["vit", "resnet", "convnext"])
def test_transformers_loads_what_was_saved_of_its_models(kind: str) -> None:
    row, expected = tuned_row(put("models/a", models.image_files(kind)))
    row.save("saved")
    module = transformers.AutoModelForImageClassification.from_pretrained("saved")
    processor = transformers.AutoImageProcessor.from_pretrained("saved", backend="pil")
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    loaded = row.load()
    own = loaded.preprocessing.finish(loaded.preprocessing.prepare(image)[None])
    assert torch.allclose(processor(image, return_tensors="pt")["pixel_values"], own, atol=1e-5)
    with torch.no_grad():
        assert agrees(module(batch_of(loaded)).logits, expected)
    assert module.config.id2label == dict(enumerate(NAMES))


def test_a_text_classifier_is_saved_with_its_tokenizer(here: Path) -> None:
    files = models.text_files()
    put("models/encoder", files)
    classifier = transformers.AutoModelForSequenceClassification.from_pretrained("models/encoder", num_labels=4)
    classifier.save_pretrained("models/classifier")
    put("models/classifier", {name: files[name] for name in files if "token" in name or "vocab" in name})
    row, expected = tuned_row("dir:models/classifier")
    row.save("saved")
    classify = transformers.pipeline("text-classification", model="saved", top_k=None)
    for text, logits in zip(TEXTS, expected, strict=True):
        found = {each["label"]: each["score"] for each in classify([text])[0]}
        assert [found[name] for name in NAMES] == pytest.approx(logits.softmax(0).tolist(), abs=1e-4)


def test_a_head_that_its_library_has_no_form_for_is_saved_with_its_backbone() -> None:
    row, expected = tuned_row(put("models/a", models.text_files()))  # mean pooling is no classifier of transformers
    row.save("saved")
    configuration = json.loads(Path("saved/config.json").read_text())
    assert configuration["fine_tuned_from"] == row.candidate.id
    assert configuration["label_names"] == list(NAMES)
    assert load_file("saved/model.safetensors").keys() == {"head.weight", "head.bias"}  # the rest is in the backbone
    shutil.rmtree("models")
    Path("saved").rename("elsewhere")
    (again,) = ms.search("dir:elsewhere")
    assert agrees(logits_of(Row(again).load()), expected)
    weights = Path("elsewhere/backbone/config.json")
    weights.write_text(weights.read_text() + " ")
    assert ms.search("dir:elsewhere")[0].revision != again.revision


def test_a_folder_that_names_its_origin_without_a_revision_is_refused() -> None:
    row, _ = tuned_row(put("models/a", models.text_files()))
    row.save("saved")
    shutil.rmtree("saved/backbone")
    file = Path("saved/config.json")
    assert len(list(ms.search("dir:saved"))) == 1
    file.write_text(file.read_text().replace(row.candidate.id, row.candidate.unversioned_id))
    (found,) = ms.search("dir:saved")
    with pytest.raises(CandidateError, match=f"the id has no fixed revision, such as @{row.candidate.revision}"):
        Row(found).load()


@pytest.mark.parametrize("origin", ["hub:a/b", "hub:a/b@main", "hub:?author=a&limit=1", "layer:hub:a/b?layer=2"])
def test_a_folder_whose_origin_is_no_fixed_commit_does_not_ask_the_hub(
    origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, _ = tuned_row(put("models/a", models.text_files()))
    row.save("saved")
    shutil.rmtree("saved/backbone")
    file = Path("saved/config.json")
    file.write_text(file.read_text().replace(row.candidate.id, origin))
    (found,) = ms.search("dir:saved")
    monkeypatch.setattr(HubZoo, "search", lambda *_: pytest.fail("the Hub was asked"))
    with pytest.raises(CandidateError, match="no fixed revision, the commit"):
        Row(found).load()


def test_a_folder_without_its_backbone_needs_the_candidate_that_it_came_from() -> None:
    row, _ = tuned_row(put("models/a", models.text_files()))
    row.save("saved")
    shutil.rmtree("models")
    shutil.rmtree("saved/backbone")
    with pytest.raises(
        CandidateError, match=r"the model was fine-tuned from 'directory:models/a@.*, which cannot be loaded here"
    ):
        Row(*ms.search("dir:saved")).load()


def test_a_builders_model_is_saved_and_asks_for_trust_again() -> None:
    builder_folder(Path("models/own"))
    row, expected = tuned_row("dir:models/own", trust=True)
    row.save("saved", trust_remote_code=True)
    shutil.rmtree("models")
    (again,) = ms.search("dir:saved")
    with pytest.raises(RemoteCodeError):
        Row(again).load()
    found = Row(again).load(trust_remote_code=True)
    assert agrees(found.read(found.module, batch_of(found)).logits, expected)  # type: ignore[arg-type]


def test_what_is_there_already_is_not_overwritten() -> None:
    row, _ = tuned_row("embedded:resnet.letters")
    Path("saved").mkdir()
    Path("saved/mine").write_text("precious")
    with pytest.raises(InvalidInputError, match="'saved' holds something already; give a new or an empty folder"):
        row.save("saved")
    assert [path.name for path in Path("saved").iterdir()] == ["mine"]
    assert [path.name for path in Path().iterdir() if path.name != "cache"] == ["saved"]


def test_a_model_that_is_saved_again_stays_as_it_is_and_another_one_is_refused() -> None:
    row, _ = tuned_row("embedded:resnet.letters")
    row.save("saved")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in Path("saved").iterdir()}
    row.save("saved")
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in Path("saved").iterdir()} == before
    assert sorted(path.name for path in Path().iterdir() if path.name != "cache") == ["saved"]
    other, _ = tuned_row("embedded:plain.letters")
    with pytest.raises(InvalidInputError, match="'saved' holds another saved model; give a new or an empty folder"):
        other.save("saved")
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in Path("saved").iterdir()} == before
    weights = Path("saved/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(InvalidInputError, match="'saved' holds something already; give a new or an empty folder"):
        row.save("saved")


def test_whoever_may_read_the_folder_may_read_all_that_was_saved_in_it() -> None:
    row, _ = tuned_row("embedded:resnet.letters")
    Path("plain").touch()
    row.save("saved")
    assert {path.stat().st_mode for path in Path("saved").iterdir()} == {Path("plain").stat().st_mode}
