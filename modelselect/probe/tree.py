"""What a folder tree is: which folders are splits, which are classes, and what is neither.

Layouts that are read, each also below folders that hold nothing else (`archive/data/train/CLASS`):

- `CLASS/**`: class folders; images in folders inside them belong to the class, as in torchvision's `ImageFolder`.
- `SPLIT/CLASS/**`: a folder for each split, which holds class folders.
- `CLASS/SPLIT/**`: every class folder holds nothing but the same split folders.

A name alone decides nothing: a folder `test` among class folders is a class if it holds images itself. Where both
readings are possible, the tree is refused, and `split=` settles it.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from modelselect.errors import DatasetError
from modelselect.probe.listing import EMPTY, Listing, Listings, contents, lies_in, some
from modelselect.probe.splits import (
    TEST,
    TRAIN,
    VALIDATION,
    WHOLE,
    kind_of_known_split,
    kind_of_split,
    kinds_of_folders,
)
from modelselect.utils.text import counted

LAYOUT = "expected FOLDER/CLASS/*.jpg or FOLDER/{train,val}/CLASS/*.jpg (JPEG, PNG, WebP, GIF, BMP, TIFF and others)"
_NO_CLASSES = (
    "If a table holds the labels, add it as metadata.csv with the columns file_name and label, or give "
    "(list of paths or PIL images, labels). To use rows without classes, give (list of images, None)."
)
_CONTAINER = re.compile(
    r"annotations?|data(sets?)?|depths?|files?|ground[-_ ]?truth|gt|images?|imgs?|jpegimages|labels?|masks?|metadata|"
    r"photos?|pictures?|segmentations?",
    re.IGNORECASE,
)
"""Names of folders that hold files of one kind, and of folders that hold a dataset: these are seldom classes."""
_ASIDE = re.compile(
    r"checkpoints?|code|docs?|examples?|extras?|logs?|models?|notebooks?|outputs?|papers?|pred(ictions?)?|results?|runs?|"
    r"scripts?|src|unlabell?ed|unsup(ervised)?|weights",
    re.IGNORECASE,
)
"""Names of folders that stand next to splits: alone they cast no doubt on the splits."""
_FOLD = re.compile(r"(batch|cv|folds?|k|part|partition|round|run|session|split)[-_ .]?\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Tree:
    """Attributes:
    root: the folder that was given.
    splits: the folders of each class, by split and by the class folder's name; the only split is `WHOLE` if there are
        no split folders.
    tests: folders of test splits, with links resolved. No link may lead into them.
    left_out: what was left out above the class folders.
    remarks: other sentences for the user.
    layout: in words, for the provenance.
    settled: the user said that the folders are classes, whatever they are called.
    """

    root: str
    splits: Mapping[str, Mapping[str, tuple[str, ...]]]
    tests: tuple[str, ...]
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]
    layout: str
    settled: bool


def read_tree(root: str, wanted: str | None, listings: Listings) -> Tree:
    """Decides what a folder's folders are.

    Args:
        root: with links resolved.
        wanted: the split that the user named: `WHOLE` for folders that are classes, whatever they are called; a
            folder's name for a split that has no usual name; None to find out.
        listings: of what was listed already.

    Raises:
        DatasetError: there are no class folders, or two readings are possible.
    """
    base = root
    while True:
        level = _Level(root, base, wanted, listings)
        if wanted not in (None, WHOLE) and (named := level.named(str(wanted))):
            return named
        if (inner := level.only_wrapper()) is None:
            return level.decide()
        base = os.path.join(base, inner)


@dataclass
class _Level:
    """The folders in one folder, and the readings that they allow."""

    root: str
    base: str
    wanted: str | None
    listings: Listings
    kinds: dict[str, str] = field(init=False)
    filled: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.filled = self.listings.filled(self.base)
        self.kinds = kinds_of_folders(self.filled)

    @property
    def plain(self) -> list[str]:
        return [name for name in self.filled if name not in self.kinds]

    def at(self, *names: str) -> str:
        return os.path.join(self.base, *names)

    def only_wrapper(self) -> str | None:
        """The one folder that holds everything, if it is neither a class nor a split."""
        if len(self.filled) != 1 or self.kinds or self.listings[self.at(self.filled[0])].images:
            return None
        inner = self.filled[0]
        others = [name for name in self.listings[self.base].folders if name != inner]
        splits_inside = TRAIN in kinds_of_folders(self.listings[self.at(inner)].folders).values()
        sure = not others or splits_inside or is_container(inner) or all(map(is_container, others))
        return inner if sure and self.listings.holds_class_folders(self.at(inner)) else None

    def named(self, wanted: str) -> Tree | None:
        """The tree whose split `wanted` is the folder of that name, here or in every class folder; None without one."""
        for name in self.listings[self.base].folders:
            if _same(name, wanted):
                if not self.listings.holds_class_folders(self.at(name)):
                    raise DatasetError(self._no_classes_in([name]))
                nested = [n for n in self.kinds if self.listings.holds_class_folders(self.at(n)) and n != name]
                others = [n for n in self.filled if n not in nested and n != name and self.kinds.get(n) != TEST]
                return self._splits({wanted: name} | {n: n for n in nested}, left_out=others)
        if not self.kinds and self.filled:
            inside = {c: [n for n in self.listings.filled(self.at(c)) if _same(n, wanted)] for c in self.filled}
            if all(inside.values()) and len(self.filled) > 1:
                return self._splits_in_classes({c: self.listings.filled(self.at(c)) for c in self.filled}, wanted)
        return None

    def decide(self) -> Tree:
        if not self.listings[self.base].folders:
            raise DatasetError(self._no_folders())
        if not self.kinds:
            return self._without_splits()
        nested = [name for name in self.kinds if self.listings.holds_class_folders(self.at(name))]
        return self._with_nested(nested) if nested else self._with_flat()

    def _without_splits(self) -> Tree:
        if len(self.filled) == 1 and is_container(self.filled[0]) and self._images_in(self.filled[0]):
            raise DatasetError(self._no_classes_in(self.filled))
        inside = {name: self.listings.filled(self.at(name)) for name in self.filled}
        inner_kinds = {name: kinds_of_folders(names) for name, names in inside.items()}
        only_splits = [
            name
            for name in self.filled
            if inner_kinds[name] and len(inner_kinds[name]) == len(inside[name]) and not self._images_in(name)
        ]
        if len(self.filled) > 1 and only_splits == self.filled:
            below = [self._names_in(name, split) for name in self.filled for split in inside[name]]
            if any(map(is_container, self.filled)) or _share_names(below):
                raise DatasetError(
                    f"{some(self.filled)} in {self.base} each hold splits of their own "
                    f"({some(sorted({n for names in inside.values() for n in names}))}), so they look like several "
                    f"datasets and not like classes. Give one of them, for example {self.at(self.filled[0])}."
                )
            return self._splits_in_classes(inside)
        if self.wanted != WHOLE and len(self.filled) > 1:
            shared = _share_names([names for name, names in inside.items() if not self._images_in(name)])
            if all(map(is_container, self.filled)) or (
                shared and (any(map(is_container, self.filled)) or all(map(_is_fold, self.filled)))
            ):
                raise DatasetError(self._ambiguous("look like parts of one dataset", self.filled))
        return self._classes(self.listings[self.base].folders)

    def _with_nested(self, nested: list[str]) -> Tree:
        """Some folders that are called like splits hold folders with images."""
        names = {name: self._names_in(name) for name in nested}
        kinds = {self.kinds[name] for name in nested}
        others = [name for name in self.plain if not is_container(name) and not _ASIDE.fullmatch(name)]
        if not others or (len(kinds) > 1 and _share_names(names.values())):
            flat = [name for name in self.kinds if name not in nested and self.kinds[name] != TEST]
            return self._splits({name: name for name in nested}, left_out=[*self.plain, *flat])
        if self.wanted == WHOLE:
            return self._classes(self.listings[self.base].folders)
        inner = {_plain_name(name) for each in names.values() for name in each}
        if kinds == {TEST} and inner & set(map(_plain_name, self.plain)) and not any(map(self._images_in, nested)):
            classes = [name for name in self.listings[self.base].folders if name not in nested]
            said = (
                f"The folder {some(nested)} holds folders of the same names as the class folders, so it is taken for a "
                "test split, and not used."
            )
            return self._classes(classes, tests=nested, remarks=(said,))
        own_images = all(map(self._images_in, nested)) and len(self.kinds) == 1
        if own_images and not inner & set(map(_plain_name, self.filled)) and not all(map(is_container, self.plain)):
            return self._classes(self.listings[self.base].folders)
        raise DatasetError(self._ambiguous("can be splits or classes", list(self.kinds)))

    def _with_flat(self) -> Tree:
        """Folders that are called like splits hold images, and no folders with images."""
        if self.wanted == WHOLE:
            return self._classes(self.listings[self.base].folders)
        if not self.plain:
            raise DatasetError(self._no_classes_in(self.filled))
        if len(self.kinds) > 1 and len(set(self.kinds.values())) > 1:
            raise DatasetError(self._ambiguous("can be splits or classes", list(self.kinds)))
        if all(map(is_container, self.plain)):
            raise DatasetError(self._no_classes_in(self.filled))
        return self._classes(self.listings[self.base].folders)

    def _classes(self, names: Iterable[str], tests: Iterable[str] = (), remarks: tuple[str, ...] = ()) -> Tree:
        classes = {name: (self.at(name),) for name in [*names, *_broken_folders(self.listings[self.base])]}
        if self.base != self.root and self.wanted != WHOLE:
            found = os.path.relpath(self.base, self.root)
            remarks += (f"The class folders are those in the folder {found}, since nothing else holds images.",)
        return self._tree("CLASS", {WHOLE: classes}, tests, self._beside([self.base]), remarks)

    def _splits(self, folders: Mapping[str, str], left_out: list[str]) -> Tree:
        """`folders`: the folder of each split; `left_out`: names of folders next to them that hold images."""
        splits, opened = {}, [self.base]
        has_training = TRAIN in {self.kinds.get(name) for name in folders.values()}
        for split, name in folders.items():
            top = self._class_level(name)
            here = self.listings[top]
            if self.kinds.get(name) != TEST:
                if all(map(is_container, here.folders)):
                    if has_training and self.kinds.get(name) == VALIDATION and split != self.wanted:
                        left_out = [*left_out, name]
                        continue
                    raise DatasetError(self._no_classes_in([name]))
                opened.append(top)
            splits[split] = {n: (os.path.join(top, n),) for n in [*here.folders, *_broken_folders(here)]}
        others = [n for n in self.listings[self.base].folders if n not in self.filled and not kind_of_split(n)]
        left_out = [*left_out, *(n for n in others if contents(self.listings[self.at(n)]) != EMPTY)]
        said = [f"{name} ({contents(self.listings[self.at(name)])})" for name in sorted(left_out)]
        parts = [f"folders next to the splits: {some(said)}"] if said else []
        tests = [name for name, kind in self.kinds.items() if kind == TEST]
        return self._tree("SPLIT/CLASS", splits, tests, [*parts, *self._beside(opened)])

    def _splits_in_classes(self, inside: Mapping[str, list[str]], wanted: str | None = None) -> Tree:
        """`inside`: names of the split folders of each class."""
        splits: dict[str, dict[str, tuple[str, ...]]] = {}
        for name, inner in inside.items():
            for each in inner:
                key = wanted if wanted and _same(each, wanted) else unicodedata.normalize("NFC", each).lower()
                folders = splits.setdefault(key, {})
                folders[name] = (*folders.get(name, ()), self.at(name, each))
        kinds = {key: kind_of_known_split(key) for key in splits}
        used = [key for key, kind in kinds.items() if kind == TRAIN] or [k for k, kind in kinds.items() if kind != TEST]
        for key in [wanted] if wanted else used:
            if missing := sorted(set(inside) - set(splits[key])):
                raise DatasetError(
                    f"the class folders in {self.base} hold split folders, but {some(missing)} holds no folder "
                    f"{key!r}, so this class would be left out. Add the folder, or move {some(missing)} out of "
                    f"{self.base}."
                )
        here = self.listings[self.base]
        for name in [*(n for n in here.folders if n not in inside), *_broken_folders(here)]:
            raise DatasetError(vanished(self.at(name), self.listings[self.at(name)]))
        tests = [
            folder for key, kind in kinds.items() if kind == TEST for each in splits[key].values() for folder in each
        ]
        return self._tree("CLASS/SPLIT", splits, tests, self._beside([self.base]))

    def _tree(
        self,
        layout: str,
        splits: Mapping[str, Mapping[str, tuple[str, ...]]],
        tests: Iterable[str],
        left_out: Iterable[str],
        remarks: tuple[str, ...] = (),
    ) -> Tree:
        where = os.path.relpath(self.base, self.root)
        return Tree(
            self.root,
            splits,
            tuple(os.path.realpath(self.at(name)) for name in tests),
            tuple(left_out),
            remarks,
            layout if where == os.curdir else f"{where}/{layout}",
            self.wanted == WHOLE,
        )

    def _class_level(self, split: str) -> str:
        """The folder of the split's class folders: its own, or the only one in it (`train/train`, `train/images`)."""
        top, name = self.at(split), split
        while True:
            here = self.listings[top]
            if len(here.folders) != 1 or here.images:
                return top
            only = here.folders[0]
            inner = os.path.join(top, only)
            usual = _same(only, name) or is_container(only) or kind_of_split(only) == self.kinds.get(split, "")
            if not usual or not self.listings.holds_class_folders(inner):
                return top
            top, name = inner, only

    def _beside(self, folders: Iterable[str]) -> list[str]:
        """Images and hidden folders next to the class folders or the splits."""
        parts = []
        for folder in folders:
            here = self.listings[folder]
            where = os.path.relpath(folder, self.root)
            inside = "" if where == os.curdir else f" in {where}"
            if here.images:
                parts.append(f"{counted(len(here.images), 'image')} next to the folders{inside}")
            if hidden := [name for name in here.hidden if self.listings.holds_images(os.path.join(folder, name))]:
                parts.append(f"hidden folders with images{inside} ({some(hidden)})")
        return parts

    def _images_in(self, name: str) -> bool:
        return bool(self.listings[self.at(name)].images)

    def _names_in(self, *names: str) -> list[str]:
        return self.listings[self.at(*names)].folders

    def _no_folders(self) -> str:
        here = self.listings[self.base]
        if here.error:
            return f"the folder {self.base} cannot be opened ({here.error}); {LAYOUT}."
        if here.broken:
            return f"the folder {self.base} holds links whose targets are missing ({some(here.broken)}); {LAYOUT}."
        if here.images:
            seen = f"holds {counted(len(here.images), 'image')} but no class folders"
            return f"the folder {self.base} {seen}; {LAYOUT}. {_NO_CLASSES}"
        if here.others:
            return f"the folder {self.base} holds no class folders and no images ({contents(here)}); {LAYOUT}."
        return f"the folder {self.base} is empty; {LAYOUT}."

    def _no_classes_in(self, names: list[str]) -> str:
        if len(names) == 1:
            held = contents(self.listings[self.at(names[0])])
            return f"the folder {self.at(names[0])} holds {held} but no class folders; {LAYOUT}. {_NO_CLASSES}"
        listed = ", ".join(f"{n}: {contents(self.listings[self.at(n)])}" for n in sorted(names))
        settle = f"If {some(sorted(names))} are classes, {_SAY_ALL}."
        return f"the splits of {self.base} ({listed}) hold no class folders; {LAYOUT}. {_NO_CLASSES} {settle}"

    def _ambiguous(self, why: str, names: list[str]) -> str:
        """`names`: of the folders that can be read in two ways."""
        others = [name for name in self.filled if name not in names]
        siblings = f", next to {some(others)}," if others else ""
        usable = [n for n in names if self.kinds.get(n) != TEST and self.listings.holds_class_folders(self.at(n))]
        unusable = [name for name in names if name in self.kinds and name not in usable]
        advice = [f"If all are classes, {_SAY_ALL}."]
        if usable:
            one = usable[0]
            advice.append(f"To take the rows in {one}, say split={one!r} (on the command line: --split {one}).")
        elif unusable:
            advice.append(f"If {some(unusable)} hold rows of splits, move them out of {self.base}.")
        have = f"the folders {some(names)}" if len(names) > 1 else f"the folder {names[0]}"
        return f"{have} in {self.base}{siblings} {why}. {' '.join(advice)}"


