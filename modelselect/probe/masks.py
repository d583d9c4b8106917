"""Images with masks: folders `images/` and `masks/`, two columns of images, and arrays; rows are drawn pixels."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import DatasetError
from modelselect.probe.columns import LABEL_NAMES, Label, is_image
from modelselect.probe.image_parts import ImageParts, Load, as_given, cell, images_in
from modelselect.probe.images import Reading, content_of, has_image_suffix, stored_image
from modelselect.probe.labels import Labels
from modelselect.probe.rows import Splits, reason_of
from modelselect.probe.splits import WHOLE, kind_of_split
from modelselect.utils.containers import array_of_tensor, is_sequence, is_tensor
from modelselect.utils.pixels import Pixel
from modelselect.utils.system import usable_cores
from modelselect.utils.target_kinds import PIXEL
from modelselect.utils.text import counted, listed

if TYPE_CHECKING:
    from PIL.Image import Image

IGNORED = 255
"""The value of pixels that do not count, as PASCAL VOC, ADE20K and Cityscapes have it; so does -1."""

SIDE = 128
"""Masks are compared at this height and width, in pixels, whatever their size and that of the model's input."""

PER_CLASS = 16
"""Most pixels of each class that an image offers to be drawn."""

MOST_CLASSES = 2048
"""Different numbers in the masks of a dataset, at most: the largest published datasets have some 1,200 classes."""

_SORTED = 1 << 22
"""Pixels of a mask that are sorted at a time: some 40 MB."""

FOLDERS = ("masks", "mask", "annotations", "labels", "SegmentationClass")
"""Names of folders of masks next to a folder `images`."""

MASK_NAMES = ("mask", "masks", "label", "labels", "annotation", "segmentation", "segmentation_mask", "semantic_mask")
"""Names of columns of masks."""


