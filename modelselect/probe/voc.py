"""Folders in the layout of PASCAL VOC: labels in lists, boxes in a file of XML for each image, and masks.

M. Everingham, L. Van Gool, C. K. I. Williams, J. Winn, A. Zisserman: The PASCAL Visual Object Classes Challenge, IJCV
2010; http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/index.html
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from xml.parsers import expat

from modelselect.errors import DatasetError, did_you_mean
from modelselect.probe.boxes import BoxRows, Objects, said_size
from modelselect.probe.columns import Label
from modelselect.probe.huggingface import HuggingFaceRows
from modelselect.probe.images import UnreadableError, content_of, has_image_suffix
from modelselect.probe.masks import MaskRows
from modelselect.probe.paths import Origin
from modelselect.probe.rows import Rows, Splits, reason_of
from modelselect.probe.splits import TEST, TRAIN, VALIDATION, WHOLE, kind_of_split
from modelselect.utils.text import counted, listed, printable

IMAGES, SETS = "JPEGImages", Path("ImageSets", "Main")
BOXES, MASKS, SETS_OF_MASKS = "Annotations", "SegmentationClass", Path("ImageSets", "Segmentation")
_NAMES = {"train": TRAIN, "val": VALIDATION, "trainval": TRAIN, "test": TEST}
_VALUES = {"1": 1, "-1": 0, "0": -1}
"""What a file of a label says: the image has it, has it not, or is difficult, which counts as not known."""

_LARGEST = 1 << 24
"""Bytes of a list or a file of XML: 16 MB, at most."""

_DEEPEST = 20
"""Levels of elements in a file of XML. The authors' have five."""

_EDGES = ("xmin", "ymin", "xmax", "ymax")
_STARTS = (b"<annotation", b"<?xml", b"\xef\xbb\xbf<")


def is_voc(folder: Path) -> bool:
    """True for a folder in the layout of PASCAL VOC, and for images with files of XML beside them, or in a folder
    `annotations` beside their folder `images`, perhaps in folders of splits.
    """
    has_layout = (folder / IMAGES).is_dir() and any((folder / each).is_dir() for each in (SETS, BOXES, MASKS))
    return has_layout or bool(_annotated(folder))


def open_voc(folder: Path, label: Label) -> Splits:
    """Functions that open the rows of each split.

    Args:
        folder: of which `is_voc` is true.
        label: of the authors' layout: the labels that are read, a name, several names, or names with commas between
            them; `Annotations` for boxes, `SegmentationClass` for masks; None for all labels, or, where there are none,
            for what there is.

    Raises:
        DatasetError: there are no files of labels, none of a label that is named, or both boxes and masks.
    """
    if not (folder / IMAGES).is_dir():
        if label is not None:
            raise DatasetError(f"label= (--label) names a column, and {folder} holds images and boxes. Leave it out.")
        return {split: partial(_boxes, *places) for split, places in _annotated(folder).items()}
    found: dict[str, dict[str, Path]] = {}
    for path in sorted((folder / SETS).glob("*_*.txt")):
        name, _, split = path.stem.rpartition("_")
        if split in _NAMES and name:
            found.setdefault(split, {})[name] = path
    if "train" in found or "val" in found:
        found.pop("trainval", None)  # the same rows
    others = [name for name in (BOXES, MASKS) if (folder / name).is_dir()]
    if label is None and not found and len(others) > 1:
        raise DatasetError(
            f"{folder} holds boxes ({BOXES}) and masks ({MASKS}); expected one of them. Say which with "
            f"label={BOXES!r} or label={MASKS!r} (--label)."
        )
    if label in others or (label is None and not found and others):
        return _open_parts(folder, others[0] if label is None else str(label), named=label is not None)
    if not found:
        raise DatasetError(
            f"{folder} holds {IMAGES} and {SETS}, and no files such as {SETS / 'cat_train.txt'} that say which images "
            "have a label. Unpack the whole archive."
        )
    if label is not None:
        found = {split: _named(folder, labels, label) for split, labels in found.items()}
    said: tuple[str, ...] = ()
    if others and label is None:
        ways = [f"{name} with label={name!r} (--label {name})" for name in others]
        said = (f"The labels of whole images are read. Boxes or masks are read from {' or '.join(ways)}.",)
    return {_NAMES[split]: partial(_rows, folder, labels, said) for split, labels in found.items()}


def _named(folder: Path, labels: dict[str, Path], wanted: str | Sequence[str]) -> dict[str, Path]:
    """The files of the labels that the user named."""
    named = [name.strip() for name in wanted.split(",")] if isinstance(wanted, str) else list(wanted)
    for name in named:
        if name not in labels:
            raise DatasetError(
                f"label={name!r} is not a label of {folder}.{did_you_mean(name, labels)} Labels: "
                f"{', '.join(labels)}. Leave out label= (--label) to read all."
            )
    return {name: labels[name] for name in named}


