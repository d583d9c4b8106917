"""What a user gives to predict becomes one input after the other, and is read as training data are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from modelselect.errors import InvalidInputError
from modelselect.probe.images import Reading, UnreadableError
from modelselect.probe.inputs import inputs_of
from modelselect.probe.probe import Probe

PIXELS = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b/2.png", "a/1.png", "b/.hidden.png", ".git/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(PIXELS).save(tmp_path / name)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    return tmp_path


def pixels(given: Any) -> list[Any]:
    return [np.asarray(each.read(Reading())).tolist() for each in inputs_of(given, "image")]


def test_a_folder_stands_for_the_images_in_it(folder: Path) -> None:
    found = inputs_of(folder, "image")
    assert [Path(each.name).relative_to(folder).as_posix() for each in found] == ["a/1.png", "b/2.png"]
    assert pixels([str(folder / "a"), folder / "b" / "2.png"]) == [PIXELS.tolist()] * 2
    (folder / "empty").mkdir()
    with pytest.raises(InvalidInputError, match="holds no image file"):
        inputs_of(folder / "empty", "image")


def test_images_in_every_container_are_the_same_images(folder: Path) -> None:
    image, path = Image.fromarray(PIXELS), folder / "a" / "1.png"
    ones = [PIXELS, image, path, str(path), path.read_bytes(), torch.from_numpy(PIXELS), PIXELS.transpose(2, 0, 1)]
    for one in ones[:-1]:  # an array of three rows is three grey images, as it is in training data
        assert pixels(one) == [PIXELS.tolist()], type(one)
    assert pixels(ones) == [PIXELS.tolist()] * len(ones)
    for many in (np.stack([PIXELS] * 2), torch.from_numpy(np.stack([PIXELS] * 2)), pd.Series([str(path), path])):
        assert pixels(many) == [PIXELS.tolist()] * 2
    assert pixels(iter([image])) == [PIXELS.tolist()]
    assert pixels({"bytes": path.read_bytes(), "path": None}) == [PIXELS.tolist()]
    grey = np.stack([PIXELS[:, :, 0]] * 5)
    assert len(pixels(grey)) == 5
    assert pixels([]) == []


def test_one_text_or_pair_is_one_input_and_a_list_is_many() -> None:
    reading = Reading()
    assert [each.read(reading) for each in inputs_of("photo.jpg", "text")] == ["photo.jpg"]  # a text, not a path
    assert [each.read(reading) for each in inputs_of(("a", "b"), "text")] == [("a", "b")]
    given = [("a", "b"), "c", ["d", "e"]]
    assert [each.read(reading) for each in inputs_of(given, "text")] == [("a", "b"), "c", ("d", "e")]
    assert [each.name for each in inputs_of(pd.Series(["x", "y"]), "text")] == ["x", "y"]


def test_what_is_missing_is_named_when_it_is_read() -> None:
    for given, modality in (([None], "image"), ([float("nan")], "text"), ([("a", None)], "text")):
        (found,) = inputs_of(given, modality)
        with pytest.raises(UnreadableError, match="missing"):
            found.read(Reading())


@pytest.mark.parametrize(
    ("given", "modality", "words"),
    [
        (np.zeros((2, 4, 4, 3), np.float32), "image", r"an array of float32 .* takes images; .* become uint8 by"),
        ([Image.new("RGB", (2, 2)), 7], "image", "input 1 is int, and the model takes images"),
        (7, "text", "input 0 is int, and the model takes texts"),
        (Path("a.txt"), "text", r"Read the file first: Path\(path\)\.read_text\(\)"),
        (Image.new("RGB", (2, 2)), "text", "takes texts"),
    ],
)
def test_another_kind_is_refused_with_advice(given: Any, modality: str, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        inputs_of(given, modality)


@pytest.mark.parametrize("given", [np.zeros((3, 8, 9), np.uint8), torch.zeros(4, 8, 9, dtype=torch.uint8)])
def test_one_image_with_its_channels_first_is_not_taken_for_grey_images(given: Any) -> None:
    with pytest.raises(InvalidInputError, match="Give x\\[None\\] for one image, or list\\(x\\)"):
        inputs_of(given, "image")
    assert len(inputs_of(given[None], "image")) == 1
    assert len(inputs_of(list(given), "image")) == len(given)
    assert len(inputs_of(given[:1], "image")) == 1
    assert len(inputs_of(np.zeros((5, 8, 9), np.uint8), "image")) == 5


@pytest.mark.parametrize(
    "empty", [np.zeros((0, 8, 3), np.uint8), np.zeros((8, 0), np.uint16), Image.new("RGB", (0, 3))]
)
def test_an_image_without_pixels_cannot_be_read(empty: Any) -> None:
    with pytest.raises(UnreadableError, match="without pixels"):
        inputs_of([empty], "image")[0].read(Reading(white=255))
    assert Probe.of(([empty, *[PIXELS] * 11], [0, 1] * 6)).skipped == (("row 0", "an image without pixels"),)


@pytest.mark.parametrize("kind", [">f4", ">f8", ">u2", ">i4", "longdouble"])
def test_rows_are_numbers_that_tensors_take(kind: str) -> None:
    numbers = (np.arange(36).reshape(12, 3) * 10).astype(kind)
    probe = Probe.of((numbers, [0, 1] * 6))
    assert torch.from_numpy(probe.item(4)).tolist() == numbers[4].tolist()
    native = {"longdouble": "f8"}.get(kind, kind.replace(">", "<"))
    assert probe.fingerprint == Probe.of((numbers.astype(native), [0, 1] * 6)).fingerprint
