"""Boxes and masks in the layout of PASCAL VOC are those of the other forms; what is damaged is one clear error."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pytest
from PIL import Image

import modelselect as ms
from modelselect.errors import DatasetError
from tests.probe import test_boxes, test_masks
from tests.probe.test_boxes import Target


def described(name: str, image: np.ndarray, target: Target, *, difficult: int = 0) -> str:
    """What the authors' files say: pixels are counted from 1; parts have boxes, too."""
    objects = "".join(
        f"<object><name>{escape(label)}</name><pose>Left</pose><difficult>{difficult}</difficult><bndbox>"
        f"<xmin>{x + 1:g}</xmin><ymin>{y + 1:g}</ymin><xmax>{x + w:g}</xmax><ymax>{y + h:g}</ymax></bndbox>"
        "<part><name>handle</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
        "</object>"
        for (x, y, w, h), label in zip(*target, strict=True)
    )
    height, width = image.shape[:2]
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation>\n<filename>{name}</filename>\n{size}{objects}</annotation>"


def write(
    folder: Path, places: tuple[str, str], images: list[np.ndarray], targets: list[Target], **settings: Any
) -> Path:
    for place in places:
        (folder / place).mkdir(parents=True, exist_ok=True)
    for number, (image, target) in enumerate(zip(images, targets, strict=True)):
        Image.fromarray(image).save(folder / places[0] / f"{number:03}.png")
        text = described(f"{number:03}.png", image, target, **settings)
        (folder / places[1] / f"{number:03}.xml").write_text(text)
    return folder


def sets(folder: Path, kind: str, **names: list[int]) -> None:
    (folder / "ImageSets" / kind).mkdir(parents=True, exist_ok=True)
    for split, numbers in names.items():
        lines = "\n".join(f"{number:03}" for number in numbers)
        (folder / "ImageSets" / kind / f"{split}.txt").write_text(lines)


def test_boxes_are_those_of_the_other_forms_wherever_the_files_lie(tmp_path: Path) -> None:
    images, targets = test_boxes.scenes()
    expected = ms.Probe.of((images, targets)).fingerprint
    for number, places in enumerate(
        [("JPEGImages", "Annotations"), (".", "."), ("images", "annotations"), ("images", "Annotations")]
    ):
        folder = write(tmp_path / str(number), places, images, targets)
        assert ms.Probe.of(folder).fingerprint == expected, places
    assert ms.Probe.of(tmp_path / "0", label="Annotations").fingerprint == expected
    write(tmp_path / "splits" / "train", (".", "."), images, targets)
    write(tmp_path / "splits" / "valid", (".", "."), *test_boxes.scenes(4, seed=1))
    probe = ms.Probe.of(tmp_path / "splits", holdout=0.2)
    assert probe.fingerprint == expected
    assert probe.holdout is not None
    assert probe.holdout.provenance["split"] == "valid"


def test_lists_say_which_images_are_of_a_split(tmp_path: Path) -> None:
    images, targets = test_boxes.scenes()
    folder = write(tmp_path, ("JPEGImages", "Annotations"), images, targets)
    sets(folder, "Main", train=list(range(8)), val=[8, 9], trainval=list(range(10)), test=[10, 11])
    probe = ms.Probe.of(folder, holdout=0.2)
    assert probe.fingerprint == ms.Probe.of((images[:8], targets[:8])).fingerprint
    assert probe.holdout is not None
    assert probe.holdout.provenance["split"] == "validation"
    sets(folder, "Main", train=[1, 99])
    with pytest.raises(DatasetError, match=r"there is no file of XML in .* for '099', which .* names"):
        ms.Probe.of(folder)


def test_difficult_objects_do_not_count_and_are_no_background(tmp_path: Path) -> None:
    images, targets = test_boxes.scenes()
    folder = write(tmp_path, (".", "."), images, targets)
    text = described("001.png", images[1], targets[1], difficult=1)
    (folder / "001.xml").write_text(text)
    probe = ms.Probe.of(folder, size=None)
    assert any("2 boxes of difficult objects are left out" in remark for remark in probe.remarks)
    assert probe.labels is not None
    assert np.bincount(probe.labels)[1:].tolist() == [8, 8]


def test_images_without_a_file_are_counted_and_an_image_may_have_another_name(tmp_path: Path) -> None:
    images, targets = test_boxes.scenes()
    folder = write(tmp_path, ("images", "annotations"), images, targets)
    (folder / "annotations/000.xml").unlink()
    (folder / "images/002.png").rename(folder / "images/second.png")
    text = (folder / "annotations/002.xml").read_text()
    (folder / "annotations/002.xml").write_text(text.replace("002.png", "C:\\photos\\second.png"))
    probe = ms.Probe.of(folder)
    assert any("1 image without a file of XML is left out" in remark for remark in probe.remarks)
    assert probe.groups is not None
    assert len(set(probe.groups)) == 11
    (folder / "annotations/002.xml").write_text(text.replace("002.png", "../../../etc/passwd"))
    with pytest.raises(DatasetError, match=r"there is no image in .* for 002.xml; .* or called 'passwd'"):
        ms.Probe.of(folder)


