"""Boxes in the format of COCO: a JSON file of images, annotations and categories, beside or above folders of images.

T.-Y. Lin et al.: Microsoft COCO: Common objects in context, ECCV 2014; https://cocodataset.org/#format-data
"""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from modelselect.errors import DatasetError
from modelselect.probe.boxes import BoxRows, Objects, said_size
from modelselect.probe.images import has_image_suffix
from modelselect.probe.paths import Origin
from modelselect.probe.rows import Rows
from modelselect.probe.splits import WHOLE, kind_of_split
from modelselect.utils.json_stream import read_lists
from modelselect.utils.text import counted, listed, printable

FOLDER = "annotations"
"""Name of the folder that holds the files of annotations."""

_NAME = re.compile(r"_?(?P<what>instances|annotations)?[_.-]?(?P<split>.*?)[_.-]?(?P<coco>coco)?\.json", re.IGNORECASE)
_PARTS = ('"images"', '"annotations"', '"categories"')
_LOOKED_AT = 1 << 16
"""Bytes of a file, at its start and at its end, that are looked at."""

_LONGEST_SHOWN = 60
"""Characters of an id or a name in a message."""

_TRIED = 8
"""Images that are looked for in a folder."""


def is_coco(path: Path) -> bool:
    """True for a JSON file of images, annotations and categories.

    Such a file may be large, so only its start and its end are looked at: two of these three words are there.
    """
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    with open(path, "rb") as file:
        start = file.read(_LOOKED_AT)
        file.seek(max(0, path.stat().st_size - _LOOKED_AT))
        text = (start + file.read()).decode("utf-8", "replace")
    return text.lstrip("\ufeff \t\r\n").startswith("{") and sum(part in text for part in _PARTS) > 1


def has_coco(folder: Path) -> bool:
    """True for a folder of images with such a file in it, in its folder `annotations`, in a folder of a split, or above
    it.
    """
    return bool(_files(folder))


def open_coco(given: Path) -> dict[str, Callable[[], Rows]]:
    """Functions that open the rows of each split.

    Args:
        given: a folder that `has_coco`, or a file that `is_coco`.

    Raises:
        DatasetError: two files are of one split.
    """
    if given.is_file():
        return {_split_of(given) or WHOLE: partial(_rows, given, None)}
    found = _files(given)
    if len(found) == 1 and not any(kind_of_split(name) for name in found):
        found = {WHOLE: next(iter(found.values()))}
    for paths in found.values():
        if len(paths) > 1:
            shown = [os.path.relpath(path, given) for path in paths]
            raise DatasetError(
                f"{given} holds several files of annotations for one split: {listed(shown, 3)}; expected one. Give the "
                "file that is meant instead of the folder."
            )
    return {split: partial(_rows, paths[0], given) for split, paths in found.items()}


def _files(folder: Path) -> dict[str, list[Path]]:
    """The files of annotations of each split."""
    found: dict[str, list[Path]] = {}
    for path in _in(folder):
        found.setdefault(_split_of(path) or WHOLE, []).append(path)
    if found:
        return found
    with os.scandir(folder) as listed:
        entries = list(listed)
    for each in entries:
        if kind_of_split(each.name) and each.is_dir() and (paths := _in(Path(each.path))):
            found[each.name] = paths
    if found or not any(has_image_suffix(each.name) for each in entries):
        return found
    above = folder.resolve().parent
    for path in _in(above):
        if _split_of(path) in ("", folder.resolve().name):
            found.setdefault(_split_of(path) or WHOLE, []).append(path)
    return found


def _in(folder: Path) -> list[Path]:
    """The files of annotations in a folder, or in its folder `annotations`; those of objects, where some are others."""
    places = [folder, folder / FOLDER]
    paths = [path for place in places if place.is_dir() for path in sorted(place.glob("*.json"))]
    named = {path: match for path in paths if (match := _NAME.fullmatch(path.name)) and not path.name.startswith(".")}
    instances = [path for path, match in named.items() if (match["what"] or "").lower() == "instances"]
    others = [path for path, match in named.items() if match["what"] or match["coco"] or kind_of_split(match["split"])]
    return [path for path in instances or others if is_coco(path)]


def _split_of(path: Path) -> str:
    """The split that a file is named after; an empty text if it is named after none."""
    match = _NAME.fullmatch(path.name)
    return match["split"] if match and (match["what"] or kind_of_split(match["split"])) else ""


def _rows(path: Path, folder: Path | None) -> BoxRows:
    """The rows of a file.

    Args:
        path: of the file.
        folder: that the user gave; None: the file.

    Raises:
        DatasetError: the file is damaged, or its images are not found.
    """
    content = _Content(path)
    try:
        found = read_lists(path, {"images": content.image, "annotations": content.box, "categories": content.category})
        if lacking := [part for part in ("images", "annotations", "categories") if part not in found]:
            raise ValueError(f"it has no list {lacking[0]}")
    except DatasetError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise DatasetError(
            f"{path} is no file of annotations as COCO has them ({type(error).__name__}: {printable(str(error))}); "
            "expected images with id and file_name, categories with id and name, and annotations with image_id, "
            "category_id and bbox (x, y, width, height)."
        ) from error
    files, objects, remarks = content.files, content.objects(), content.remarks
    root = _root(path, folder, files)
    origin = Origin.folder(root)
    loads = [(printable(file), partial(origin.read, file)) for file in files]
    rows = BoxRows(loads, objects, sizes=content.sizes)
    rows.notes = {"annotations": path.name}
    rows.remarks += remarks
    return rows