_SAY_ALL = f"say split={WHOLE!r} (on the command line: --split {WHOLE})"


def vanished(folder: str, listing: Listing, reason: str | None = None) -> str:
    """The message that a class folder gives no image; `reason`: why it was not read."""
    where, name = os.path.split(folder)
    if os.path.islink(folder) and not os.path.exists(folder):
        reason = "a link whose target is missing"
    if os.path.islink(folder) and reason and reason.startswith("a link"):
        why, advice = f"is {reason}", "Mend the link, or move it"
    elif listing.error:
        why, advice = f"cannot be opened ({listing.error})", "Make it readable, or move it"
    else:
        why = f"holds no image that can be read ({contents(listing)})"
        convert = "If its files are images, convert them to JPEG or PNG; otherwise move the folder"
        advice = convert if listing.others else "Add images, or move it"
    return f"the class folder {name!r} in {where} {why}, so this class would be left out. {advice} out of {where}."


def is_test_folder(path: str, root: str, listings: Listings) -> bool:
    """True for a folder in a test split that has a folder of training rows next to it, and does not hold `root`."""
    while not lies_in(root, path):
        parent, name = os.path.split(path)
        if kind_of_known_split(name) == TEST:
            kinds = kinds_of_folders(listings[parent].folders)
            if kinds.get(name) == TEST and TRAIN in kinds.values():
                return True
        path = parent
    return False


def _broken_folders(listing: Listing) -> list[str]:
    """Broken links that are called like a folder, not like a file."""
    return [name for name in listing.broken if not os.path.splitext(name)[1]]


def is_container(name: str) -> bool:
    return _CONTAINER.fullmatch(name) is not None


def _is_fold(name: str) -> bool:
    return _FOLD.fullmatch(name) is not None


def _plain_name(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _same(name: str, other: str) -> bool:
    return _plain_name(name) == _plain_name(other)


def _share_names(groups: Iterable[Iterable[str]]) -> bool:
    """True if two of the groups hold the same name."""
    counted = Counter(name for group in groups for name in set(map(_plain_name, group)))
    return any(count > 1 for count in counted.values())
