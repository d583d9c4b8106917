"""Rows from a folder of class folders, with or without a folder for each split. Links out of the folder are refused."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from modelselect.errors import DatasetError
from modelselect.probe.images import SUFFIXES, UnreadableError
from modelselect.probe.labels import Labels, printable
from modelselect.probe.rows import IMAGE, Rows
from modelselect.probe.splits import TEST, TRAIN, WHOLE, kind_of_split, test_refused

_LAYOUT = "expected FOLDER/CLASS/*.jpg or FOLDER/{train,val}/CLASS/*.jpg (JPEG, PNG, WebP, BMP, TIFF or PPM)"


def open_folder(folder: Path) -> dict[str, Callable[[], Rows]]:
    """Functions that open the rows of each split, by the split's name; the name is `WHOLE` if there are only classes.

    Raises:
        DatasetError: the folder holds no class folders.
    """
    root = Path(os.path.realpath(folder))
    listing = _Listing(root)
    listing.folders(root)
    kinds = {name: kind_of_split(name) for name in listing.found}
    with_classes = {name for name, kind in kinds.items() if kind and _has_folders(listing.found[name])}
    classes = {name: path for name, path in listing.found.items() if name not in with_classes}
    flat_splits = {kinds[name] for name in classes} - {None}
    if TRAIN in flat_splits and len(flat_splits) > 1 and not with_classes:
        raise DatasetError(f"the splits of {root} ({', '.join(sorted(classes))}) hold no class folders; {_LAYOUT}.")
    if not with_classes or (classes and all(kinds[name] == TEST for name in with_classes)):
        return {WHOLE: lambda: FolderRows(root, classes, listing)}
    return {name: _opener(root, listing.found[name]) for name in sorted(with_classes)}


def refuse_test_folder(folder: Path) -> None:
    """Raises for a folder that is the test split of the folder above it."""
    path = folder.resolve()
    if kind_of_split(path.name) == TEST and any(
        sibling.is_dir() and kind_of_split(sibling.name) == TRAIN for sibling in path.parent.iterdir()
    ):
        raise DatasetError(test_refused(str(path), f"{path.parent} has training rows, too"))


def _opener(root: Path, split: Path) -> Callable[[], Rows]:
    def open_split() -> Rows:
        listing = _Listing(root)
        listing.folders(split)
        return FolderRows(root, listing.found, listing)

    return open_split


class FolderRows(Rows):
    """Image files in class folders, sorted by name, so that their order does not depend on the file system.

    Args:
        root: the dataset's folder; links out of it are refused.
        classes: class name -> folder of the class.
        listing: what was refused so far.

    Raises:
        DatasetError: the class folders hold no images.
    """

    source = "folder"

    def __init__(self, root: Path, classes: dict[str, Path], listing: _Listing) -> None:
        self._root = str(root)
        self._files: list[str] = []
        counts: list[int] = []
        for name in sorted(classes):
            files = listing.images(classes[name])
            counts.append(len(files))
            self._files += files
        names = tuple(name for name, count in zip(sorted(classes), counts, strict=True) if count)
        if not names:
            raise DatasetError(_no_images(root, classes, listing))
        indices = np.repeat(np.arange(len(names)), [count for count in counts if count])
        shown = tuple(map(printable, names))
        super().__init__(IMAGE, Labels(indices.astype(np.int64), shown, shown))
        self.skipped = tuple(sorted(listing.refused.items()))
        self.notes["path"] = self._root
        if listing.ignored:
            self.notes["ignored_files"] = dict(sorted(listing.ignored.items()))
        if len(names) < len(classes):
            empty = [printable(name) for name in sorted(classes) if name not in set(names)]
            self.notes["classes_without_images"] = empty
            self.remarks = (f"classes without an image that can be read: {', '.join(empty)}.",)

    def raw(self, row: int) -> bytes:
        # The file may have become a link out of the folder after it was listed.
        path = os.path.realpath(os.path.join(self._root, self._files[row]))
        if not path.startswith(self._root.rstrip(os.sep) + os.sep):
            raise UnreadableError("a link that leaves the folder")
        with open(path, "rb") as file:
            return file.read()

    def row_name(self, row: int) -> str:
        return printable(self._files[row].replace(os.sep, "/"))


@dataclass
class _Listing:
    """One walk through a dataset's folder: what was found, what was refused and why, and what was ignored."""

    root: Path
    found: dict[str, Path] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)

    def folders(self, parent: Path) -> None:
        """Finds the folders in `parent`, except hidden ones."""
        with os.scandir(parent) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and self._is(entry, stat.S_ISDIR):
                    self.found[entry.name] = Path(entry.path)

    def images(self, folder: Path) -> list[str]:
        """Image files directly in `folder`, sorted, relative to the root."""
        names = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if os.path.splitext(entry.name)[1].lower() in SUFFIXES:
                    if self._is(entry, stat.S_ISREG):
                        names.append(entry.name)
                elif entry.is_dir(follow_symlinks=False):
                    self._refuse(entry, "a folder inside a class folder; such folders are not read")
                else:
                    self.ignored[os.path.splitext(entry.name)[1].lower() or "no suffix"] += 1
        relative = os.path.relpath(folder, self.root)
        return [os.path.join(relative, name) for name in sorted(names)]

    def _is(self, entry: os.DirEntry[str], kind: Callable[[int], bool]) -> bool:
        """True if the entry is of this kind. A link counts if its target is inside the root, outside a test split."""
        if not entry.is_symlink():
            return entry.is_dir() if kind is stat.S_ISDIR else entry.is_file()
        target = Path(os.path.realpath(entry.path))
        if not target.is_relative_to(self.root):
            self._refuse(entry, "a link that leaves the folder")
        elif target == self.root or self._in_test_split(target):
            self._refuse(entry, "a link to the test split or to the whole folder")
        elif not target.exists():
            self._refuse(entry, "a broken link")
        else:
            return kind(target.stat().st_mode)
        return False

    def _in_test_split(self, target: Path) -> bool:
        top = target.relative_to(self.root).parts[0]
        return kind_of_split(top) == TEST and _has_folders(self.root / top)

    def _refuse(self, entry: os.DirEntry[str], reason: str) -> None:
        self.refused[printable(os.path.relpath(entry.path, self.root).replace(os.sep, "/"))] = reason


def _has_folders(path: Path) -> bool:
    with os.scandir(path) as entries:
        return any(entry.is_dir() and not entry.name.startswith(".") for entry in entries)


def _no_images(root: Path, classes: dict[str, Path], listing: _Listing) -> str:
    def some(names: list[str]) -> str:
        return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")

    if not any(root.iterdir()):
        return f"the folder {root} is empty; {_LAYOUT}."
    if not classes:
        files = sum(path.suffix.lower() in SUFFIXES for path in root.iterdir())
        holds = f"holds {files} images but no class folders" if files else "holds no class folders"
        return f"the folder {root} {holds}; {_LAYOUT}. To use rows without classes, give (list of images, None)."
    found = []
    if listing.ignored:
        found.append(f"files of other kinds ({some(sorted(listing.ignored))})")
    for reason in sorted(set(listing.refused.values())):
        found.append(f"{reason} ({some(sorted(name for name, why in listing.refused.items() if why == reason))})")
    seen = f" There are {'; '.join(found)}." if found else ""
    return f"no images in the class folders of {root} ({some(sorted(map(printable, classes)))}); {_LAYOUT}.{seen}"