class MaskRows(ImageParts):
    """Pixels of images with masks; the class of a pixel is its value in the mask.

    Of each image, at most `PER_CLASS` pixels of each class are rows, the same ones whenever the mask is the same.

    Args:
        pairs: of each image: its name, a function that gives it, and a function that gives its mask.
        has_columns: whether `input` and `label` name columns.
        upright: whether the EXIF orientation is applied.

    Raises:
        DatasetError: a mask cannot be read, no mask holds a class, all hold the same one, or there are too many.
    """

    source = "images with masks"

    def __init__(
        self, pairs: Sequence[tuple[str, Load, Load]], *, has_columns: bool = False, upright: bool = False
    ) -> None:
        self._pairs = pairs
        with ThreadPoolExecutor(usable_cores()) as threads:
            drawn = list(threads.map(self._drawn, range(len(pairs))))
        empty = [pairs[number][0] for number, (values, _) in enumerate(drawn) if not len(values)]
        if not pairs:
            raise DatasetError("there are no images with masks; expected at least one image and its mask.")
        if len(empty) == len(pairs):
            raise DatasetError(
                f"no mask holds a class: all pixels of {listed(empty, 3)} are {IGNORED} or -1, which do not count. If "
                f"{IGNORED} is a class, write masks with 0, 1, ..."
            )
        values = np.concatenate([values for values, _ in drawn])
        self._places = np.concatenate([places for _, places in drawn])
        present, indices = np.unique(values, return_inverse=True)
        if len(present) < 2:
            raise DatasetError(
                f"all pixels that count have the class {present[0]}; expected at least two classes. {IGNORED} and -1 "
                "do not count: for masks of 0 and 255, write 0 and 1."
            )
        _check_count(len(present), f"the {len(pairs):,} masks hold")
        names = tuple(map(str, present.tolist()))
        groups = np.repeat(np.arange(len(pairs)), [len(values) for values, _ in drawn])
        labels = Labels(indices.astype(np.int64), names, tuple(present.tolist()))
        super().__init__([pair[:2] for pair in pairs], labels, PIXEL, groups, upright=upright)
        self.has_columns = has_columns
        self.skipped = tuple((name, "its mask holds no class") for name in empty)
        self.remarks = (
            f"Each row is a pixel: at most {PER_CLASS} of each class are drawn from each of "
            f"{counted(len(pairs), 'image')}, with {len(names)} classes.",
        )

    def item(self, row: int) -> Pixel:
        group = int(self.groups[row])
        image = self.decoded(group)
        y, x = self._places[row]
        return Pixel(image, (int(y) + 0.5) / image.height, (int(x) + 0.5) / image.width, group)

    def row_name(self, row: int) -> str:
        y, x = self._places[row]
        return f"pixel ({y}, {x}) of {self.name(int(self.groups[row]))}"

    def place(self, row: int) -> list[float]:
        found: list[float] = self._places[row].tolist()
        return found

    def refuse_other(self, group: int, image: Image) -> None:
        if (found := self._mask(group).shape) != (image.height, image.width):
            raise DatasetError(
                f"the mask of {self.name(group)} has {found[0]} x {found[1]} pixels and the image "
                f"{image.height} x {image.width}; expected the same size."
            )

    def whole(self, group: int) -> Any:
        return self.decoded(group)

    def whole_targets(self, groups: NDArray[np.int64]) -> NDArray[np.integer[Any]]:
        """(G, SIDE, SIDE) classes, from the nearest pixels of the masks."""
        values = np.array([int(original) for original in self.labels.originals])

        def read(group: int) -> NDArray[np.int16]:
            mask = self._mask(group)
            y, x = ((2 * np.arange(SIDE) + 1) * side // (2 * SIDE) for side in mask.shape)
            small = mask[np.ix_(y, x)]
            places = np.minimum(np.searchsorted(values, small), len(values) - 1)
            return np.where(values[places] == small, places, -1).astype(np.int16)

        with ThreadPoolExecutor(usable_cores()) as threads:
            found = list(threads.map(read, groups.tolist()))
        return np.stack(found) if found else np.zeros((0, SIDE, SIDE), np.int16)

    def _drawn(self, group: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The classes and places of the pixels of an image that are rows, class by class."""
        mask = self._mask(group)
        flat = mask.reshape(-1)
        parts = [flat[start : start + _SORTED] for start in range(0, flat.size, _SORTED)]
        seed, counts = 0, np.zeros(2**15 + 1, np.int64)  # of -1, 0, 1, ...
        for part in parts:
            wide = part.astype(np.int32)
            seed = zlib.crc32(wide.tobytes(), seed)
            counts += np.bincount(wide + 1, minlength=len(counts))
        counts[[0, 1 + IGNORED]] = 0
        values = np.flatnonzero(counts) - 1
        _check_count(len(values), f"the mask of {self._pairs[group][0]} holds")
        rng = np.random.default_rng(seed)
        wanted = {
            value: np.sort(rng.choice(count, min(PER_CLASS, count), replace=False))
            for value, count in zip(values.tolist(), counts[values + 1].tolist(), strict=True)
        }
        found: dict[int, list[NDArray[np.int64]]] = {value: [] for value in wanted}
        passed = np.zeros(len(counts), np.int64)
        for number, part in enumerate(parts):
            order = np.argsort(part, kind="stable")  # once, however many classes there are
            for there in np.split(order, np.flatnonzero(np.diff(part[order])) + 1):
                value = int(part[there[0]])
                if value in wanted:
                    ranks = wanted[value] - passed[value]
                    found[value].append(there[ranks[(ranks >= 0) & (ranks < len(there))]] + number * _SORTED)
                    passed[value] += len(there)
        if not wanted:
            return np.zeros(0, np.int64), np.zeros((0, 2), np.int32)
        chosen = [np.concatenate(each) for each in found.values()]
        places = np.stack(np.unravel_index(np.concatenate(chosen), mask.shape), axis=1)
        return np.repeat(values, list(map(len, chosen))), places.astype(np.int32)

    def _mask(self, group: int) -> NDArray[Any]:
        name, _, load = self._pairs[group]
        try:
            given = load()
        except Exception as error:
            raise _unreadable(name, error) from None
        return mask_of(given, name)


def mask_of(given: Any, name: str) -> NDArray[Any]:
    """(H, W) int16: a class for each pixel, or `IGNORED`, or -1.

    Args:
        given: the bytes of a file, a PIL image of grey values, of a palette or of 0 and 1, or an array (H, W).
        name: of the image, for messages.

    Raises:
        DatasetError: it is none of these.
    """
    given = _pixels_of(given, name)
    mask = array_of_tensor(given) if is_tensor(given) else np.asarray(given)
    if mask.ndim == 3 and 1 in (mask.shape[0], mask.shape[2]):
        mask = mask.reshape(list(mask.shape[:-1]) if mask.shape[2] == 1 else mask.shape[1:])
    if mask.ndim != 2 or not mask.size:
        raise DatasetError(f"the mask of {name} has the shape {mask.shape}; expected (H, W) as its image.")
    if mask.dtype.kind == "f":
        if not np.isfinite(mask).all():
            raise DatasetError(f"the mask of {name} holds NaN or infinity; expected class numbers from 0.")
        if (mask != np.rint(mask)).any():
            raise DatasetError(f"the mask of {name} holds numbers that are not whole; expected class numbers from 0.")
    elif mask.dtype.kind not in "biu":
        raise DatasetError(f"the mask of {name} holds {mask.dtype}; expected class numbers from 0.")
    lowest, highest = int(mask.min()), int(mask.max())
    if lowest < -1 or highest >= 2**15:
        wrong = lowest if lowest < -1 else highest
        raise DatasetError(
            f"the mask of {name} holds {wrong}; expected class numbers from 0, and {IGNORED} or -1 for what does not "
            "count."
        )
    return mask.astype(np.int16)


def _check_count(count: int, holding: str) -> None:
    if count > MOST_CLASSES:
        raise DatasetError(
            f"{holding} {count:,} different numbers; expected the number of a class for each pixel, and at most "
            f"{MOST_CLASSES:,} classes in all images. Depths, and a number for each object, are no classes."
        )


def _pixels_of(given: Any, name: str) -> Any:
    """A mask as an array, from what `mask_of` gets."""
    import PIL.Image

    if given is None:
        raise DatasetError(f"the mask of {name} is missing; expected one for each image.")
    if isinstance(given, bytes):
        try:
            given = stored_image(given, Reading())
        except DatasetError:
            raise
        except Exception as error:
            raise _unreadable(name, error) from None
        if given.format == "JPEG":
            raise DatasetError(
                f"the mask of {name} is a JPEG file, which changes class numbers; expected PNG or another format "
                "without loss."
            )
    if isinstance(given, PIL.Image.Image):
        if given.mode not in ("P", "L", "1", "I", "I;16"):
            raise DatasetError(
                f"the mask of {name} is an image of the mode {given.mode}; expected the class of each pixel as a grey "
                "value or as a place in a palette. Turn colours into numbers from 0 first. If these are no masks, give "
                "the folder or the column another name."
            )
        given = np.array(given)
    return given


def _unreadable(name: str, error: Exception) -> DatasetError:
    return DatasetError(
        f"the mask of {name} cannot be read ({reason_of(error)}). Repair it, or leave out the image and its mask."
    )


# --- where they come from --------------------------------------------------------------------------------------------


def has_masks(folder: Path) -> bool:
    """True for a folder with `images/` and `masks/`, in itself or in the folders of its splits."""
    if _mask_folder(folder) is not None:
        return True
    return any(_mask_folder(each) is not None for each in _split_folders(folder))


def open_masks(folder: Path) -> Splits:
    """Functions that open the rows of each split: `FOLDER/{images,masks}`, `FOLDER/train/{images,masks}`, or
    `FOLDER/{images,masks}/train`.

    Raises:
        DatasetError: an image has no mask, a mask no image, or two have one name.
    """
    masks = _mask_folder(folder)
    if masks is None:
        return {
            each.name: partial(_folder_rows, each / "images", _mask_folder(each)) for each in _split_folders(folder)
        }
    inside = [each.name for each in _folders(folder / "images") if kind_of_split(each.name)]
    if inside:
        return {name: partial(_folder_rows, folder / "images" / name, masks / name) for name in inside}
    return {WHOLE: partial(_folder_rows, folder / "images", masks)}


def mask_columns(dataset: Any, input: Any, label: Label) -> tuple[str, str] | None:
    """The columns of images and of masks of a `datasets.Dataset`; None for other tables."""
    found = [name for name, feature in dataset.features.items() if is_image(feature) and not _is_audio(feature)]
    if label is None and any(name.lower() in LABEL_NAMES for name in dataset.features if name not in found):
        return None  # the images have labels
    if label is None:
        named = [name for name in found if name.lower() in MASK_NAMES and name != input]
    else:
        named = [name for name in found if name == label]
    others = [name for name in found if name not in named and input in (None, name)]
    return (others[0], named[0]) if len(named) == 1 and len(others) == 1 else None


def mask_table(dataset: Any, columns: tuple[str, str], read: Callable[[str], bytes]) -> MaskRows:
    """The rows of a table with a column of images and one of masks.

    Args:
        dataset: a `datasets.Dataset`.
        columns: of images and of masks.
        read: gives the content of a file that the table names.
    """
    import datasets

    of_images, of_masks = (
        partial(cell, dataset.with_format(None).select_columns([name]).cast_column(name, datasets.Image(decode=False)))
        for name in columns
    )
    pairs = [
        (f"row {row}", partial(of_images, read, row, columns[0]), partial(of_masks, read, row, columns[1]))
        for row in range(len(dataset))
    ]
    rows = MaskRows(pairs, has_columns=True, upright=True)
    rows.notes = {"input": columns[0], "label": columns[1], "datasets": datasets.__version__}
    return rows


def mask_pairs(inputs: Any, labels: Any) -> MaskRows | None:
    """The rows of images and masks in memory; None for anything else."""
    if is_tensor(labels):
        labels = array_of_tensor(labels)
    if isinstance(labels, np.ndarray) and labels.dtype != object:
        if labels.ndim != 3 or labels.dtype.kind not in "biuf":
            return None
    elif not is_sequence(labels) or not len(labels) or not all(_is_mask(mask) for mask in labels):
        return None
    if (images := images_in(inputs)) is None:
        return None
    if len(images) != len(labels):
        raise DatasetError(f"there are {len(images)} images and {len(labels)} masks; give one mask for each image.")
    pairs = [
        (f"row {row}", partial(as_given, image), partial(_given, mask))
        for row, (image, mask) in enumerate(zip(images, labels, strict=True))
    ]
    return MaskRows(pairs)


def _is_mask(value: Any) -> bool:
    """True for a PIL image and for a table of numbers."""
    return hasattr(value, "getpalette") or (hasattr(value, "ndim") and value.ndim in (2, 3) and value.dtype != object)


def _given(value: Any) -> Any:
    return value


def _is_audio(feature: Any) -> bool:
    return type(feature).__name__ == "Audio"


def _folders(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))


def _split_folders(folder: Path) -> list[Path]:
    return [each for each in _folders(folder) if kind_of_split(each.name) and _mask_folder(each) is not None]


def _mask_folder(folder: Path) -> Path | None:
    if not (folder / "images").is_dir():
        return None
    return next((place for name in FOLDERS if (place := folder / name).is_dir() and _may_hold_masks(place)), None)


def _may_hold_masks(folder: Path) -> bool:
    """True for a folder of image files, alone or in folders of splits; not of classes, nor of texts about boxes."""
    if inside := _folders(folder):
        return any(kind_of_split(each.name) and _holds_images(each) for each in inside)
    return _holds_images(folder)


def _holds_images(folder: Path) -> bool:
    with os.scandir(folder) as files:
        return any(has_image_suffix(each.name) for each in files)


def _folder_rows(folder: Path, masks: Path | None) -> MaskRows:
    assert masks is not None
    found, of_mask = _by_stem(folder), _by_stem(masks)
    for missing, what, where in ((found, "mask", masks), (of_mask, "image", folder)):
        other = of_mask if missing is found else found
        lacking = sorted(set(missing) - set(other))
        if lacking:
            raise DatasetError(
                f"there is no {what} in {where} for {listed([missing[stem].name for stem in lacking], 3)}; expected a "
                f"{what} of the same name for each."
            )
    if not found:
        raise DatasetError(f"{folder} holds no images; expected image files, and masks of the same names in {masks}.")
    return MaskRows(
        [
            (found[stem].name, partial(content_of, found[stem]), partial(content_of, of_mask[stem]))
            for stem in sorted(found)
        ]
    )


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    root = os.path.realpath(folder) + os.sep
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith(".") or not has_image_suffix(path.name):
            continue
        if not os.path.realpath(path).startswith(root):
            raise DatasetError(f"{path} leads out of its folder, so it was not opened.")
        if path.stem in found:
            raise DatasetError(f"{folder} holds {found[path.stem].name} and {path.name}; expected one file of a name.")
        found[path.stem] = path
    return found
