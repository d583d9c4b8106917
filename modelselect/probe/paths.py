"""Strings that are paths of image files: how they are recognised, and how the files are read."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelselect.errors import DatasetError
from modelselect.probe.images import UnreadableError, content_of, has_image_suffix
from modelselect.probe.labels import in_utf8
from modelselect.probe.sounds import has_sound_suffix
from modelselect.probe.splits import TEST, kind_of_split

SAMPLE = 128
"""Number of values that are looked at to see whether a column may hold paths."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://\S+")
_LONGEST = 1024
"""Number of characters; a longer text is no path."""

_USUAL_SUFFIXES = tuple(
    suffix
    for lower in ("jpg", "png", "jpeg", "tif", "tiff", "bmp", "webp", "gif")
    for suffix in (f".{lower}", f".{lower.upper()}")
)
"""Suffixes that are tried for names of files without a suffix."""
_TRIED, _MOST_FOLDERS, _DEEPEST = 8, 2000, 2
"""Numbers of paths that are looked for, of folders in which they are, and of levels of folders."""


@dataclass(frozen=True)
class Origin:
    """Where a dataset comes from, which decides which image files its rows may name.

    Attributes:
        folders: folders that a relative path may start from, in the order in which they are tried.
        roots: folders that image files must lie in, for a dataset that may come from somebody else. None: anywhere.
        searched: folders whose sub-folders may hold the files, if the files are in none of `folders`.
        suffixes: added to a path that is no file, until it is one.
    """

    folders: tuple[str, ...] = ()
    roots: tuple[str, ...] | None = None
    searched: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()

    @classmethod
    def user(cls, *folders: Path) -> Origin:
        """The user's own list, frame or table: its files may lie anywhere."""
        places = tuple(map(os.path.realpath, folders))
        return cls((*places, os.getcwd()), searched=places)

    @classmethod
    def folder(cls, root: Path, *folders: Path) -> Origin:
        """A folder that may come from somebody else: its files must lie in it."""
        places = (*map(os.path.realpath, folders), os.path.realpath(root))
        return cls(places, places[-1:], searched=places[-1:])

    def read(self, path: str) -> bytes:
        """The content of an image file, by an absolute path or a path that starts from the first of `folders`.

        Raises:
            UnreadableError: the path leaves the dataset's folder, or no file is there.
        """
        if "\0" in path:
            raise UnreadableError("no such file")
        found = os.path.join(self.folders[0], path) if self.folders else path
        found = os.path.realpath(
            next((found + suffix for suffix in self.suffixes if os.path.isfile(found + suffix)), found)
        )
        if self.roots is not None and not any(found.startswith(root + os.sep) for root in self.roots):
            raise UnreadableError("the image's path leaves the dataset's folder")
        return content_of(found)

    def starting_from(self, folder: str, suffixes: tuple[str, ...] = ()) -> Origin:
        return Origin((folder,), self.roots, suffixes=suffixes)


def name_of_path_row(row: int, path: str) -> str:
    """The name in reports of a row that is a path: without folders, which say where the dataset is stored.

    >>> name_of_path_row(12, "pets/cat/99.png")
    'row 12 (99.png)'
    """
    return f"row {row} ({in_utf8(os.path.basename(path))})"


def may_be_paths(sample: Iterable[Any], *, spaces: bool = False) -> bool:
    """True if every text of a sample looks like the path or the address of an image file; `spaces`: with spaces, too.

    >>> may_be_paths(["cats/1.jpg", "cats/2.jpg"]), may_be_paths(["a picture of a cat", "cats/2.jpg"])
    (True, False)
    """
    texts = [text for text in sample if isinstance(text, str) and text]
    return bool(texts) and all(
        _names_image(text) and (spaces or not re.search(r"\s", os.path.basename(text))) for text in texts
    )


