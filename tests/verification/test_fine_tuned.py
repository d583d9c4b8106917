"""The winner: kept, loaded ready to use, and written as a folder that its library loads with the same outputs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
import yaml
from PIL import Image
from safetensors.torch import load_file

import modelselect as ms
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.preprocessing import TextPreprocessing, example_batch
from modelselect.errors import CandidateError, InvalidInputError, RemoteCodeError
from modelselect.leaderboard.leaderboard import Row
from modelselect.store.store import Store
from modelselect.verification import FineTuning
from modelselect.verification.fine_tuned import KIND
from tests.hub import models
from tests.hub.server import Hub
from tests.plugins.zoos.test_directory import builder_folder

NAMES = ("cat", "dog", "<script>")
TEXTS = ("good bad", "it is a good one", "the")
QUICK = FineTuning(epochs=2, batch_size=16)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELSELECT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def put(folder: str, files: Mapping[str, bytes]) -> str:
    """The files in a folder, as a candidate expression."""
    for name, content in files.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return f"dir:{folder}"


def batch_of(backbone: Backbone) -> torch.Tensor:
    if isinstance(backbone.preprocessing, TextPreprocessing):
        return backbone.preprocessing.finish(torch.stack([backbone.preprocessing.prepare(text) for text in TEXTS]))
    return example_batch(backbone.preprocessing)


def tuned_row(expression: str, *, head_only: bool = False, trust: bool = False) -> tuple[Row, torch.Tensor]:
    """A row whose candidate has weights of its own in the store, and the logits that it must give."""
    (candidate,) = ms.search(expression)
    backbone = Row(candidate).load(trust_remote_code=trust)
    generator = torch.Generator().manual_seed(5)
    weights: dict[str, Any] = {}
    if not head_only:
        with torch.no_grad():
            for parameter in backbone.module.parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
        weights = {f"body.{name}": tensor.numpy() for name, tensor in backbone.module.state_dict().items()}
    with torch.no_grad():
        features = backbone.read(backbone.module, batch_of(backbone)).features
    weight = torch.randn(len(NAMES), features.shape[1], generator=generator)
    bias = torch.randn(len(NAMES), generator=generator)
    weights |= {"head.weight": weight.numpy(), "head.bias": bias.numpy()}
    key = Store.key(KIND, of=candidate.id)
    Store().put(key, weights, {"class_names": NAMES, "method": "head" if head_only else "full"})
    row = Row(candidate, rank=1, score=1.0, verified_accuracy=0.9, verified_interval=(0.8, 0.95), fine_tuned=key)
    return row, features @ weight.T + bias


def agrees(given: torch.Tensor, expected: torch.Tensor) -> bool:
    return torch.allclose(given, expected, rtol=1e-4, atol=1e-4)


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


def test_a_head_that_its_library_has_no_form_for_is_saved_in_ours() -> None:
    row, _ = tuned_row(put("models/a", models.text_files()))  # mean pooling is no classifier of transformers
    row.save("saved")
    configuration = json.loads(Path("saved/config.json").read_text())
    assert configuration["fine_tuned_from"] == row.candidate.id
    assert configuration["label_names"] == list(NAMES)
    shutil.rmtree("models")
    with pytest.raises(
        CandidateError, match=r"the model was fine-tuned from 'directory:models/a@.*, which cannot be loaded here"
    ):
        Row(*ms.search("dir:saved")).load()


def test_a_builders_model_is_saved_and_asks_for_trust_again() -> None:
    builder_folder(Path("models/own"))
    row, expected = tuned_row("dir:models/own", trust=True)
    row.save("saved", trust_remote_code=True)
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


def test_whoever_may_read_the_folder_may_read_all_that_was_saved_in_it() -> None:
    row, _ = tuned_row("embedded:resnet.letters")
    Path("plain").touch()
    row.save("saved")
    assert {path.stat().st_mode for path in Path("saved").iterdir()} == {Path("plain").stat().st_mode}


def test_weights_that_are_not_here_are_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    row, _ = tuned_row("embedded:resnet.letters")
    row = replace(row, fine_tuned_in=str(tmp_path / "elsewhere"))
    assert row.load().class_names == NAMES  # the user's own store is looked into, too
    monkeypatch.setenv("MODELSELECT_CACHE", str(tmp_path / "other"))
    for use in (row.load, lambda: row.save("saved"), lambda: row.push_to_hub("me/it")):
        with pytest.raises(CandidateError, match=r"not in .*elsewhere or .*other: .*another machine.*cache_dir="):
            use()
    assert row.load(cache_dir=tmp_path / "cache").class_names == NAMES
    assert row.load(fine_tuned=False).class_names is None


def test_a_row_without_fine_tuned_weights_says_why() -> None:
    (candidate,) = ms.search("embedded:resnet.letters")
    assert Row(candidate).load().class_names is None
    with pytest.raises(CandidateError, match="it was not fine-tuned"):
        Row(candidate).load(fine_tuned=True)
    with pytest.raises(CandidateError, match="only the best candidate's weights are kept"):
        Row(candidate, verified_accuracy=0.5).save("saved")


def test_it_is_published_with_a_card_that_shows_text_as_text(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.model("me/vit", models.image_files("vit"), library_name="transformers", license="mit", tags=["license:mit"])
    row, expected = tuned_row("hub:me/vit")
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    row.push_to_hub("writer/winner")
    files = hub.repositories["models", "writer/winner"].commits[-1][1]
    assert {"README.md", "config.json", "model.safetensors", "preprocessor_config.json"} <= files.keys()
    card = files["README.md"].decode()
    assert card.startswith("---\n")
    header = yaml.safe_load(card.split("---")[1])
    assert header == {
        "tags": ["modelselect", "transformers"], "library_name": "transformers",
        "pipeline_tag": "image-classification", "license": "mit", "base_model": "me/vit",
    }  # fmt: skip
    assert "<script>" not in card.split("---", 2)[2]
    assert "90.0% (95% interval 80.0% to 95.0%)" in card
    found = Row(*ms.search("hub:writer/winner")).load()
    assert agrees(found.read(found.module, batch_of(found)).logits, expected)  # type: ignore[arg-type]


# --- the whole way ---------------------------------------------------------------------------------------------------


def stripes() -> tuple[Any, list[str]]:
    """Images of three kinds, which differ in where they are bright."""
    random = np.random.default_rng(0)
    images = random.integers(0, 120, (90, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(90) % 3
    for index, label in enumerate(labels):
        images[index, 10 * label : 10 * label + 12] += 100
    return images, [NAMES[label] for label in labels]


def fine_tuned_entries() -> list[str]:
    return [entry.key for entry in Store().entries() if entry.kind == KIND]


def test_the_winner_predicts_what_it_was_verified_with(here: Path) -> None:
    board = ms.select(
        stripes(), ["embedded:resnet.letters", "embedded:plain.letters", "embedded:vit.letters"], estimators="centroid",
        top_k=2, fine_tuning=FineTuning(epochs=4, head_learning_rate=0.02, batch_size=16), progress=False,
    )  # fmt: skip
    assert fine_tuned_entries() == [board.best.fine_tuned]
    assert [row.fine_tuned for row in board.rows[1:]] == [None, None]
    board.save("board.json")
    best = ms.Leaderboard.load("board.json").best
    loaded = best.load()
    assert loaded.class_names == tuple(sorted(NAMES))
    holdout = ms.Probe.of(stripes(), size=2000, holdout=0.2).holdout
    assert holdout is not None
    rows = [loaded.preprocessing.prepare(holdout.item(index)) for index in range(len(holdout))]
    with torch.no_grad():
        predicted = loaded.module(loaded.preprocessing.finish(torch.stack(rows))).argmax(1).numpy()
    assert (predicted == holdout.labels).mean() == best.verified_accuracy
    assert not any(Path("cache/scratch").iterdir())
    assert best.fine_tuned_in is None  # the user's own store, whose place is nobody else's business

    found = board.verification
    assert found is not None
    assert found.n == 2
    by_score = next(row for row in board.rows if row.predicted_rank == 1)
    assert found.top1_regret == pytest.approx(best.verified_accuracy - by_score.verified_accuracy)  # type: ignore[operator]
    assert "Score and accuracy of the 2 fine-tuned models" in " ".join(str(board).split())
    assert json.loads(board.to_json())["verification"]["n"] == 2


def test_evicted_weights_are_made_again_and_those_of_other_boards_stay() -> None:
    def select(candidates: Any, top_k: int) -> ms.Leaderboard:
        return ms.select(stripes(), candidates, estimators="centroid", top_k=top_k, fine_tuning=QUICK, progress=False)

    first = select("embedded:plain.letters", 1)
    both = select(["embedded:plain.letters", "embedded:resnet.letters"], 2)
    first.best.load()  # whether or not it is the better one of the two
    Store().evict(kind=KIND, max_bytes=0)
    again = select(["embedded:plain.letters", "embedded:resnet.letters"], 2)
    assert again == both
    again.best.load()
    assert fine_tuned_entries() == [again.best.fine_tuned]


def test_weights_in_a_store_of_the_callers_choice_are_found_again(here: Path) -> None:
    board = ms.select(
        stripes(), "embedded:plain.letters", estimators="centroid", top_k=1, verify="head", fine_tuning=QUICK,
        cache_dir="own", executor="process", progress=False,
    )  # fmt: skip
    assert board.best.load().class_names == tuple(sorted(NAMES))
    assert fine_tuned_entries() == []


def test_a_callers_own_module_is_saved_for_its_caller() -> None:
    inputs = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    module = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU())
    board = ms.select((inputs, [0, 1] * 20), module, estimators="centroid", top_k=1, fine_tuning=QUICK, progress=False)
    with pytest.raises(CandidateError, match=r"the caller's own.*save\(\) writes its weights"):
        board.best.load()
    board.best.save("saved")
    weights = load_file("saved/model.safetensors")
    body = {name.removeprefix("body."): value for name, value in weights.items() if name.startswith("body.")}
    module.load_state_dict(body)
    assert weights["head.weight"].shape == (2, 5)
    with pytest.raises(CandidateError, match="cannot be loaded here"):
        Row(*ms.search("dir:saved")).load()


def test_methods_are_told_apart_in_store_and_history(tmp_path: Path) -> None:
    history = ms.History(tmp_path / "history.sqlite")
    for method in ("full", "head"):
        board = ms.select(
            stripes(), "embedded:plain.letters", estimators="centroid", top_k=1, verify=method, fine_tuning=QUICK,
            history=history, progress=False,
        )  # fmt: skip
        assert board.provenance["settings"]["fine_tuning"]["method"] == method
    assert len(fine_tuned_entries()) == 2
    measured = [result for result in history.results() if result.metric == "accuracy"]
    assert {result.settings["fine_tuning"]["method"] for result in measured} == {"full", "head"}
