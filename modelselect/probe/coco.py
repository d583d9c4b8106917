"""Boxes in the format of COCO: a JSON file of images, annotations and categories, beside or above folders of images.

T.-Y. Lin et al.: Microsoft COCO: Common objects in context, ECCV 2014; https://cocodataset.org/#format-data
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from modelselect.errors import DatasetError
from modelselect.probe.boxes import BoxRows, Objects, said_size
from modelselect.probe.images import has_image_suffix
from modelselect.probe.paths import Origin
from modelselect.probe.rows import Rows
from modelselect.probe.splits import WHOLE, kind_of_split
from modelselect.utils.text import listed

FOLDER = "annotations"
"""Name of the folder that holds the files of annotations."""

_NAME = re.compile(r"_?(?P<what>instances|annotations)?[_.-]?(?P<split>.*?)[_.-]?(?P<coco>coco)?\.json", re.IGNORECASE)
_PARTS = ('"images"', '"annotations"', '"categories"')
_LOOKED_AT = 1 << 16
"""Bytes of a file, at its start and at its end, that are looked at."""

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
    try:
        content = json.loads(path.read_bytes())
        images = {each["id"]: each for each in content["images"]}
        flags = [bool(each.get("iscrowd")) for each in content["annotations"]]
        names = {each["id"]: str(each["name"]) for each in content["categories"]}
        files = [str(each["file_name"]) for each in images.values()]
        annotations = [(each["image_id"], each["category_id"], each["bbox"]) for each in content["annotations"]]
        unknown = [number for number, _, _ in annotations if number not in images]
        of_objects = [category for (_, category, _), crowd in zip(annotations, flags, strict=True) if not crowd]
        unnamed = [category for category in of_objects if category not in names]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(
            f"{path} is no file of annotations as COCO has them ({type(error).__name__}: {error}); expected images "
            "with id and file_name, categories with id and name, and annotations with image_id, category_id and bbox."
        ) from error
    if not files:
        raise DatasetError(f"{path} names no images; expected images with id and file_name.")
    if unknown:
        raise DatasetError(
            f"an annotation in {path} is of image {unknown[0]!r}, and there is no image with this id. Add the image, "
            "or leave out its annotations."
        )
    if unnamed:
        raise DatasetError(
            f"an annotation in {path} has the category_id {unnamed[0]!r}, and there is no category with this id "
            f"(there are {listed(list(map(str, names)), 5)}). Add the category, or leave out its annotations."
        )
    kept: dict[Any, tuple[list[Any], list[Any], list[Any]]] = {number: ([], [], []) for number in images}
    for (number, category, box), crowd in zip(annotations, flags, strict=True):
        if crowd:
            kept[number][2].append(box)
            continue
        kept[number][0].append(box)
        kept[number][1].append(names[category])
    root = _root(path, folder, files)
    origin = Origin.folder(root)
    loads = [(file, partial(origin.read, file)) for file in files]
    sizes = [said_size(each.get("width"), each.get("height")) for each in images.values()]
    rows = BoxRows(loads, [Objects(*each) for each in kept.values()], sizes=sizes)
    rows.notes = {"annotations": path.name}
    return rows


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
            f"the images that {path} names, such as {tried[0]!r}, are in none of {looked}; expected the images beside "
            "the file, in a folder images, or in a folder named after the split."
        )
    return found
