"""A place that many machines share, behind the store's folder: a network folder, a bucket, any location of fsspec.

It holds the same files under the same names as the folder. A file is written once: what it holds follows from its name.
No lock is taken there. Two machines that compute the same entry at the same time write the same numbers.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import math
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from modelselect.errors import InvalidInputError
from modelselect.store.files import owned_name, user_path

logger = logging.getLogger(__name__)

T = TypeVar("T")

MARK = "remote"
"""Name of the file in a store's folder that names the place behind that folder."""

LISTED_FOR = 30.0
"""Seconds for which the list of the files of one kind is believed. What others add meanwhile is computed again."""

SILENT_FOR = 60.0
"""Seconds for which a place that failed is not asked again; twice as long after each further failure."""

NOT_SHARED = ("importable", "registry")
"""Kinds of entries that say something of one machine only."""

_URL = re.compile(r"(?P<protocol>[a-z][a-z0-9+]+):/+(?P<rest>.+)", re.DOTALL)
_WHOLE_AT_ONCE = frozenset({"abfs", "abfss", "az", "gcs", "gs", "hf", "memory", "s3", "s3a"})
"""Protocols whose files appear whole or not at all. Elsewhere a file is written under another name, and renamed."""

_FOLDERS = ("file", "local")


def url_of(text: str) -> str | None:
    """The address of a shared place in canonical form; None for the path of a folder.

    A `Path` has lost one slash, which is added again.

    >>> url_of("s3://bucket/store/"), url_of("file:/mnt/shared"), url_of("/mnt/shared")
    ('s3://bucket/store', 'file:///mnt/shared', None)
    """
    match = _URL.fullmatch(text)
    if match is None:
        return None
    start = "/" if match["protocol"] in _FOLDERS else ""
    return f"{match['protocol']}://{start}{match['rest'].rstrip('/')}"


def is_folder(url: str) -> bool:
    """True for an address of a folder that the machine has mounted, such as `file:///mnt/shared`."""
    return url.partition(":")[0] in _FOLDERS


def opened(url: str) -> tuple[Any, str]:
    """The file system of fsspec behind an address or a path, and the place in it."""
    from fsspec.core import url_to_fs

    filesystem, root = url_to_fs(url)
    return filesystem, str(root).rstrip("/")


def front_of(url: str) -> Path:
    """The folder on this machine that stands in front of a shared place, and names it for other processes.

    Raises:
        InvalidInputError: the folder cannot be written.
    """
    check_usable(url)
    folder = user_path("", "cache", "shared", hashlib.sha256(url.encode()).hexdigest()[:16])
    mark = folder / MARK
    try:
        if not mark.is_file() or mark.read_text(encoding="utf-8") != url:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            partial = folder / owned_name()
            partial.touch(mode=0o600)  # an address may hold a password
            partial.write_text(url, encoding="utf-8")
            partial.replace(mark)
    except OSError as error:
        raise InvalidInputError(
            f"the folder {folder}, which keeps what is read from {shown(url)}, cannot be written: {error.strerror}. "
            "Set XDG_CACHE_HOME to a folder that can be written."
        ) from error
    _url_behind.cache_clear()
    return folder


def remote_behind(folder: Path) -> Remote | None:
    """The shared place behind a store's folder; None if the folder stands alone."""
    url = _url_behind(folder)
    return None if url is None else _remote(url, os.getpid())


@functools.cache
def _url_behind(folder: Path) -> str | None:
    try:
        return url_of((folder / MARK).read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError):
        return None


@functools.cache
def _remote(url: str, process: int) -> Remote:  # clients of object stores do not survive a fork
    return Remote(url)


def shown(url: str) -> str:
    """The address without a password.

    >>> shown("sftp://me:secret@host/store")
    'sftp://me:***@host/store'
    """
    return re.sub(r"(://[^/:@]*):[^/@]*@", r"\1:***@", url)


