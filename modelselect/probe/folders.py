"""Rows from a folder of class folders. Links are followed, as torchvision does, but not into a test split."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from modelselect.errors import DatasetError
from modelselect.probe.images import UnreadableError, content_of
from modelselect.probe.labels import Labels, in_utf8
from modelselect.probe.listing import Listings, by_suffix, lies_in, some
from modelselect.probe.rows import AUDIO, Rows, Splits
from modelselect.probe.splits import (
    TEST,
    TRAIN,
    VALIDATION,
    WHOLE,
    kind_of_known_split,
    kinds_of_folders,
    test_refused,
)
from modelselect.probe.tree import LAYOUT, Tree, is_container, is_test_folder, read_tree, vanished
from modelselect.utils.text import counted

_TO_TEST = "a link to a test split"
_TO_ITSELF = "a link to a folder that holds the link"
_TO_SAME = "a link to a folder that other links lead to"


def open_folder(folder: Path, split: str | None = None, listings: Listings | None = None) -> Splits:
    """Functions that open the rows of each split, by the split's name; the name is `WHOLE` if there are only classes.

    Args:
        folder: of class folders, or of split folders.
        split: that the user named: a folder that is a split though its name does not say so, or `WHOLE` where folders
            are classes though their names could be those of splits.
        listings: of folders that were listed already.

    Raises:
        DatasetError: the folder holds no class folders, or can be read in two ways.
    """
    listings = listings_for(folder) if listings is None else listings
    tree = read_tree(os.path.realpath(folder), split, listings)
    return {name: partial(FolderRows, tree, name, listings) for name in sorted(tree.splits)}


def listings_for(folder: Path) -> Listings:
    """Listings of images; of sounds, if the folder holds sounds and no image."""
    images, path = Listings(), os.path.realpath(folder)
    sounds = Listings(AUDIO)
    return sounds if not images.holds_images(path) and sounds.holds_images(path) else images


def refuse_test_folder(folder: Path) -> None:
    """Raises for a folder that is the test split of the folder above it, or the only folder in that split."""
    path, listings = os.path.realpath(folder), listings_for(folder)
    while kind_of_known_split(name := os.path.basename(path)) == TEST or is_container(name):
        parent = os.path.dirname(path)
        kinds = kinds_of_folders(listings[parent].folders)
        if kinds.get(name) == TEST and TRAIN in kinds.values():
            raise DatasetError(test_refused(str(folder), f"{parent} has training rows, too"))
        path = parent


class FolderRows(Rows):
    """Image files of class folders, in the order of torchvision's `ImageFolder`, whatever the file system's order is.

    Args:
        tree: what the dataset's folder is.
        split: one of the tree's splits.
        listings: of the folders that were listed already.

    Raises:
        DatasetError: a class has no image, so that it would vanish; or a class folder holds what can be a test split.
    """

    source = "folder"

    def __init__(self, tree: Tree, split: str, listings: Listings) -> None:
        classes = tree.splits[split]
        kinds = {name: kind_of_known_split(name) for name in tree.splits}
        walk = _Walk(tree, listings, () if kinds[split] == TEST else tree.tests)
        files, counts, names = [], [], []
        for name in sorted(classes):
            found = [file for folder in classes[name] for file in walk.images(folder)]
            if found or not all(walk.reason(folder) == _TO_ITSELF for folder in classes[name]):
                files += found
                counts.append(len(found))
                names.append(name)
        if not files:
            raise DatasetError(_no_images(tree, split, walk))
        empty = [name for name, count in zip(names, counts, strict=True) if not count]
        if empty and not (kinds[split] == TEST or (kinds[split] == VALIDATION and TRAIN in kinds.values())):
            raise DatasetError(_vanished(classes, empty, listings, walk))
        shown = {name: in_utf8(unicodedata.normalize("NFC", name)) for name in names if name not in empty}
        numbers = {name: number for number, name in enumerate(dict.fromkeys(shown.values()))}
        of_rows = [numbers[shown[name]] for name in names if name in shown]
        indices = np.repeat(of_rows, [count for count in counts if count]).astype(np.int64)
        super().__init__(listings.modality, Labels(indices, tuple(numbers), tuple(numbers)))
        self._root, self._files, self._tests = tree.root, files, walk.tests
        self.skipped = tuple(sorted(walk.refused.items()))
        self.notes = {"path": tree.root, "layout": tree.layout}
        if walk.others:
            self.notes["ignored_files"] = dict(sorted(walk.others.items()))
        left_out = [*tree.left_out, *walk.left_out()]
        remarks = [f"Left out: {'; '.join(left_out)}."] if left_out else []
        if empty:
            remarks.append(f"Classes without an image that can be read: {some(empty)}.")
        if walk.nested and not walk.direct:
            remarks.append(_nested(walk.nested, len(numbers)))
        self.remarks = (*tree.remarks, *remarks, *_alike(shown))

    def raw(self, row: int) -> bytes:
        path = os.path.join(self._root, self._files[row])
        # The file may have become a link after it was listed.
        if self._tests and any(lies_in(os.path.realpath(path), test) for test in self._tests):
            raise UnreadableError(_TO_TEST)
        return content_of(path)

    def row_name(self, row: int) -> str:
        return in_utf8(self._files[row].replace(os.sep, "/"))


@dataclass
class _Walk:
    """A walk through class folders: what was refused and why, what was ignored, and where images were found.

    Attributes:
        tests: folders that are not read; none while the test split itself is read, for benchmarks.
        refused: reason for each file or folder that is not read, by its path in the dataset.
        others: number of files that are no images, by suffix.
        hidden: hidden folders that hold images.
        direct: number of class folders that hold images themselves.
        nested: names of folders inside class folders that hold images.
    """

    tree: Tree
    listings: Listings
    tests: tuple[str, ...]
    refused: dict[str, str] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    hidden: list[str] = field(default_factory=list)
    direct: int = 0
    nested: Counter[str] = field(default_factory=Counter)
    _targets: dict[str, str] = field(default_factory=dict)
    _judged: dict[str, bool] = field(default_factory=dict)

    def images(self, folder: str) -> list[str]:
        """Images in a class folder and in the folders inside it, relative to the root; folders and files by name."""
        real = os.path.realpath(folder)
        reason = self._bad_target(real, [os.path.dirname(folder)]) if os.path.islink(folder) else None
        if reason or self._in_test(real):
            self._refuse(folder, reason or _TO_TEST)
            return []
        found: list[tuple[str, list[str]]] = []
        self._enter(folder, [real], found, set())
        self.direct += bool(found and found[0][0] == folder)
        found.sort()
        start = len(self.tree.root.rstrip(os.sep)) + 1
        return [f"{inside[start:]}{os.sep}{name}" for inside, names in found for name in names]

    def reason(self, folder: str) -> str | None:
        """Why the folder was refused; None if it was not."""
        return self.refused.get(self._name(folder))

    def left_out(self) -> list[str]:
        files = f"{counted(self.others.total(), 'file')} of other kinds in class folders ({by_suffix(self.others)})"
        hidden = f"hidden folders with images ({some(self.hidden)})"
        return [files] * bool(self.others) + [hidden] * bool(self.hidden)

    def _enter(self, folder: str, above: list[str], found: list[tuple[str, list[str]]], followed: set[str]) -> None:
        """Reads a folder of a class, and the folders in it.

        Args:
            folder: its path, which may lead through links.
            above: the folder and those that it was reached through, with links resolved.
            found: the names of the images by folder, to be added to.
            followed: targets of the links that were followed in this class folder. A link that lies behind a link is
                followed only to a new target, since k folders with links to each other have k! paths.
        """
        here = self.listings[folder]
        if here.error:
            self._refuse(folder, here.error)
        for name in here.broken:
            self._refuse(os.path.join(folder, name), "a broken link")
        self.others.update(here.others)
        self.hidden += [
            self._name(inside)
            for name in here.hidden
            if self.listings.holds_images(inside := os.path.join(folder, name))
        ]
        images = here.images
        if here.links:
            images = [name for name in images if name not in here.links or self._may_read(folder, name)]
        if images:
            found.append((folder, images))
            if len(above) > 1:
                self.nested[os.path.basename(folder)] += 1
        for name in here.folders:
            inside = os.path.join(folder, name)
            target = os.path.realpath(inside)
            if name in here.links:
                again = _TO_SAME if folder != above[-1] and target in followed else None
                if reason := self._bad_target(target, above) or again:
                    self._refuse(inside, reason)
                    continue
                followed.add(target)
            if kind_of_known_split(name) == TEST and not self.tree.settled and self.listings.holds_images(inside):
                raise DatasetError(_test_inside(self.tree, folder, name))
            self._enter(inside, [*above, target], found, followed)

    def _bad_target(self, target: str, above: list[str]) -> str | None:
        """Why a link to a folder is not followed; None if it may be."""
        if self._in_test(target) or any(lies_in(test, target) for test in self.tests):
            return _TO_TEST
        if any(lies_in(folder, target) for folder in above):
            return _TO_ITSELF
        return _TO_TEST if self._in_other_test(target) else None

    def _may_read(self, folder: str, name: str) -> bool:
        """False for a link to an image of a test split."""
        link = path = os.path.join(folder, name)
        for _ in range(40):  # links to links; the system follows as many
            parent, last = os.path.split(os.path.join(os.path.dirname(path), os.readlink(path)))
            if parent not in self._targets:
                self._targets[parent] = os.path.realpath(parent)
            path = os.path.join(self._targets[parent], last)
            if not os.path.islink(path):
                break
        target = os.path.dirname(path)
        if self._in_test(target) or self._in_other_test(target):
            self._refuse(link, _TO_TEST)
            return False
        return True

    def _in_test(self, target: str) -> bool:
        return any(lies_in(target, test) for test in self.tests)

    def _in_other_test(self, target: str) -> bool:
        """True for a folder in the test split of another tree."""
        if target not in self._judged:
            root = self.tree.root
            self._judged[target] = not lies_in(target, root) and is_test_folder(target, root, self.listings)
        return self._judged[target]

    def _refuse(self, path: str, reason: str) -> None:
        self.refused[self._name(path)] = reason

    def _name(self, path: str) -> str:
        return in_utf8(os.path.relpath(path, self.tree.root).replace(os.sep, "/"))


def _vanished(classes: Mapping[str, tuple[str, ...]], empty: list[str], listings: Listings, walk: _Walk) -> str:
    folder = classes[empty[0]][0]
    more = f" So would {some(empty[1:])}." if len(empty) > 1 else ""
    return in_utf8(vanished(folder, listings[folder], walk.reason(folder)) + more)


def _no_images(tree: Tree, split: str, walk: _Walk) -> str:
    classes = tree.splits[split]
    found = []
    if walk.others:
        found.append(f"files of other kinds ({by_suffix(walk.others)})")
    for reason in sorted(set(walk.refused.values())):
        found.append(f"{reason} ({some([name for name, why in walk.refused.items() if why == reason])})")
    seen = f" There are {'; '.join(found)}." if found else ""
    return f"no images in the class folders of {tree.root} ({some(sorted(classes))}); {LAYOUT}.{seen}"


def _test_inside(tree: Tree, folder: str, name: str) -> str:
    where = os.path.relpath(folder, tree.root)
    settle = (
        f"If it is a part of the class, say split={WHOLE!r} (on the command line: --split {WHOLE})."
        if WHOLE in tree.splits
        else "If it is a part of the class, rename it."
    )
    return (
        f"the class folder {where} holds a folder {name!r} with images, which can be a test split; rows of a test "
        f"split are never used. If it is one, move it out of the class folder. {settle}"
    )


def _alike(shown: dict[str, str]) -> tuple[str, ...]:
    """A sentence about class folders whose names differ only in how they are written."""
    written: defaultdict[str, list[str]] = defaultdict(list)
    for name in shown.values():
        written[" ".join(name.casefold().split())].append(name)
    remarks = []
    if len(same := [names[0] for names in written.values() if len(names) > len(set(names))]):
        remarks.append(f"Folders whose names are equal in Unicode are one class: {some(same)}.")
    if different := [", ".join(sorted(set(names))) for names in written.values() if len(set(names)) > 1]:
        remarks.append(
            f"Classes whose names differ only in capitals or spaces: {'; '.join(map(repr, different))}. "
            "Put their images into one folder if they are one class."
        )
    return tuple(remarks)


def _nested(nested: Counter[str], n_classes: int) -> str:
    return (
        f"No class folder holds images itself: the images of the {n_classes} classes are in folders inside them "
        f"({some(sorted(nested))}), whose names are not used. If these names are the classes, move these folders up."
    )