class _Content:
    """What is kept of a file: its images, and the box and the numbers of each annotation.

    Attributes:
        files: names of the files of the images.
        sizes: width and height of each image, where the file says them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.files: list[str] = []
        self.sizes: list[tuple[int, int] | None] = []
        self._images: dict[Any, int] = {}
        self._names: dict[Any, str] = {}
        self._numbers: tuple[dict[Any, int], dict[Any, int]] = {}, {}
        self._of = array("q"), array("q")
        self._crowds, self._boxes = array("b"), array("d")
        self._flat = 0

    def image(self, given: Any) -> None:
        number, file = _id(given, "id"), given["file_name"]
        if not isinstance(file, str):
            raise TypeError(f"a file_name is {ascii(file)[:40]}")
        if number in self._images:
            first = self.files[self._images[number]]
            raise DatasetError(
                f"two images in {self._path} have the id {_shown(number)}: {_shown(first)} and {_shown(file)}; give an "
                "id to each image. If files were joined, give new ids to the images and their annotations."
            )
        self._images[number] = len(self.files)
        self.files.append(file)
        self.sizes.append(said_size(given.get("width"), given.get("height")))

    def category(self, given: Any) -> None:
        number, name = _id(given, "id"), str(given["name"])
        if (first := self._names.setdefault(number, name)) != name:
            raise DatasetError(
                f"two categories in {self._path} have the id {_shown(number)}: {_shown(first)} and {_shown(name)}; "
                "expected an id for each category."
            )

    def box(self, given: Any) -> None:
        numbers, bbox = (_id(given, "image_id"), _id(given, "category_id")), given["bbox"]
        if not isinstance(bbox, list) or [isinstance(value, int | float) for value in bbox] != [True] * 4:
            raise TypeError(f"a bbox is {ascii(bbox)[:60]}")
        _, _, width, height = bbox
        is_crowd = bool(given.get("iscrowd"))
        if (width == 0 or height == 0) and min(width, height) >= 0:
            self._flat += 1
            return
        for number, known, of in zip(numbers, self._numbers, self._of, strict=True):
            of.append(known.setdefault(number, len(known)))
        self._crowds.append(is_crowd)
        self._boxes.extend(bbox)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the user should know of what was left out."""
        if not self._flat:
            return ()
        boxes = counted(self._flat, "box", "boxes")
        return (f"{boxes} without a width or a height {'is' if self._flat == 1 else 'are'} left out.",)

    def objects(self) -> list[Objects]:
        """The objects in each image.

        Raises:
            DatasetError: there are no images, or an annotation is of none, or of no category.
        """
        if not self.files:
            raise DatasetError(f"{self._path} names no images; expected images with id and file_name.")
        of_image, of_category = (np.array(each, np.int64) for each in self._of)
        is_crowd, boxes = np.array(self._crowds, np.bool_), np.array(self._boxes).reshape(-1, 4)
        images, categories = (list(known) for known in self._numbers)
        for number in images:
            if number not in self._images:
                raise DatasetError(
                    f"an annotation in {self._path} is of image {_shown(number)}, and there is no image with this id. "
                    "Add the image, or leave out its annotations."
                )
        known = listed(list(map(_shown, self._names)), 5) if self._names else "none"
        for place in np.unique(of_category[~is_crowd]).tolist():
            if categories[place] not in self._names:
                raise DatasetError(
                    f"an annotation in {self._path} has the category_id {_shown(categories[place])}, and there is no "
                    f"category with this id (there are {known}). Add the category, or leave out its annotations."
                )
        labels = [self._names.get(number, "") for number in categories]
        place_of = np.array([self._images[number] for number in images], np.int64)
        own = place_of[of_image] if len(place_of) else of_image
        order = np.argsort(own, kind="stable")
        parts = np.split(order, np.searchsorted(own[order], np.arange(1, len(self.files))))
        return [
            Objects(
                boxes[(kept := part[~is_crowd[part]])],
                [labels[place] for place in of_category[kept].tolist()],
                boxes[part[is_crowd[part]]],
            )
            for part in parts
        ]


def _id(given: Any, key: str) -> Any:
    """The value of a key that holds an id, from an image, an annotation or a category."""
    if not isinstance(given, dict):
        raise TypeError(f"an entry of a list is {ascii(given)[:60]}")
    if isinstance(given[key], list | dict):
        raise TypeError(f"{key} is {ascii(given[key])[:60]}")
    return given[key]


def _shown(given: Any) -> str:
    """An id or a name in a message: as Python writes it, and not too long."""
    text = repr(given)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _root(path: Path, folder: Path | None, files: list[str]) -> Path:
    """The folder that names of image files start from."""
    own = path.parent
    base = own.parent if own.name == FOLDER else own
    split = _split_of(path)
    places = [own, own / "images", base, base / "images"]
    places += [
        place / name
        for name in (split, kind_of_split(split))
        if name and name.strip(".")
        for place in (base, base / "images")
    ]
    places += [] if folder is None else [folder, folder / "images"]
    if own.name == FOLDER:
        places += [base.parent / "images"]
    tried = files[:: max(1, len(files) // _TRIED)][:_TRIED]
    found = next((place for place in places if any(os.path.isfile(place / file) for file in tried)), None)
    if found is None:
        looked = listed([str(place) for place in dict.fromkeys(places) if place.is_dir()], 4)
        raise DatasetError(
            f"the images that {path} names, such as {_shown(tried[0])}, are in none of {looked}; expected the images "
            "beside the file, in a folder images, or in a folder named after the split."
        )
    return found