def origin_of_paths(
    sample: Sequence[Any], everything: Callable[[], Iterable[Any]], origin: Origin, *, where: str, named: bool = False
) -> Origin | None:
    """Where the paths in a list start from; None if the list holds texts.

    Args:
        sample: some of the values.
        everything: gives all values; called only if one of the sample looks like a path.
        origin: of the dataset.
        where: what to call the values in messages.
        named: True if the user named the column, so that values are texts if none of them is a file.

    Raises:
        DatasetError: the values are addresses on the web; or paths, and no such file exists; or paths of files that are
            no images; or paths among texts.
    """
    texts = [text for text in sample if isinstance(text, str) and text]
    if texts and not named and all(_ADDRESS.fullmatch(text) and _names_image(text) for text in texts):
        raise DatasetError(
            f"{where} are addresses of images, such as {texts[0][:100]!r}; expected images, or paths of image files. "
            "Download the images, and give their paths."
        )
    if not any(_is_path(text) for text in texts):
        if (found := _searched(texts, origin, _USUAL_SUFFIXES, where)) is not None:
            return found
        _refuse_other_files(texts, origin, where)
        return None
    values = [text for text in everything() if isinstance(text, str) and text]
    paths = [text for text in values if _is_path(text)]
    tried = [text for text in texts if _is_path(text)]
    start = next((f for f in origin.folders if any(os.path.isfile(os.path.join(f, text)) for text in tried)), None)
    if start is not None:
        if len(paths) < len(values):
            other = next(text for text in values if not _is_path(text))
            raise DatasetError(
                f"{where} are a mix: {len(paths)} are paths of image files, such as {tried[0]!r}, and "
                f"{len(values) - len(paths)} are not, such as {other[:100]!r}. Give either paths or texts."
            )
        inside = origin.starting_from(start)
        if origin.roots is not None and not any(_readable(inside, text) for text in tried):
            raise DatasetError(
                f"{where} name image files outside the dataset's folder, such as {tried[0]!r}, and such files are not "
                "read for a folder that may come from somebody else. If the table is your own, give its file instead "
                "of its folder."
            )
        return inside
    if may_be_paths(texts) and len(paths) == len(values) and (found := _searched(texts, origin, (), where)) is not None:
        return found
    if named or not may_be_paths(texts) or len(paths) < len(values):
        return None
    looked = " or ".join(origin.folders) or "the dataset, which has no such files"
    raise DatasetError(
        f"{where} look like paths of image files, such as {tried[0]!r}, but no such file is in {looked}. Give paths "
        "that exist, such as [os.path.join(FOLDER, path) for path in paths] with the folder that they start from. If "
        "they are texts, give a table, and name its column with input= (on the command line: --input NAME)."
    )


def _searched(texts: Sequence[str], origin: Origin, suffixes: tuple[str, ...], where: str) -> Origin | None:
    """Where the files of some paths are, if the dataset's folder or one folder in it holds them.

    Args:
        texts: some paths.
        origin: of the dataset.
        suffixes: that the paths may lack.
        where: what to call the values in messages.

    Raises:
        DatasetError: several folders hold files with these names.
    """
    tried = texts[:: max(1, len(texts) // _TRIED)][:_TRIED]
    if not tried or not origin.searched or any(len(text) > _LONGEST or re.search(r"[\s\0]", text) for text in tried):
        return None

    def holds(folder: str) -> bool:
        paths = [os.path.join(folder, text) for text in tried]
        found = [any(os.path.isfile(path + suffix) for suffix in suffixes or ("",)) for path in paths]
        return 2 * sum(found) >= len(found)

    folders = [folder for folder in origin.searched if holds(folder)][:1]
    folders = folders or [inner for folder in origin.searched for inner in _folders_in(folder) if holds(inner)]
    if len(folders) > 1:
        some = ", ".join(os.path.relpath(folder, origin.searched[0]) for folder in folders[:3])
        raise DatasetError(
            f"{where} name image files that are in several folders of {origin.searched[0]} ({some}), such as "
            f"{tried[0]!r}; expected one folder. Move the table into the folder that is meant."
        )
    return origin.starting_from(folders[0], suffixes) if folders else None


def _folders_in(folder: str) -> Iterator[str]:
    """The folders in a folder, to some depth, without those of test splits and hidden ones."""
    found = 0
    for inside, names, _ in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith((".", "__")) and kind_of_split(name) != TEST)
        for name in names:
            yield os.path.join(inside, name)
        found += len(names)
        if found > _MOST_FOLDERS:
            return
        if os.path.relpath(inside, folder).count(os.sep) >= _DEEPEST:
            names.clear()


def _names_image(text: str) -> bool:
    """True if a path, or an address on the web, ends like the name of an image or a sound file."""
    name = text.split("?")[0] if "://" in text else text
    return has_image_suffix(name) or has_sound_suffix(name)


def _is_path(text: str) -> bool:
    is_address = "://" in text and _ADDRESS.match(text)
    return len(text) <= _LONGEST and "\n" not in text and not is_address and _names_image(text)


def _readable(origin: Origin, path: str) -> bool:
    try:
        origin.read(path)
    except (UnreadableError, OSError):
        return False
    return True


def _refuse_other_files(texts: Sequence[str], origin: Origin, where: str) -> None:
    """Raises if all texts are paths of existing files that are no images: a model would be shown the names."""
    if not texts or any(len(text) > _LONGEST or "\n" in text or "\0" in text for text in texts):
        return
    for folder in origin.folders:
        if all(os.path.isfile(os.path.join(folder, text)) for text in texts):
            raise DatasetError(
                f"{where} are paths of files that are not read here, such as {texts[0]!r}; expected images, paths of "
                "image files, or texts. If the files hold texts, give "
                "([Path(path).read_text() for path in paths], labels)."
            )