class Remote:
    """A shared place. Every failure is one line in the log, and the caller goes on without the place.

    Args:
        url: the address, as fsspec reads it: `s3://bucket/folder`, `gs://...`, `hf://datasets/owner/name`,
            `file:///mnt/shared`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._protocol = url.partition(":")[0]
        self._lock = threading.Lock()
        self._listed: dict[str, tuple[float, set[str]]] = {}
        self._silent_until = 0.0
        self._failures = 0

    def holds(self, name: str) -> bool:
        """Whether there is a file of this name (`entries/score/0a/0a...safetensors`), as a list of the kind says."""
        kind, file = _parts(name)
        with self._lock:
            made, names = self._listed.get(kind, (-math.inf, set()))
            if time.monotonic() - made >= LISTED_FOR:
                names = self._asked("listed", lambda: self._list(kind), set())
                self._listed[kind] = (time.monotonic(), names)
            return file in names

    def fetch(self, name: str, to: Path) -> bool:
        """Copies a file to this machine. False if there is none, or if the place fails."""

        def copy() -> bool:
            filesystem, root = opened(self.url)
            filesystem.get_file(f"{root}/{name}", str(to))
            return True

        return self._asked("read", copy, False)

    def offer(self, name: str, path: Path) -> bool:
        """Copies a file of this machine to the place, unless there is one of this name. True if it is there then."""
        if self.holds(name):
            return True
        kind, file = _parts(name)
        if not self._asked("written", lambda: self._put(name, path), False):
            return False
        with self._lock:
            self._listed.setdefault(kind, (-math.inf, set()))[1].add(file)
        return True

    def discard(self, name: str) -> None:
        """Removes a damaged file, so that a sound one can be written."""
        kind, file = _parts(name)

        def remove() -> None:
            filesystem, root = opened(self.url)
            filesystem.rm_file(f"{root}/{name}")

        self._asked("written", remove, None)
        with self._lock:
            self._listed.get(kind, (0.0, set()))[1].discard(file)

    def _list(self, kind: str) -> set[str]:
        filesystem, root = opened(self.url)
        filesystem.invalidate_cache()
        folder = f"{root}/entries/{kind}"
        return {PurePosixPath(path).name for path in filesystem.find(folder)} if filesystem.exists(folder) else set()

    def _put(self, name: str, path: Path) -> bool:
        filesystem, root = opened(self.url)
        target = f"{root}/{name}"
        filesystem.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
        if self._protocol in _WHOLE_AT_ONCE:
            filesystem.put_file(str(path), target)
            return True
        partial = f"{root}/partial/{owned_name()}"
        filesystem.makedirs(f"{root}/partial", exist_ok=True)
        try:
            filesystem.put_file(str(path), partial)
            if is_folder(self.url):
                os.replace(partial, target)
            else:
                filesystem.mv(partial, target)
        except BaseException:
            with contextlib.suppress(Exception):
                filesystem.rm_file(partial)
            raise
        return True

    def _asked(self, verb: str, call: Callable[[], T], otherwise: T) -> T:
        """What the call gives; `otherwise` if it fails, or if the place failed a short time ago."""
        if time.monotonic() < self._silent_until:
            return otherwise
        try:
            found = call()
        except FileNotFoundError:  # somebody has removed it meanwhile
            return otherwise
        except Exception as error:  # each client has errors of its own
            self._silent_until = time.monotonic() + SILENT_FOR * 2**self._failures
            self._failures += 1
            logger.warning(
                "the shared store %s cannot be %s (%s); the run goes on with the folder on this "
                "machine, and asks again in %d s",
                shown(self.url),
                verb,
                one_line(error),
                SILENT_FOR * 2 ** (self._failures - 1),
            )
            return otherwise
        self._failures = 0
        return found

    def __repr__(self) -> str:
        return f"Remote({shown(self.url)!r})"


def _parts(name: str) -> tuple[str, str]:
    """The kind of an entry, and the name of its file."""
    parts = PurePosixPath(name).parts
    return parts[1], parts[-1]


def one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


@functools.cache
def check_usable(url: str) -> None:
    """Raises InvalidInputError if this machine cannot ask such a place, whether it exists or not."""
    import fsspec

    protocol = url.partition(":")[0]
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        raise InvalidInputError(
            f"the store {shown(url)} needs a library that is not installed ({error}). For s3:// install "
            "modelselect-automl[s3], for gs:// gcsfs."
        ) from error
    except ValueError as error:
        raise InvalidInputError(
            f"the store {shown(url)} begins with {protocol}://, which fsspec does not know; expected the path of a "
            "folder, or an address such as s3://bucket/folder, gs://, hf:// or file://"
        ) from error
