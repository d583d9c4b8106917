"""Images with boxes: a column of objects, and boxes in memory; rows are boxes of objects, and boxes of background."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import DatasetError
from modelselect.probe.columns import Label, is_image, is_sound, is_text, kind, sample_of, values_of
from modelselect.probe.image_parts import ImageParts, Load, as_given, cell, images_in, stored
from modelselect.probe.images import Reading, size_of
from modelselect.probe.labels import Labels, in_utf8
from modelselect.probe.paths import Origin, may_be_paths, origin_of_paths
from modelselect.probe.rows import reason_of
from modelselect.utils.boxes import BACKGROUND, Box, Boxes, overlaps
from modelselect.utils.containers import array_of_tensor, is_sequence, is_tensor
from modelselect.utils.system import usable_cores
from modelselect.utils.target_kinds import BOX
from modelselect.utils.text import counted

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_OVERLAP = 0.3
"""Intersection over union with an object up to which a box is background; R-CNN has the same (R. Girshick et al.: Rich
feature hierarchies for accurate object detection and semantic segmentation, CVPR 2014)."""

BEYOND = 1.0
"""Pixels by which a box may leave its image, since coordinates are rounded."""

_LARGEST_SIDE = 1 << 30
"""Pixels; a larger side that a dataset says of an image is none."""

OBJECT_NAMES = ("objects", "object", "annotations", "detections")
"""Names of columns of objects."""

BOX_NAMES = ("bbox", "bboxes", "boxes", "box")
"""Names of the field of an object that holds its box."""

CLASS_NAMES = ("category", "categories", "label", "labels", "category_id", "class", "classes", "name")
"""Names of the field of an object that holds its class."""

CROWD_NAMES = ("iscrowd", "is_crowd")
"""Names of the field of an object that says that its box holds many objects."""

_TRIED, _ROUNDS = 8, 8
"""Boxes that are tried for one of background at a time, and how often: with sides of objects, and with any sides."""

_MOST_DRAWN = 1000
"""Boxes of background in an image, at most: each is compared with all objects."""

_COMPARED = 1 << 20
"""Pairs of boxes that are compared at a time: some 100 MB."""

_MOST_CELLS, _FEWEST_BOXES = 1 << 24, 256
"""Boxes of all images together where each has as many as the fullest one; and boxes of an image that always count."""

_SIDES = (0.1, 0.5)
"""Sides of boxes of background as shares of those of the image, where objects say none."""


@dataclass(frozen=True)
class Objects:
    """The objects in an image.

    Attributes:
        boxes: (n, 4) left and upper edge, width and height, in pixels.
        labels: the class of each: a name, or a number.
        crowds: the same for boxes of many objects, which are no rows. No box of background overlaps them.
    """

    boxes: Any
    labels: Sequence[Any]
    crowds: Any = field(default=())


class BoxRows(ImageParts):
    """Boxes in images: those of the objects, and as many of background in each image, but at least one.

    A box of background overlaps no object by more than `MOST_OVERLAP`. Its size is that of an object of the image, or
    less. The same ones are drawn whenever the boxes of the objects are the same. There are 1,000 in an image, at most.

    Args:
        images: of each image: its name, and a function that gives it.
        objects: in each image.
        names: of classes that are numbers.
        sizes: width and height of each image, where they are known without reading it.
        has_columns: whether `input` and `label` name columns.
        upright: whether the EXIF orientation is applied.
        crowds: what boxes that are no rows hold, for messages.

    Raises:
        DatasetError: a box or a class is wrong, there are no boxes, or all rows have the same class.
    """

    source = "images with boxes"

    def __init__(
        self,
        images: Sequence[tuple[str, Load]],
        objects: Sequence[Objects],
        *,
        names: Mapping[int, str] | None = None,
        sizes: Sequence[tuple[int, int] | None] | None = None,
        has_columns: bool = False,
        upright: bool = False,
        crowds: str = "crowds",
    ) -> None:
        with ThreadPoolExecutor(usable_cores()) as threads:
            given = [None] * len(images) if sizes is None else sizes
            measured = list(threads.map(partial(_measured, Reading(upright=upright, max_pixels=None)), images, given))
        self._sizes = [None if isinstance(size, str) else size for size in measured]
        corners, avoiding = [], []
        for (name, _), size, each in zip(images, self._sizes, objects, strict=True):
            corners.append(_corners(each.boxes, size, f"in {name}"))
            avoiding.append(_corners(each.crowds, size, f"of {crowds} in {name}"))
        labels = [
            _labels(each.labels, len(own), name) for (name, _), each, own in zip(images, objects, corners, strict=True)
        ]
        if not any(map(len, corners)):
            raise DatasetError(
                f"none of the {len(images):,} images has a box; expected boxes of objects, with the class of each."
            )
        classes, originals = _classes([label for own in labels for label in own], names)
        free = [
            _background(own, avoided, size) for own, avoided, size in zip(corners, avoiding, self._sizes, strict=True)
        ]
        drawn = sum(map(len, free))
        if drawn:
            classes, originals = (BACKGROUND, *classes), (BACKGROUND, *originals)
        if len(classes) < 2:
            raise DatasetError(
                f"all objects have the class {classes[0]!r}, and they fill the images, so that no box of background "
                "can be drawn; expected two classes at least."
            )
        place = {original: index for index, original in enumerate(originals)}
        parts = list(zip(labels, free, strict=True))
        indices = [index for own, others in parts for index in (*(place[label] for label in own), *[0] * len(others))]
        self._boxes = np.concatenate([box for pair in zip(corners, free, strict=True) for box in pair])
        counts = [len(own) + len(others) for own, others in parts]
        self._starts, self._counts = np.cumsum(counts) - counts, np.array(counts)
        self._most = min(int(self._counts.max()), max(_FEWEST_BOXES, _MOST_CELLS // len(images)))
        groups = np.repeat(np.arange(len(images)), counts)
        super().__init__(images, Labels(np.array(indices, np.int64), classes, originals), BOX, groups, upright=upright)
        self.has_columns = has_columns
        self.skipped = tuple(
            (name, size)
            for (name, _), size, count in zip(images, measured, counts, strict=True)
            if isinstance(size, str) and not count
        )
        self.remarks = (_remark(corners, sum(map(len, avoiding)), crowds, drawn, len(classes) - bool(drawn)),)
        if full := int((self._counts > self._most).sum()):
            self.remarks += (
                f"{counted(full, 'image')} {'has' if full == 1 else 'have'} more than {self._most:,} boxes, background "
                f"included. Fine-tuning and its metric take {self._most:,} of each.",
            )

    def item(self, row: int) -> Box:
        group = int(self.groups[row])
        left, upper, right, lower = self._shares(np.array([row]), self.decoded(group))[0].tolist()
        return Box(self.decoded(group), (left, upper, right, lower), group)

    def row_name(self, row: int) -> str:
        corners = ", ".join(f"{value:g}" for value in self._boxes[row].round(1).tolist())
        return f"box ({corners}) of {self.name(int(self.groups[row]))}"

    def place(self, row: int) -> list[float]:
        found: list[float] = self._boxes[row].tolist()
        return found

    def refuse_other(self, group: int, image: Image) -> None:
        if self._sizes[group] not in (None, image.size):
            width, height = self._sizes[group]  # type: ignore[misc]
            raise DatasetError(
                f"the boxes of {self.name(group)} are said to be in an image of {width} x {height} pixels, and it has "
                f"{image.width} x {image.height}; expected the same size. If images were resized, scale the boxes, "
                "too; if they are turned by their EXIF orientation, save them upright."
            )

    def whole(self, group: int) -> Boxes:
        image, rows = self.decoded(group), self._of_whole(group)
        corners = np.zeros((self._most, 4), np.float32)
        corners[: len(rows)] = self._shares(rows, image)
        return Boxes(image, corners)

    def whole_targets(self, groups: NDArray[np.int64]) -> NDArray[np.int64]:
        """(G, P) classes, as `whole` has the boxes."""
        found = np.full((len(groups), self._most), -1, np.int64)
        for place, group in enumerate(groups.tolist()):
            rows = self._of_whole(group)
            found[place, : len(rows)] = self.labels.indices[rows]
        return found

    def _of_whole(self, group: int) -> NDArray[np.int64]:
        """The rows of an image: all, or as many as fit, evenly among those of objects and of background."""
        count = int(self._counts[group])
        kept = np.arange(count) if count <= self._most else np.linspace(0, count - 1, self._most).round()
        found: NDArray[np.int64] = self._starts[group] + kept.astype(np.int64)
        return found

    def _shares(self, rows: NDArray[np.int64], image: Image) -> NDArray[np.float64]:
        found: NDArray[np.float64] = self._boxes[rows] / np.tile(image.size, 2)
        return found


def _measured(reading: Reading, image: tuple[str, Load], size: tuple[int, int] | None) -> tuple[int, int] | str:
    """Width and height of an image, or why it cannot be read."""
    if size is not None:
        return size
    try:
        return size_of(stored(image[1]), reading)
    except DatasetError:
        raise
    except Exception as error:
        return reason_of(error)


def _corners(given: Any, size: tuple[int, int] | None, where: str) -> NDArray[np.float64]:
    """(n, 4) left, upper, right and lower edges of boxes, within the image.

    Args:
        given: (n, 4) left and upper edges, widths and heights.
        size: width and height of the image; None: it cannot be read.
        where: the image, for messages.

    Raises:
        DatasetError: they are no boxes, or leave the image.
    """
    try:
        given = array_of_tensor(given) if is_tensor(given) else given
        is_array = isinstance(given, np.ndarray) and given.dtype != object
        boxes = np.asarray(given if is_array else [np.asarray(box) for box in given], np.float64)
    except (TypeError, ValueError, OverflowError):
        boxes = np.zeros(1)
    if not boxes.size and boxes.ndim < 3:
        return np.zeros((0, 4))
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise DatasetError(f"the boxes {where} are {ascii(given)[:60]}; expected (x, y, width, height) for each.")
    finite, sided = np.all(np.isfinite(boxes), axis=1), np.all(boxes[:, 2:] > 0, axis=1)
    beyond = np.zeros(len(boxes))
    if size is not None:
        with np.errstate(over="ignore"):  # a box without an end leaves its image
            low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
        beyond = np.maximum(-low, high - size).max(axis=1)
        beyond[((low >= size) | (high <= 0)).any(axis=1)] += BEYOND
    for place in np.flatnonzero(~(finite & sided & (beyond <= BEYOND)))[:1]:
        said = "(" + ", ".join(f"{value:g}" for value in boxes[place].tolist()) + ")"
        if not finite[place]:
            raise DatasetError(
                f"the box {said} {where} holds NaN or infinity; expected (x, y, width, height) in pixels."
            )
        if not sided[place]:
            raise DatasetError(
                f"the box {said} {where} has a width of {boxes[place, 2]:g} and a height of {boxes[place, 3]:g}; "
                "expected (x, y, width, height) with a width and a height above 0. Leave out such boxes."
            )
        assert size is not None
        raise DatasetError(
            f"the box {said} {where} leaves the image of {size[0]} x {size[1]} pixels; expected (x, y, width, height) "
            "in pixels, inside the image. If the boxes hold (left, upper, right, lower), give widths and heights."
        )
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    return corners if size is None else np.clip(corners, 0, np.tile(size, 2))


def _labels(given: Sequence[Any], boxes: int, name: str) -> list[Any]:
    """The classes of the objects in an image: plain texts or whole numbers."""
    if len(given) != boxes:
        raise DatasetError(
            f"{name} has {counted(boxes, 'box', 'boxes')} and {counted(len(given), 'class', 'classes')}; expected a "
            "class for each box."
        )
    plain = [label.item() if isinstance(label, np.generic) or is_tensor(label) else label for label in given]
    for label in plain:
        if isinstance(label, bool) or not isinstance(label, str | int):
            raise DatasetError(f"a class in {name} is {ascii(label)[:40]}; expected a name, or a number from 0.")
    return plain


def _classes(labels: Sequence[Any], names: Mapping[int, str] | None) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """Names of the classes that are there, in order, and how the dataset calls them."""
    present = set(labels)
    if len({type(label) for label in present}) > 1:
        raise DatasetError("the classes are both numbers and names; expected classes of one kind.")
    unknown = sorted(present - set(names)) if names is not None else []
    if unknown:
        raise DatasetError(
            f"the class {unknown[0]} of a box is unknown: the classes have the numbers {_shown(sorted(names or ()))}."
        )
    known = {label: in_utf8(str(label) if names is None else str(names[label])) for label in present}
    if len(set(known.values())) < len(known):
        twice = next(name for name in known.values() if list(known.values()).count(name) > 1)
        raise DatasetError(f"two classes have the name {twice!r}; expected one name for each.")
    if BACKGROUND in known.values():
        raise DatasetError(
            f"a class of boxes is called {BACKGROUND!r}, which is the name of boxes without an object. Leave out such "
            "boxes, or rename the class."
        )
    originals = tuple(sorted(present) if names is None else sorted(present, key=known.__getitem__))
    return tuple(known[label] for label in originals), originals


def _shown(numbers: Sequence[int]) -> str:
    more = f", ... ({len(numbers)})" if len(numbers) > 5 else ""
    return ", ".join(map(str, numbers[:5])) + more


def _background(
    objects: NDArray[np.float64], crowds: NDArray[np.float64], size: tuple[int, int] | None
) -> NDArray[np.float64]:
    """(m, 4) boxes that overlap no object: as many as there are objects, from one to 1,000; fewer where none fits.

    Args:
        objects: (n, 4) corners.
        crowds: (k, 4) corners of other boxes that are not background.
        size: width and height of the image; None: none is drawn.
    """
    if size is None:
        return np.zeros((0, 4))
    rng = np.random.default_rng(zlib.crc32(objects.tobytes() + repr(size).encode()))
    wanted, bounds = min(max(len(objects), 1), _MOST_DRAWN), np.array(size, np.float64)
    taken = np.concatenate([objects, crowds])
    found = np.zeros((0, 4))
    for number in range(2 * _ROUNDS):
        count, by_objects = _TRIED * wanted, len(objects) > 0 and number < _ROUNDS
        sides = bounds * rng.uniform(*_SIDES, (count, 2))
        if by_objects:
            sides = (objects[:, 2:] - objects[:, :2])[rng.integers(len(objects), size=count)]
            sides = sides * rng.uniform(0.7, 1.0, (count, 1))
        sides = np.clip(sides, np.minimum(1, bounds), bounds)
        corner = rng.uniform(0, 1, (count, 2)) * (bounds - sides)
        tried = np.concatenate([corner, corner + sides], axis=1)
        found = np.concatenate([found, tried[_fits(tried, taken)]])[:wanted]
        if len(found) == wanted:
            break
    return found


def _fits(tried: NDArray[np.float64], taken: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,) True for boxes that overlap none of the taken ones."""
    step = max(1, _COMPARED // max(1, len(taken)))
    parts = [tried[start : start + step] for start in range(0, len(tried), step)]
    return np.concatenate([(overlaps(part, taken) <= MOST_OVERLAP).all(axis=1) for part in parts])


def _remark(corners: Sequence[NDArray[np.float64]], left: int, crowds: str, drawn: int, classes: int) -> str:
    boxes, empty = sum(map(len, corners)), sum(not len(own) for own in corners)
    said = (
        f"Each row is a box: {counted(boxes, 'box', 'boxes')} of {counted(classes, 'class', 'classes')} in "
        f"{counted(len(corners), 'image')}, and {counted(drawn, 'box', 'boxes')} of background, which overlap no "
        f"object by more than an IoU of {MOST_OVERLAP}."
    )
    said += f" {counted(left, 'box', 'boxes')} of {crowds} {'is' if left == 1 else 'are'} left out." if left else ""
    return said + (f" {counted(empty, 'image')} {'has' if empty == 1 else 'have'} no objects." if empty else "")


# --- where they come from --------------------------------------------------------------------------------------------


def box_columns(dataset: Any, input: Any, label: Label) -> tuple[str, str] | None:
    """The columns of images and of objects of a `datasets.Dataset`; None for other tables."""
    features = dataset.features
    named = [
        name
        for name, feature in features.items()
        if (name == label if label is not None else name.lower() in OBJECT_NAMES)
        and _field(_fields(feature), BOX_NAMES) is not None
    ]
    images = [name for name, feature in features.items() if is_image(feature) and not is_sound(feature)]
    images = images or [
        name
        for name, feature in features.items()
        if is_text(feature) and (name == input or may_be_paths(sample_of(dataset, name), spaces=True))
    ]
    chosen = [name for name in images if input in (None, name)]
    return (chosen[0], named[0]) if len(named) == 1 and len(chosen) == 1 else None


def box_table(dataset: Any, columns: tuple[str, str], origin: Origin) -> BoxRows:
    """The rows of a table with a column of images, or of their paths, and one of objects.

    Args:
        dataset: a `datasets.Dataset`.
        columns: of images and of objects.
        origin: of the dataset, which decides which files it may name.

    Raises:
        DatasetError: the objects have no class, the images are not found, or as `BoxRows`.
    """
    import datasets

    image, objects = columns
    feature = dataset.features[objects]
    fields = _fields(feature)
    box, named, crowd = (_field(fields, names) for names in (BOX_NAMES, CLASS_NAMES, CROWD_NAMES))
    if named is None:
        raise DatasetError(
            f"the objects in column {objects!r} have the fields {', '.join(fields)}; expected one for the class, such "
            "as category or label."
        )
    table = dataset.with_format(None)
    read = origin.read
    if is_image(dataset.features[image]):
        table = table.cast_column(image, datasets.Image(decode=False))
    else:
        found = origin_of_paths(
            sample_of(dataset, image), lambda: values_of(dataset, image).to_pylist(), origin,
            where=f"the values of column {image!r}",
        )  # fmt: skip
        if found is None:
            raise DatasetError(f"no image files that column {image!r} names are found; put the table into their folder")
        read = found.read
    known = [name for name in ("width", "height") if name in dataset.features]
    sizes: list[tuple[int, int] | None] = [None] * len(table)
    if len(known) == 2:
        sizes = list(map(said_size, *(values_of(dataset, name).to_pylist() for name in known)))
    stored_images = table.select_columns([image])
    images = [(f"row {row}", partial(cell, stored_images, read, row, image)) for row in range(len(table))]
    cells = table.select_columns([objects])[:][objects]
    given = [_objects(each, box, named, crowd, f"row {row}") for row, each in enumerate(cells)]
    names = getattr(_plain(fields[named]), "names", None)
    rows = BoxRows(
        images, given, names=None if names is None else dict(enumerate(names)), sizes=sizes, has_columns=True,
        upright=True,
    )  # fmt: skip
    rows.notes = {"input": image, "label": objects, "datasets": datasets.__version__}
    return rows


def said_size(width: Any, height: Any) -> tuple[int, int] | None:
    """Width and height of an image as a dataset says them; None if they are none, so that the image has to be read."""
    sides = tuple(
        int(side) if isinstance(side, int | float) and 0 < side <= _LARGEST_SIDE else 0 for side in (width, height)
    )
    return (sides[0], sides[1]) if all(sides) else None


def box_pairs(inputs: Any, labels: Any) -> BoxRows | None:
    """The rows of images in memory and of (boxes, classes) for each; None for anything else."""
    if not isinstance(labels, list | tuple) or not labels or not all(map(_is_boxed, labels)):
        return None
    if not any(len(boxes) for boxes, _ in labels):
        return None
    if (images := images_in(inputs)) is None:
        return None
    if len(images) != len(labels):
        raise DatasetError(
            f"there are {len(images)} images and {len(labels)} lists of boxes; give (boxes, classes) for each image."
        )
    named = [(f"row {row}", partial(as_given, image)) for row, image in enumerate(images)]
    return BoxRows(named, [Objects(boxes, list(classes)) for boxes, classes in labels])


def _is_boxed(given: Any) -> bool:
    """True for (boxes, classes), where boxes are rows of numbers."""
    if not isinstance(given, list | tuple) or len(given) != 2 or not all(map(is_sequence, given)):
        return False
    boxes = given[0]
    if not len(boxes):
        return not len(given[1])
    if hasattr(boxes, "ndim"):
        return bool(boxes.ndim == 2)
    return all(is_sequence(box) and all(not isinstance(value, str) for value in box) for box in boxes)


def _objects(given: Any, box: str | None, named: str, crowd: str | None, where: str) -> Objects:
    """The objects of a row: a dict of lists, or a list of dicts.

    Raises:
        DatasetError: they are neither.
    """
    if given is None:
        return Objects((), ())
    assert box is not None
    wanted = [name for name in (box, named, crowd) if name is not None]
    if isinstance(given, list) and all(isinstance(each, Mapping) for each in given):
        columns = {name: [each.get(name) for each in given] for name in wanted}
    elif isinstance(given, Mapping):
        columns = {name: [] if given.get(name) is None else given[name] for name in wanted}
    else:
        columns = {}
    if not columns or not all(map(is_sequence, columns.values())):
        raise DatasetError(
            f"the objects in {where} are {ascii(given)[:60]}; expected lists of boxes and of classes by name, or a "
            "list of objects."
        )
    boxes, labels = columns[box], columns[named]
    crowds = [bool(flag) for flag in columns[crowd]] if crowd is not None else [False] * len(boxes)
    if not len(boxes) == len(labels) == len(crowds):
        raise DatasetError(
            f"{where} has {counted(len(boxes), 'box', 'boxes')}, {counted(len(labels), 'class', 'classes')} and "
            f"{counted(len(crowds), 'mark')} of crowds; expected as "
            "many of each."
        )
    if not any(crowds):
        return Objects(boxes, labels)
    kept = [place for place, flag in enumerate(crowds) if not flag]
    return Objects(
        [boxes[place] for place in kept],
        [labels[place] for place in kept],
        [own for own, flag in zip(boxes, crowds, strict=True) if flag],
    )


def _plain(feature: Any) -> Any:
    """The feature of the values in a list, or the feature itself."""
    return feature.feature if kind(feature) in ("List", "LargeList", "Sequence") else feature


def _fields(feature: Any) -> Mapping[str, Any]:
    """The fields of objects, by name; none of other columns."""
    inner = _plain(feature)
    return inner if isinstance(inner, Mapping) else {}


def _field(fields: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in fields), None)
