"""A fine-tuned model predicts, from the store and from a folder, and reads its inputs as its training data."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

import modelselect as ms
from modelselect.errors import CandidateError, InvalidInputError, ModelSelectError
from modelselect.leaderboard.leaderboard import Row
from modelselect.probe.images import Reading
from modelselect.store.store import Store
from modelselect.verification.model import Model
from modelselect.verification.signature import SIGNATURE, Signature
from tests.hub import models
from tests.verification.tuned import NAMES, TEXTS, put, tuned_row

pytestmark = pytest.mark.usefixtures("here")

QUICK = ms.FineTuning(epochs=6, head_learning_rate=0.02, batch_size=16)


def halves(count: int = 60) -> tuple[Any, Any]:
    """Images that are bright above or below, and which they are."""
    random = np.random.default_rng(0)
    images = random.integers(0, 120, (count, 32, 32, 3), dtype=np.uint8)
    for index in range(count):
        images[index, 16 * (index % 2) : 16 * (index % 2) + 16] += 100
    return images, np.arange(count) % 2


def board_of(dataset: Any) -> ms.Leaderboard:
    return ms.select(
        dataset, "embedded:plain.letters", estimators="centroid", top_k=1, fine_tuning=QUICK, progress=False
    )


@pytest.mark.parametrize(
    "own", [lambda i: int(i) + 3, bool, lambda i: ["above", "below"][i]], ids=["int", "bool", "str"]
)
def test_predictions_have_the_labels_of_the_dataset_in_their_own_type(own: Any) -> None:
    images, sides = halves()
    labels = [own(side) for side in sides]
    best = board_of((images, labels)).best
    found = best.predict(images)
    assert {type(label) for label in found.labels} == {type(labels[0])}
    assert np.mean([a == b for a, b in zip(found.labels, labels, strict=True)]) > 0.8
    best.save("winner")
    again = ms.load("winner").predict(images)
    assert again.labels == found.labels
    np.testing.assert_allclose(again.probabilities, found.probabilities, atol=1e-5)


def test_what_is_predicted_does_not_depend_on_the_batch_or_on_the_others() -> None:
    row, _ = tuned_row("embedded:resnet.letters")
    images, _ = halves(7)
    whole = row.predict(images)
    model = row.load()
    assert model.predict(images, batch_size=2).labels == whole.labels
    for index in range(3):
        alone = model.predict(Image.fromarray(images[index]))
        assert alone[0].label == whole[index].label
        assert alone[0].probability == pytest.approx(whole[index].probability, abs=1e-5)
    np.testing.assert_allclose(whole.probabilities.sum(1), 1, atol=1e-5)
    assert whole.probabilities.max(1).tolist() == pytest.approx([each.probability for each in whole])


def test_an_unreadable_input_is_named_and_costs_no_other() -> None:
    row, _ = tuned_row("embedded:resnet.letters")
    Image.new("RGB", (40, 40), "red").save("good.png")
    Path("bad.png").write_bytes(b"no image")
    found = row.predict(["good.png", "bad.png", "missing.png", None])
    assert found[0].label in NAMES
    assert [each.reason is not None for each in found] == [False, True, True, True]
    assert [each.input for each in found.unreadable] == ["bad.png", "missing.png", "input 3"]
    assert found[2].reason == "no such file"
    assert np.isnan(found.probabilities[1:]).all()
    assert "bad.png      –" in str(found)
    assert found.described()[0]["probabilities"][str(found[0].label)] == found[0].probability
    Image.new("RGB", (40, 40)).save("large.png")
    assert "--max-pixels" in str(row.predict("large.png", max_pixels=100)[0].reason)


@pytest.mark.parametrize("size", [0, 2.0, True, None])
def test_a_batch_size_is_a_whole_number(size: Any) -> None:
    with pytest.raises(InvalidInputError, match="expected a whole number"):
        tuned_row("embedded:resnet.letters")[0].predict(halves(3)[0], batch_size=size)


def test_numbers_that_are_not_finite_are_no_prediction() -> None:
    model = tuned_row("embedded:resnet.letters")[0].load()
    with torch.no_grad():
        next(model.module.parameters()).fill_(float("nan"))
    found = model.predict(halves(3)[0])
    assert [(each.label, each.probability) for each in found] == [(None, None)] * 3
    assert "weights may be damaged" in str(found.unreadable[2].reason)


def test_images_are_read_as_those_of_the_dataset_were() -> None:
    images, sides = halves()
    Path("data").mkdir()
    for index, image in enumerate(images):
        exif = Image.Exif()
        exif[0x0112] = 3  # upside down, for those who look at it
        Image.fromarray(image).save(f"data/{index}.png", exif=exif)
    import pandas as pd

    frame = pd.DataFrame({"image": [f"data/{index}.png" for index in range(60)], "label": sides})
    turned = board_of(frame).best.load()  # of frames, the orientation is applied
    plain = board_of((list(frame["image"]), sides)).best.load()  # of lists, it is not
    assert turned.signature is not None
    assert turned.signature.reading.upright
    given = Image.fromarray(images[0]), Image.fromarray(images[0]).rotate(180)
    found = turned.predict("data/0.png"), plain.predict("data/0.png")
    assert found[0][0].probability == pytest.approx(turned.predict(given[1])[0].probability)
    assert found[1][0].probability == pytest.approx(plain.predict(given[0])[0].probability)


def test_saved_folders_predict_in_another_process() -> None:
    expressions = {
        "timm": put("models/timm", models.timm_files()),
        "vit": put("models/vit", models.image_files("vit")),
        "embedded": "embedded:resnet.letters",
    }
    images, _ = halves(4)
    np.save("images.npy", images)
    found = {}
    for name, expression in expressions.items():
        row, _ = tuned_row(expression)
        found[name] = row.predict(images)
        row.save(name)
    code = (
        "import json, sys, numpy as np, modelselect as ms\n"
        "images = np.load('images.npy')\n"
        "print(json.dumps([ms.load(name).predict(images).described() for name in sys.argv[1:]]))"
    )
    done = subprocess.run([sys.executable, "-c", code, *found], capture_output=True, text=True, check=True)
    for name, again in zip(found, json.loads(done.stdout.splitlines()[-1]), strict=True):
        assert [each["label"] for each in again] == found[name].labels, name
        expected = [each.probability for each in found[name]]
        assert [each["probability"] for each in again] == pytest.approx(expected, abs=1e-4), name


def test_a_model_of_texts_predicts_texts() -> None:
    row, expected = tuned_row(put("models/a", models.text_files()))
    found = row.predict(list(TEXTS))
    np.testing.assert_allclose(found.probabilities, expected.softmax(1).numpy(), atol=1e-4)
    assert found[0].input == TEXTS[0]
    row.save("winner")
    again = ms.load("winner").predict(TEXTS[0])
    assert again[0].label == found[0].label
    assert again[0].probability == pytest.approx(found[0].probability, abs=1e-4)
    pair = row.predict((TEXTS[0], TEXTS[1]))
    assert len(pair) == 1
    assert pair[0].input == f"{TEXTS[0]} / {TEXTS[1]}"


def test_without_fine_tuning_one_error_says_how() -> None:
    (candidate,) = ms.search("embedded:resnet.letters")
    with pytest.raises(CandidateError, match=r"it was not fine-tuned. Fine-tune with select\(\.\.\., top_k=1\)"):
        Row(candidate).predict("photo.jpg")
    with pytest.raises(CandidateError, match=r"is not fine-tuned on a dataset of yours.*top_k=1"):
        ms.load("embedded:resnet.letters").predict("photo.jpg")


def test_a_plain_name_is_loaded_where_one_zoo_knows_it() -> None:
    assert ms.load("resnet.letters").candidate.id == ms.load("embedded:resnet.letters").candidate.id


def test_load_says_what_it_expects() -> None:
    with pytest.raises(InvalidInputError, match=r"there is no model 'winner' here; expected a folder that --save"):
        ms.load("winner")
    with pytest.raises(InvalidInputError, match="stands for 12 candidates; expected one"):
        ms.load("embedded:*")
    row, _ = tuned_row("embedded:resnet.letters")
    row.save("winner")
    assert ms.load(Path("winner")).class_names == ms.load("dir:winner").class_names == NAMES
    assert isinstance(ms.load(row.candidate), Model)
    Path("winner", SIGNATURE).write_text('{"labels": [1.5]}')
    with pytest.raises(CandidateError, match="the file is damaged"):
        ms.load("winner")


def test_weights_that_are_not_those_that_were_saved_are_named(caplog: pytest.LogCaptureFixture) -> None:
    row, _ = tuned_row("embedded:resnet.letters")
    row.save("winner")
    ms.load("winner")
    assert not caplog.records
    path = Path("winner", "model.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    ms.load("winner")
    assert "'model.safetensors' in 'winner' is not as saved: changed since, or damaged" in caplog.text


def test_a_strangers_folder_does_not_lift_the_bound_of_pixels() -> None:
    row, _ = tuned_row("embedded:resnet.letters")
    row.save("winner")
    path = Path("winner", SIGNATURE)
    known = json.loads(path.read_text())
    path.write_text(json.dumps({**known, "reading": {**known["reading"], "max_pixels": 10**15}}))
    signature = ms.load("winner").signature
    assert signature is not None
    assert signature.reading.max_pixels == Reading().max_pixels


def test_a_folder_whose_parts_do_not_belong_together_is_one_error() -> None:
    row, _ = tuned_row("embedded:resnet.letters")
    row.save("winner")
    path = Path("winner", SIGNATURE)
    path.write_text(json.dumps({**json.loads(path.read_text()), "labels": ["a", "b", "c", "d", "e", "f", "g"]}))
    with pytest.raises(CandidateError, match="its files do not belong together"):
        ms.load("winner").predict(halves(3)[0])


def test_weights_that_an_earlier_version_kept_predict_too() -> None:
    row, _ = tuned_row("embedded:resnet.letters")  # its entry names classes and method only
    assert Store().get(str(row.fine_tuned)).metadata.keys() == {"class_names", "method"}  # type: ignore[union-attr]
    assert row.predict(halves(1)[0])[0].label in NAMES


def test_memory_that_runs_out_halves_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    row, _ = tuned_row("embedded:resnet.letters")
    model, (images, _) = row.load(), halves(8)
    expected, read, sizes = model.predict(images), model.read, []

    def short_of_memory(module: Any, batch: Any) -> Any:
        sizes.append(len(batch))
        if len(batch) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return read(module, batch)

    found = replace(model, read=short_of_memory).predict(images)
    assert sizes == [8, 4, 2, 2, 4, 2, 2]
    assert found.labels == expected.labels


@pytest.mark.parametrize("key", ["labels", "modality", "reading", "targets", "unit"])
@pytest.mark.parametrize("wrong", [{"mode": 1}, [["a"]], 1.5, None, "x"], ids=str)
def test_a_description_that_says_nothing_is_one_error(key: str, wrong: Any) -> None:
    described = {"labels": ["a"], "modality": "image", "reading": {"mode": None}, "targets": "numbers", "unit": "row"}
    assert Signature.of_description(described) is not None
    assert Signature.of_description(described | {key: wrong}) is None


@pytest.mark.parametrize("name", ["modelselect.json", "config.json"])
def test_a_description_without_an_end_is_one_error(name: str) -> None:
    row, _ = tuned_row("embedded:resnet.letters")
    row.save("winner")
    with Path("winner", name).open("r+b") as file:
        file.truncate(1 << 36)
    with pytest.raises(ModelSelectError, match=r"does not say what the model takes|has 68,719,476,736 bytes"):
        ms.load("winner")


@pytest.mark.parametrize("change", ["no head", "no bias", "a vector", "three axes", "two files"])
def test_fine_tuned_weights_without_a_head_are_one_error(change: str) -> None:
    row, _ = tuned_row("embedded:resnet.letters")
    row.save("winner")
    path = Path("winner", "model.safetensors")
    arrays = load_file(path)
    wrong = {"a vector": np.zeros(3, np.float32), "three axes": np.zeros((2, 3, 4), np.float32)}.get(change)
    for name in ("head.weight", "head.bias"):
        if change == "no head" or (change == "no bias" and name == "head.bias"):
            del arrays[name]
    if wrong is not None:
        arrays["head.weight"] = wrong
    save_file(arrays, path)
    if change == "two files":
        path.rename("winner/one.safetensors")
        weights = {"a": "one.safetensors", "b": "two.safetensors"}
        Path("winner", "two.safetensors").write_bytes(Path("winner", "one.safetensors").read_bytes())
        Path("winner", "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    with pytest.raises(CandidateError, match=r"weights hold no head; expected|are in 2 files; expected one model"):
        ms.load("winner")
