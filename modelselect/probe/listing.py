"""What folders hold: images, folders, links that lead nowhere, and files of other kinds."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from modelselect.probe.images import has_image_suffix
from modelselect.probe.labels import in_utf8
from modelselect.probe.sounds import has_sound_suffix
from modelselect.utils.text import counted

_HELPER_FOLDERS = re.compile(
    r"@eadir|@recycle|@recently-snapshot|@tmp|#recycle|#snapshot|\$recycle\.bin|recycler|system volume information|"
    r"found\.\d+|lost\+found|__macosx|__pycache__|\.(appledouble|cache|dropbox\.cache|dvc|fseventsd|git|hg|huggingface|"
    r"idea|ipynb_checkpoints|spotlight-v100|svn|temporaryitems|thumbnails|trash.*|vscode|@__thumb)",
    re.IGNORECASE,
)
_HELPER_FILES = re.compile(
    r"\._.*|(eh)?thumbs(_vista)?\.db|desktop\.ini|\.?picasa\.ini|icon\r|"
    r"\.(ds_store|directory|git(keep|ignore|attributes)|keep|nomedia|localized)",
    re.IGNORECASE,
)
"""Names of what operating systems, file servers and editors leave in folders. `._x.jpg` is macOS's data on `x.jpg`."""

EMPTY = "it is empty"


@dataclass(slots=True)
class Listing:
    """Attributes:
    images: names of files with an image's suffix, sorted; links to files are among them.
    folders: names of folders, sorted, without the helpers of operating systems; links to folders are among them.
    links: names of those images and folders that are links.
    broken: names of links whose target is missing.
    hidden: names of folders that start with a dot and are no known helpers.
    others: number of files that are neither images nor helpers, by suffix.
    error: why the folder cannot be opened; None if it can.
    """

    images: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    links: set[str] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    error: str | None = None


class Listings:
    """Folders that were listed already: each is listed once.

    Args:
        modality: of the rows: with `audio`, sound files take the place of images.
    """

    def __init__(self, modality: str = "image") -> None:
        self.modality = modality
        self._is_row = has_sound_suffix if modality == "audio" else has_image_suffix
        self._known: dict[str, Listing] = {}
        self._images: dict[str, bool] = {}

    def __getitem__(self, path: str) -> Listing:
        if path not in self._known:
            self._known[path] = _list_folder(path, self._is_row)
        return self._known[path]

    def holds_images(self, path: str) -> bool:
        """True if there is an image in the folder or in any folder inside it. No folder is looked at twice."""
        if path not in self._images:
            todo, seen, held = [path], {path}, False
            while todo and not held:
                folder = todo.pop()
                held = self._images.get(folder, bool(self[folder].images))
                inside = () if folder in self._images else self._folders_in(folder)
                todo += [name for name in inside if name not in seen]
                seen.update(inside)
            self._images |= {path: held} if held else dict.fromkeys(seen, False)
        return self._images[path]

    def filled(self, path: str) -> list[str]:
        """Names of the folders in a folder that hold images at any depth."""
        return [name for name in self[path].folders if self.holds_images(os.path.join(path, name))]

    def holds_class_folders(self, path: str) -> bool:
        return any(self.holds_images(os.path.join(path, name)) for name in self[path].folders)

    def _folders_in(self, path: str) -> list[str]:
        """Paths of the folders in a folder. Links are resolved; a link to a folder that holds the link is left out."""
        here = self[path]
        plain = [os.path.join(path, name) for name in here.folders if name not in here.links]
        targets = [os.path.realpath(os.path.join(path, name)) for name in here.folders if name in here.links]
        return plain + [target for target in targets if not lies_in(os.path.realpath(path), target)]


def _list_folder(path: str, is_row: Callable[[str], bool]) -> Listing:
    found = Listing()
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                _sort_in(entry, found, is_row)
    except OSError as error:
        return Listing(error=error.strerror or type(error).__name__)
    for names in (found.images, found.folders, found.broken, found.hidden):
        names.sort()
    return found


def _sort_in(entry: os.DirEntry[str], found: Listing, is_row: Callable[[str], bool]) -> None:
    name = entry.name
    is_link = entry.is_symlink()
    try:
        mode = entry.stat().st_mode if is_link else None
    except OSError:
        if not name.startswith("."):
            found.broken.append(name)
        return
    if entry.is_dir() if mode is None else stat.S_ISDIR(mode):
        if _HELPER_FOLDERS.fullmatch(name):
            return
        names = found.hidden if name.startswith(".") else found.folders
    elif (kind := _kind_of_file(name, entry.is_file() if mode is None else stat.S_ISREG(mode), is_row)) is None:
        return
    elif kind != "image":
        found.others[kind] += 1
        return
    else:
        names = found.images
    names.append(name)
    if is_link:
        found.links.add(name)


def _kind_of_file(name: str, is_file: bool, is_row: Callable[[str], bool]) -> str | None:
    """`"image"` (or a sound, where these are the rows), the suffix of any other file, or None for helpers."""
    if is_row(name) and is_file and not name.startswith("."):
        return "image"
    if _HELPER_FILES.fullmatch(name):
        return None
    if not is_file:
        return "not a file"
    suffix = os.path.splitext(name)[1].lower()
    return f"hidden {suffix or 'file'}" if name.startswith(".") else suffix or "no suffix"


def contents(listing: Listing) -> str:
    """What a folder directly holds, in a few words."""
    if listing.error:
        return f"it cannot be opened: {listing.error}"
    parts = [counted(len(listing.images), "image")] if listing.images else []
    if listing.folders:
        parts.append(counted(len(listing.folders), "folder"))
    if listing.others:
        parts.append(f"{counted(sum(listing.others.values()), 'other file')}: {by_suffix(listing.others)}")
    if listing.broken:
        parts.append(counted(len(listing.broken), "broken link"))
    if listing.hidden:
        parts.append(counted(len(listing.hidden), "hidden folder"))
    return ", ".join(parts) or EMPTY


def by_suffix(files: Counter[str]) -> str:
    """`20 .txt, 3 .csv and 2 more kinds`."""
    ranked = sorted(files.items(), key=lambda item: (-item[1], item[0]))
    more = f" and {len(ranked) - 5} more kinds" if len(ranked) > 5 else ""
    return ", ".join(f"{count} {in_utf8(suffix)}" for suffix, count in ranked[:5]) + more


def some(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    return ", ".join(map(in_utf8, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def lies_in(path: str, folder: str) -> bool:
    """True for the folder itself and for everything inside it; links are not looked at."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
