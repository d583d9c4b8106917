"""Folders in the layout of PASCAL VOC: several labels for each image, in a file for each label and split.

M. Everingham, L. Van Gool, C. K. I. Williams, J. Winn, A. Zisserman: The PASCAL Visual Object Classes Challenge, IJCV
2010.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from modelselect.errors import DatasetError, did_you_mean
from modelselect.probe.columns import Label
from modelselect.probe.huggingface import HuggingFaceRows
from modelselect.probe.paths import Origin
from modelselect.probe.rows import Rows, Splits
from modelselect.probe.splits import TEST, TRAIN, VALIDATION

IMAGES, SETS = "JPEGImages", Path("ImageSets", "Main")
_NAMES = {"train": TRAIN, "val": VALIDATION, "trainval": TRAIN, "test": TEST}
_VALUES = {"1": 1, "-1": 0, "0": -1}
"""What a file of a label says: the image has it, has it not, or is difficult, which counts as not known."""


def is_voc(folder: Path) -> bool:
    """True for a folder with images and lists in the layout of PASCAL VOC."""
    return (folder / IMAGES).is_dir() and (folder / SETS).is_dir()


def open_voc(folder: Path, label: Label) -> Splits:
    """Functions that open the rows of each split.

    Args:
        folder: in the layout of PASCAL VOC.
        label: the labels that are read: a name; several names, or names with commas between them; None for all.

    Raises:
        DatasetError: there are no files of labels, or none of a label that is named.
    """
    found: dict[str, dict[str, Path]] = {}
    for path in sorted((folder / SETS).glob("*_*.txt")):
        name, _, split = path.stem.rpartition("_")
        if split in _NAMES and name:
            found.setdefault(split, {})[name] = path
    if "train" in found or "val" in found:
        found.pop("trainval", None)  # the same rows
    if not found:
        raise DatasetError(
            f"{folder} holds {IMAGES} and {SETS}, and no files such as {SETS / 'cat_train.txt'} that say which images "
            "have a label. Unpack the whole archive."
        )
    if label is not None:
        found = {split: _named(folder, labels, label) for split, labels in found.items()}
    return {_NAMES[split]: partial(_rows, folder, labels) for split, labels in found.items()}


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


def _rows(folder: Path, labels: dict[str, Path]) -> Rows:
    import datasets

    columns: dict[str, dict[str, int]] = {}
    for label, path in labels.items():
        columns[label] = {}
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            parts = line.split()
            if not parts:
                continue
            if len(parts) != 2 or parts[1] not in _VALUES:
                raise DatasetError(
                    f"line {number} of {path} is {line!r}; expected the name of an image, and 1, 0 or -1."
                )
            columns[label][parts[0]] = _VALUES[parts[1]]
    names = sorted(set().union(*columns.values()))
    table = {"file": [f"{IMAGES}/{name}.jpg" for name in names]}
    values = {label: [known.get(name, -1) for name in names] for label, known in columns.items()}
    return HuggingFaceRows(
        datasets.Dataset.from_dict({**table, **values}), input="file", label=tuple(values), origin=Origin.folder(folder)
    )