def _rows(folder: Path, labels: dict[str, Path], said: tuple[str, ...]) -> Rows:
    import datasets

    columns: dict[str, dict[str, int]] = {}
    for label, path in labels.items():
        columns[label] = {}
        for number, line in enumerate(_text(path).splitlines(), 1):
            parts = line.split()
            if not parts:
                continue
            if len(parts) != 2 or parts[1] not in _VALUES:
                raise DatasetError(
                    f"line {number} of {path} is {line[:60]!r}; expected the name of an image, and 1, 0 or -1."
                )
            columns[label][parts[0]] = _VALUES[parts[1]]
    names = sorted(set().union(*columns.values()))
    table = {"file": [f"{IMAGES}/{name}.jpg" for name in names]}
    values = {label: [known.get(name, -1) for name in names] for label, known in columns.items()}
    rows = HuggingFaceRows(
        datasets.Dataset.from_dict({**table, **values}), input="file", label=tuple(values), origin=Origin.folder(folder)
    )
    rows.remarks = (*rows.remarks, *said)
    return rows


# --- boxes and masks -------------------------------------------------------------------------------------------------


def _open_parts(folder: Path, what: str, *, named: bool) -> Splits:
    """Functions that open the boxes or the masks of each split."""
    sets = folder / (SETS if what == BOXES else SETS_OF_MASKS)
    lists = {name: path for name in _NAMES if (path := sets / f"{name}.txt").is_file()}
    if "train" in lists or "val" in lists:
        lists.pop("trainval", None)  # the same rows
    opened = partial(_boxes if what == BOXES else _masks, folder / IMAGES, folder / what, named=named)
    return {_NAMES[name]: partial(opened, within=path) for name, path in lists.items()} or {WHOLE: opened}


def _annotated(folder: Path) -> dict[str, tuple[Path, Path]]:
    """The folders of images and of files of XML of each split; empty if there are none."""
    if (places := _annotated_in(folder)) is not None:
        return {WHOLE: places}
    with os.scandir(folder) as entries:
        inside = sorted(each.name for each in entries if kind_of_split(each.name) and each.is_dir())
    found = {name: _annotated_in(folder / name) for name in inside}
    return {name: places for name, places in found.items() if places is not None}


def _annotated_in(folder: Path) -> tuple[Path, Path] | None:
    for images, described in (
        (folder, folder),
        (folder / "images", folder / "annotations"),
        (folder / "images", folder / BOXES),
    ):
        if images.is_dir() and described.is_dir():
            with os.scandir(described) as entries:
                path = next((each.path for each in entries if each.name.lower().endswith(".xml")), None)
            if path is not None and _may_be_annotation(Path(path)) and (images != folder or _stems(images)):
                return images, described
    return None


def _may_be_annotation(path: Path) -> bool:
    try:
        content = content_of(path, _LARGEST)
    except (UnreadableError, OSError):
        return False
    return content.lstrip().startswith(_STARTS) and b"<annotation" in content


def _boxes(images: Path, annotations: Path, *, within: Path | None = None, named: bool = False) -> BoxRows:
    """The boxes in images. Those of difficult objects do not count, as in the challenge.

    Args:
        images: the folder of images.
        annotations: the folder of files of XML.
        within: a list of names of images; None for all that have a file of XML.
        named: whether the user named the annotations as those of a column.

    Raises:
        DatasetError: a file cannot be read, or has no image.
    """
    stems = _stems(images)
    described = {path.stem: path for path in sorted(annotations.iterdir()) if path.suffix.lower() == ".xml"}
    names = list(described) if within is None else _listed_in(within, described, f"file of XML in {annotations}")
    files, objects, sizes = [], [], []
    for name in names:
        content = _Annotation(described[name])
        files.append(_file_of(name, content.said("filename"), stems, described[name], images))
        objects.append(content.objects())
        sizes.append(said_size(*(_number(content.said(f"size/{side}")) for side in ("width", "height"))))
    if not files:
        raise DatasetError(f"{annotations} names no images; expected a file of XML for each.")
    origin = Origin.folder(images)
    loads = [(printable(file), partial(origin.read, file)) for file in files]
    rows = BoxRows(loads, objects, sizes=sizes, has_columns=named, crowds="difficult objects")
    rows.notes = {"annotations": annotations.name}
    if within is None and (left := len(stems) - len(set(files))):
        rows.remarks += (f"{counted(left, 'image')} without a file of XML {'is' if left == 1 else 'are'} left out.",)
    return rows


