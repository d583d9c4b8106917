"""Forms of boxes that are not read: a file for each image, by YOLO or LabelMe. They are known, and refused by name."""

from __future__ import annotations

import os
import re
from pathlib import Path

from modelselect.errors import DatasetError
from modelselect.probe.images import has_image_suffix
from modelselect.probe.splits import kind_of_split
from modelselect.utils.text import printable

YOLO, LABELME = ".txt", ".json"
"""Suffixes of the files."""

_FORMS = {
    YOLO: ("YOLO", re.compile(rb"\s*\d+([ \t]+-?(\d+(\.\d+)?|\.\d+)(e-?\d+)?){4,}\s*($|[\r\n])", re.IGNORECASE)),
    LABELME: ("LabelMe", re.compile(rb'\s*\{.*"(shapes|imagePath)"\s*:', re.DOTALL)),
}
"""By suffix: who writes such files, and how they begin. Of YOLO: a class, and four or more numbers."""

_BEGINNING = 4096
"""Bytes of a file that are looked at."""

_LOOKED_AT = 20
"""Files of a folder that are looked at: those of images without objects are empty."""


def refuse_boxes(folder: Path, suffix: str) -> None:
    """Raises for images with a file of boxes for each, beside them or in `labels`, perhaps in folders of splits.

    Raises:
        DatasetError: there is such a file.
    """
    for place in (folder, *_splits(folder)):
        images, boxes = place / "images", place / "labels"
        for pair in ((place, place), (images, boxes), *((each, boxes / each.name) for each in _splits(images))):
            if (found := _found(*pair, suffix)) is not None:
                raise DatasetError(
                    f"{folder} holds images and a file of boxes for each, in {_FORMS[suffix][0]}'s form "
                    f"({printable(os.path.relpath(found, folder))}), which is not read; expected COCO's form (one "
                    "annotations.json) or PASCAL VOC's (a file of XML for each image). Convert the files to one of "
                    "them, or give (images, [(boxes, classes), ...]). To rank for classes of whole images, put the "
                    "images into FOLDER/CLASS/."
                )


def _found(images: Path, boxes: Path, suffix: str) -> Path | None:
    """A file of boxes of one of the images."""
    if not images.is_dir() or not boxes.is_dir():
        return None
    files = [each for each in boxes.iterdir() if each.suffix.lower() == suffix and each.is_file()]
    if not files:
        return None
    stems = {each.stem for each in images.iterdir() if has_image_suffix(each.name)}
    named = sorted(file for file in files if file.stem in stems)
    return next((file for file in named[:_LOOKED_AT] if _has_form(file)), None)


def _has_form(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return _FORMS[path.suffix.lower()][1].match(file.read(_BEGINNING)) is not None
    except OSError:
        return False


def _splits(folder: Path) -> list[Path]:
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    return [each for each in inside if kind_of_split(each.name) and each.is_dir()]
