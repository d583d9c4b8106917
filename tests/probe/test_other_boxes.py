"""Boxes in a form that is not read are refused by its name, and other texts beside images are not taken for boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import modelselect as ms
from modelselect.errors import DatasetError

YOLO = "0 0.5 0.5 0.25 0.25\n1 .1 .1 0.05 5e-2\n"
LABELME = '{"version": "5.5", "flags": {}, "shapes": [{"label": "cat", "points": [[1, 2], [5, 6]]}]}'


def write(folder: Path, images: str, texts: str, content: str, suffix: str = ".txt") -> None:
    for place in (images, texts):
        (folder / place).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(6):
        Image.fromarray(rng.integers(0, 255, (20, 20, 3)).astype(np.uint8)).save(folder / images / f"{number}.png")
        (folder / texts / f"{number}{suffix}").write_text(content if number else "")


@pytest.mark.parametrize(
    "places",
    [
        [("images", "labels")],
        [("images/train", "labels/train"), ("images/val", "labels/val")],
        [("train/images", "train/labels"), ("valid/images", "valid/labels")],
        [("", "")],
        [("train", "train"), ("val", "val")],
    ],
)
@pytest.mark.parametrize(("content", "suffix", "whose"), [(YOLO, ".txt", "YOLO"), (LABELME, ".json", "LabelMe")])
def test_a_file_of_boxes_for_each_image_is_refused_by_the_name_of_its_form(
    tmp_path: Path, places: list[tuple[str, str]], content: str, suffix: str, whose: str
) -> None:
    for images, texts in places:
        write(tmp_path, images, texts, content, suffix)
    (tmp_path / "data.yaml").write_text("names: [cat, dog]")
    file = str(Path(places[0][1], "1" + suffix))
    with pytest.raises(DatasetError, match=rf"in {whose}'s form \({file}\), which is not read; expected COCO's form"):
        ms.Probe.of(str(tmp_path))


def test_a_table_of_labels_counts_whatever_lies_beside_the_images(tmp_path: Path) -> None:
    write(tmp_path, "", "", YOLO)
    lines = [f"{number}.png,{'cat' if number % 2 else 'dog'}" for number in range(6)]
    (tmp_path / "metadata.csv").write_text("\n".join(["file_name,label", *lines]))
    assert set(ms.Probe.of(str(tmp_path)).class_names) == {"cat", "dog"}


@pytest.mark.parametrize("caption", ["2 dogs and 3 cats in 4 rooms\n", "1000 " * 40 + "dogs\n"])  # at once
def test_captions_beside_images_are_no_boxes(caption: str, tmp_path: Path) -> None:
    write(tmp_path, "images", "labels", caption)
    with pytest.raises(DatasetError, match="holds 6 images but no class folders"):
        ms.Probe.of(str(tmp_path))