def test_masks_are_those_of_the_other_forms(tmp_path: Path) -> None:
    images, masks = test_masks.scenes()
    folder = tmp_path / "voc"
    test_masks.write(folder, images, masks, ("JPEGImages", "SegmentationClass"))
    for number, mask in enumerate(masks):
        image = Image.fromarray(mask, "P")
        image.putpalette(np.random.default_rng(0).bytes(768))
        image.save(folder / "SegmentationClass" / f"{number:03}.png")
    expected = ms.Probe.of((images, masks))
    assert ms.Probe.of(folder).fingerprint == expected.fingerprint
    Image.fromarray(images[0]).save(folder / "JPEGImages" / "another.png")
    assert ms.Probe.of(folder).fingerprint == expected.fingerprint, "most images of the challenge have no mask"
    sets(folder, "Segmentation", train=list(range(8)), val=[8, 9, 10, 11])
    probe = ms.Probe.of(folder, holdout=0.2)
    assert probe.fingerprint == ms.Probe.of((images[:8], masks[:8])).fingerprint
    assert probe.holdout is not None


def test_where_several_fit_the_user_is_asked(tmp_path: Path) -> None:
    images, targets = test_boxes.scenes()
    folder = write(tmp_path, ("JPEGImages", "Annotations"), images, targets)
    (folder / "SegmentationClass").mkdir()
    for number, image in enumerate(images):
        mask = Image.fromarray((np.arange(image[..., 0].size) % 2).reshape(image.shape[:2]).astype(np.uint8))
        mask.save(folder / "SegmentationClass" / f"{number:03}.png")
    with pytest.raises(DatasetError, match="label='Annotations' or label='SegmentationClass'"):
        ms.Probe.of(folder)
    assert ms.Probe.of(folder, label="Annotations").unit == "box"
    assert ms.Probe.of(folder, label="SegmentationClass").unit == "pixel"
    sets(folder, "Main")
    lines = "\n".join(f"{number:03} {1 if number % 2 else -1}" for number in range(12))
    (folder / "ImageSets/Main/cup_train.txt").write_text(lines)
    for each in (folder / "JPEGImages").iterdir():
        each.rename(each.with_suffix(".jpg"))
    probe = ms.Probe.of(folder)
    assert probe.unit == "row"
    assert any("--label SegmentationClass" in remark for remark in probe.remarks)
    assert ms.Probe.of(folder, label="Annotations").unit == "box"


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><annotation>&b;'
    "</annotation>"
)
OBJECT = "<annotation><object><name>cup</name>{}</object></annotation>"
BOX = "<bndbox><xmin>{}</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "declares a document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "declares a document type"),
        ("<annotation>", r"001.xml cannot be read \(no element found\)"),
        ("", "cannot be read"),
        (100 * "<annotation>", "nested more than 20 levels"),
        (OBJECT.format(""), "an object in .* has the name 'cup' and the box"),
        (OBJECT.format(BOX.format("nan")), "expected a name, and a bndbox of numbers"),
        (OBJECT.format(BOX.format("1e999")), "expected a name, and a bndbox of numbers"),
        (OBJECT.format(BOX.format("1e99")), "has a width of"),
        (OBJECT.format(BOX.format("-300")), "leaves the image of"),
        (OBJECT.format(BOX.format("3")).replace("cup", "background"), "a class of boxes is called 'background'"),
        ("<annotation>\udcff</annotation>", "cannot be read"),
        ('<?xml version="1.0" encoding="x-none"?><annotation/>', "cannot be read"),
    ],
)
def test_a_damaged_file_is_one_clear_error(tmp_path: Path, text: str, said: str) -> None:
    folder = write(tmp_path, ("JPEGImages", "Annotations"), *test_boxes.scenes())
    (folder / "Annotations/001.xml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DatasetError, match=said):
        ms.Probe.of(folder)


def test_pipes_and_large_files_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, ("JPEGImages", "Annotations"), *test_boxes.scenes())
    path = folder / "Annotations/001.xml"
    with path.open("r+b") as file:
        file.truncate(1 << 34)
    with pytest.raises(DatasetError, match="has 17,179,869,184 bytes, and at most"):
        ms.Probe.of(folder)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DatasetError, match="a pipe or a device"):
        ms.Probe.of(folder)
    shutil.rmtree(folder / "Annotations")
    (folder / "ImageSets/Main").mkdir(parents=True)
    os.mkfifo(folder / "ImageSets/Main/cup_train.txt")
    with pytest.raises(DatasetError, match="a pipe or a device"):
        ms.Probe.of(folder)