def _masks(images: Path, masks: Path, *, within: Path | None = None, named: bool = False) -> MaskRows:
    """The pixels of images with masks. Of many images of the challenge, a part has masks."""
    files, of_mask = _stems(images), _stems(masks)
    names = sorted(of_mask) if within is None else _listed_in(within, of_mask, f"mask in {masks}")
    if lacking := [name for name in names if name not in files]:
        raise DatasetError(
            f"there is no image in {images} for {listed([of_mask[name] for name in lacking], 3)}; expected an image of "
            "the same name for each mask."
        )
    if not names:
        raise DatasetError(f"{masks} holds no masks; expected image files with the names of those in {images}.")
    of_images, origin = Origin.folder(images), Origin.folder(masks)
    return MaskRows(
        [
            (printable(files[name]), partial(of_images.read, files[name]), partial(origin.read, of_mask[name]))
            for name in names
        ],
        has_columns=named,
    )


def _stems(folder: Path) -> dict[str, str]:
    """The names of the image files in a folder by what comes before the suffix."""
    with os.scandir(folder) as entries:
        names = sorted(each.name for each in entries if has_image_suffix(each.name) and not each.name.startswith("."))
    return {Path(name).stem: name for name in names}


def _listed_in(path: Path, known: dict[str, Any], what: str) -> list[str]:
    """The names in a list.

    Raises:
        DatasetError: a name has no file.
    """
    names = list(dict.fromkeys(parts[0] for line in _text(path).splitlines() if (parts := line.split())))
    if lacking := [name for name in names if name not in known]:
        raise DatasetError(
            f"there is no {what} for {listed([repr(name[:60]) for name in lacking], 3)}, which {path} names. Unpack "
            "the whole archive, or leave these out of the list."
        )
    return names


def _file_of(name: str, said: str, stems: dict[str, str], path: Path, images: Path) -> str:
    """The image of a file of XML: of the same name, or the one that it names."""
    other = Path(said.replace("\\", "/")).name
    found = stems.get(name) or (other if other in stems.values() else stems.get(other))
    if found is None:
        raise DatasetError(
            f"there is no image in {images} for {path.name}; expected one of the same name, or called {other[:60]!r} "
            "as it says."
        )
    return found


class _Annotation:
    """What a file of XML says of an image.

    Raises:
        DatasetError: it is damaged, or declares entities.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._said: dict[str, str] = {}
        self._objects: list[dict[str, str]] = []
        self._within: list[str] = []
        self._text: list[str] = []
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._text.append
        try:
            parser.Parse(content_of(path, _LARGEST), True)
        except DatasetError:
            raise
        except (expat.ExpatError, UnreadableError, OSError, ValueError, LookupError) as error:
            reason = expat.ErrorString(error.code) if isinstance(error, expat.ExpatError) else reason_of(error)
            raise DatasetError(
                f"{path} cannot be read ({reason}). Repair it, or leave it out with its image."
            ) from error

    def said(self, place: str) -> str:
        """The text at a place, such as `size/width`; empty if there is none."""
        return self._said.get(place, "")

    def objects(self) -> Objects:
        """The objects in the image; difficult ones as crowds, which are no rows.

        Raises:
            DatasetError: an object has no name or no box.
        """
        boxes, labels, difficult = [], [], []
        for each in self._objects:
            edges = [_number(each.get(f"bndbox/{edge}", "")) for edge in _EDGES]
            if None in edges or not each.get("name"):
                raise DatasetError(
                    f"an object in {self._path} has the name {each.get('name', '')[:40]!r} and the box "
                    f"{[each.get(f'bndbox/{edge}', '')[:20] for edge in _EDGES]}; expected a name, and a bndbox of "
                    f"numbers: {', '.join(_EDGES)}."
                )
            left, upper, right, lower = (edge or 0.0 for edge in edges)
            box = [left - 1, upper - 1, right - left + 1, lower - upper + 1]  # pixels are counted from 1
            if _number(each.get("difficult", "")):
                difficult.append(box)
            else:
                boxes.append(box)
                labels.append(each["name"])
        return Objects(boxes, labels, difficult)

    def _start(self, name: str, attributes: Any) -> None:
        self._within.append(name)
        if len(self._within) > _DEEPEST:
            raise DatasetError(f"{self._path} is nested more than {_DEEPEST} levels deep; expected an annotation.")
        self._text.clear()
        if self._within[1:] == ["object"]:
            self._objects.append({})

    def _end(self, name: str) -> None:
        place, text = "/".join(self._within[1:]), "".join(self._text).strip()
        self._within.pop()
        self._text.clear()
        if not text:
            return
        if place.startswith("object/") and self._objects:
            self._objects[-1].setdefault(place.removeprefix("object/"), text)
        else:
            self._said.setdefault(place, text)

    def _refuse(self, *declared: Any) -> None:
        raise DatasetError(f"{self._path} declares a document type, which may hide any content. Leave that line out.")


def _number(text: str) -> float | None:
    """A finite number; None for another text."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def _text(path: Path) -> str:
    """The text of a list.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        return content_of(path, _LARGEST).decode("utf-8-sig")
    except UnicodeError:
        raise DatasetError(f"the file {path} is not in UTF-8; save it in UTF-8.") from None
    except (UnreadableError, OSError) as error:
        raise DatasetError(f"the file {path} cannot be read ({reason_of(error)}).") from error
