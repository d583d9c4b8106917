"""What has been computed stays computed: evidence and scores on disk, found again by what made them.

An entry is one safetensors file: its arrays, and in the header its metadata, the key it answers to and a SHA-256 of the
whole file. It appears under its name complete or not at all, and is believed only if the checksum fits. Files are
written and read here rather than by the safetensors library, which can neither write arrays row by row nor map them
into memory; anything that reads the format reads them.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from modelselect.errors import InvalidInputError, StoreError
from modelselect.store.entry_file import (
    DamagedError,
    Entry,
    StoredArray,
    created_at,
    entry_header,
    header_json,
    read_entry,
    utc,
    write_entry,
)
from modelselect.store.files import explained, is_abandoned, owned_name, user_path
from modelselect.store.trust import CHECKED_FILES, believe, file_state
from modelselect.store.writer import Writer

logger = logging.getLogger(__name__)

FORMAT = 1
"""Part of every key: raised when entries of old are no longer to be found."""

SCRATCH_KEPT = 30 * 86_400.0
"""Seconds untouched after which nobody is expected to go on with what was killed."""

_KEY = re.compile(r"(?P<kind>[a-z][a-z0-9_]*)-(?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class EntryInfo:
    """What can be told of an entry without reading it.

    Attributes:
        key: what it is asked for by.
        kind: the first argument of `Store.key`.
        size: bytes on disk.
        created: when it was written, in UTC.
        last_used: when it was last written or read, in UTC.
    """

    key: str
    kind: str
    size: int
    created: datetime
    last_used: datetime


class Store:
    """Arrays and metadata on disk, under keys made of everything that their numbers depend on.

    Safe to use from many processes and threads at once: entries are replaced atomically, and `lock` keeps two of them
    from doing the same work. Constructing one touches nothing; folders come with the first write.

    Args:
        path: the folder. Default: the environment variable MODELSELECT_CACHE, else `modelselect` in the user's cache
            folder (XDG_CACHE_HOME, else `~/.cache`).

    Every method raises StoreError, with advice, where the folder cannot be read or written or the disk is full.

    >>> import tempfile
    >>> import numpy as np
    >>> store = Store(Path(tempfile.mkdtemp()))
    >>> key = store.key("features", candidate="timm:resnet18.a1_in1k", probe="5f0c", dtype="float32")
    >>> if store.get(key) is None:
    ...     with store.lock(key):
    ...         if store.get(key) is None:  # another process may have been first
    ...             store.put(key, {"features": np.eye(3, dtype=np.float32)}, {"seconds": 1.5})
    >>> store.get(key).arrays["features"].shape, store.get(key).metadata
    ((3, 3), {'seconds': 1.5})
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = (Path(path).expanduser() if path is not None else default_path()).absolute()
        self._tidied = False

    @staticmethod
    def key(kind: str, /, **parts: Any) -> str:
        """The name of what `parts` make: `kind-` and the SHA-256 of their canonical JSON.

        Args:
            kind: what sort of thing it is, such as `features` or `scores`: lower-case letters, digits, underscores.
            **parts: everything that changes the numbers, as JSON has it (tuples count as lists).

        Raises:
            InvalidInputError: the kind cannot be a folder's name, or a part is not JSON (NaN is not).

        >>> Store.key("scores", estimator="logme")[:15] == Store.key("scores", estimator="leep")[:15]
        False
        """
        if not re.fullmatch(r"[a-z][a-z0-9_]*", kind):
            raise InvalidInputError(f"kind is {kind!r}; expected lower-case letters, digits and underscores")
        text = header_json({"format": FORMAT, "kind": kind, "parts": parts}, "the parts of a key")
        return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()}"

    def get(self, key: str) -> Entry | None:
        """The entry, or None if there is none, or none that can be trusted (which is logged).

        The checksum of the whole file is computed unless this process wrote or checked the file and nobody has touched
        it since, as its inode, size and times tell. The entry counts as used now.
        """
        path = self._path(key)
        with self._explained("read"):
            try:
                file = path.open("rb")
            except FileNotFoundError:
                return None
            with file:
                state = file_state(file)
                try:
                    entry = read_entry(file, key, trusted=CHECKED_FILES.get(path) == state)
                except DamagedError as damage:
                    logger.warning("%s is damaged (%s); it counts as absent and will be computed anew", path, damage)
                    return None
                if file_state(file) == state:  # nobody wrote while it was read
                    believe(path, file)
        return entry

    def contains(self, key: str) -> bool:
        """True if there is an entry of that name. Whether it can be trusted, only `get` knows."""
        with self._explained("read"):
            return self._path(key).is_file()

    def put(
        self,
        key: str,
        arrays: Mapping[str, NDArray[Any]],
        metadata: Mapping[str, Any] | None = None,
        *,
        sync: bool = False,
    ) -> None:
        """Writes an entry, or replaces it; a reader sees the old or the new one, never a mixture.

        Args:
            key: from `Store.key`.
            arrays: by name; booleans, integers and floats to 64 bits, complex numbers of 64 bits, of any shape.
            metadata: what JSON can hold, under string keys.
            sync: flush even a small entry to the disk itself, since it was dear: a power cut then cannot take it.

        Raises:
            InvalidInputError: an array or the metadata cannot be stored; the message says which.
        """
        self._commit(key, {name: StoredArray.of(name, array) for name, array in arrays.items()}, metadata or {}, sync)

    @contextlib.contextmanager
    def writer(self, key: str, metadata: Mapping[str, Any] | None = None) -> Iterator[Writer]:
        """For arrays too large for memory: the entry is made of the rows appended within the `with` block.

        It comes into being at the end of the block; if the block raises or the process is killed, there is none.

        >>> import tempfile
        >>> import numpy as np
        >>> store = Store(tempfile.mkdtemp())
        >>> key = store.key("features", candidate="a")
        >>> with store.writer(key) as writer:
        ...     for batch in np.arange(12.0).reshape(3, 2, 2):
        ...         writer.append(features=batch)
        ...     writer.metadata["batches"] = 3
        >>> store.get(key).arrays["features"].shape
        (6, 2)
        """
        self._path(key)  # a wrong key is refused before the work, not after it
        writer = Writer(dict(metadata or {}), self._partial, self._explained)
        try:
            yield writer
            self._commit(key, writer.arrays, writer.metadata, sync=False)
        finally:
            writer.discard()

    @contextlib.contextmanager
    def lock(self, key: str, *, timeout: float | None = None) -> Iterator[None]:
        """Keeps every other process and thread that asks for the same lock waiting until the block ends.

        The operating system gives up the lock of a process that dies, however it dies. Not reentrant.

        Args:
            key: of the entry that is going to be computed.
            timeout: seconds to wait; None: as long as the other lives.

        Raises:
            StoreError: waited for longer than `timeout`.
        """
        from filelock import FileLock, Timeout

        path = self._lock_path(key)
        with self._explained("locked"):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path, thread_local=False)
            try:
                lock.acquire(timeout=-1 if timeout is None else timeout)
            except Timeout:
                raise StoreError(
                    f"{key} has been locked by another process for more than {timeout:g} s. Wait for it, end it, or "
                    "give this run a cache folder of its own."
                ) from None
        try:
            yield
        finally:
            lock.release()

    def remove(self, key: str) -> None:
        """Removes an entry, if there is one, unless its lock is held."""
        self._evict_one(self._path(key))

    def scratch(self, key: str) -> Path:
        """The folder for what a killed computation of this entry goes on from; `clear_scratch` removes it.

        What has not been touched for `SCRATCH_KEPT` is removed like everything that is half-written.
        """
        self._path(key)
        return self.path / "scratch" / key

    def clear_scratch(self, key: str) -> None:
        """Removes that folder, if there is one."""
        shutil.rmtree(self.scratch(key), ignore_errors=True)

    def entries(self) -> Iterator[EntryInfo]:
        """Every entry, by key. Damaged ones too: only `get` looks inside."""
        for path, stat in self._files():
            used = utc(stat.st_mtime)
            kind = path.parent.parent.name
            yield EntryInfo(f"{kind}-{path.stem}", kind, stat.st_size, created_at(path) or used, used)

    def size(self) -> int:
        """Bytes of all entries."""
        return sum(stat.st_size for _, stat in self._files())

    def evict(
        self, *, max_bytes: int | None = None, older_than: timedelta | None = None, kind: str | None = None
    ) -> int:
        """Removes entries, least recently used first, and says how many bytes that freed.

        An entry whose lock is held stays. What killed runs left half-written goes too.

        Args:
            max_bytes: go on until the entries (of that kind) take no more than this.
            older_than: remove what has not been used for this long.
            kind: look at entries of this kind only.

        Raises:
            InvalidInputError: neither `max_bytes` nor `older_than` is given.

        >>> import tempfile
        >>> Store(tempfile.mkdtemp()).evict(max_bytes=0)  # empties it
        0
        """
        if max_bytes is None and older_than is None:
            raise InvalidInputError("evict() needs max_bytes or older_than; max_bytes=0 empties the store")
        with self._explained("written"):
            freed = self._tidy() if self.path.is_dir() else 0
        found = [(path, stat) for path, stat in self._files() if kind in (None, path.parent.parent.name)]
        found.sort(key=lambda pair: pair[1].st_mtime_ns)
        left = sum(stat.st_size for _, stat in found)
        oldest = -math.inf if older_than is None else time.time() - older_than.total_seconds()
        for path, stat in found:
            too_much = max_bytes is not None and left > max_bytes
            if (too_much or stat.st_mtime < oldest) and self._evict_one(path):
                freed += stat.st_size
                left -= stat.st_size
        return freed

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"

    def _path(self, key: str) -> Path:
        match = _KEY.fullmatch(key)
        if match is None:
            raise InvalidInputError(f"{key!r} is not a key of the store; make one with Store.key(kind, ...)")
        return self.path / "entries" / match["kind"] / match["digest"][:2] / f"{match['digest']}.safetensors"

    def _lock_path(self, key: str) -> Path:
        return self.path / "locks" / f"{self._path(key).parent.parent.name}-{self._path(key).stem}.lock"

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        with self._explained("read"):
            for path in sorted((self.path / "entries").glob("*/*/*.safetensors")):
                if not _KEY.fullmatch(f"{path.parent.parent.name}-{path.stem}"):
                    continue  # somebody else's
                with contextlib.suppress(FileNotFoundError):  # evicted by another process meanwhile
                    yield path, path.stat()

    def _evict_one(self, path: Path) -> bool:
        from filelock import FileLock, Timeout

        lock_path = self._lock_path(f"{path.parent.parent.name}-{path.stem}")
        with self._explained("written"):
            if not lock_path.exists():  # nobody holds it
                path.unlink(missing_ok=True)
                return True
            try:
                with FileLock(lock_path, timeout=0, thread_local=False):
                    path.unlink(missing_ok=True)
                    lock_path.unlink(missing_ok=True)
            except Timeout:
                return False
        return True

    def _commit(self, key: str, arrays: Mapping[str, StoredArray], metadata: Mapping[str, Any], sync: bool) -> None:
        path, header = self._path(key), entry_header(key, arrays, metadata)
        with self._explained("written"):
            partial = self._partial()
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with partial.open("xb") as file:
                    write_entry(file, header, arrays, sync)
                    file.flush()
                    partial.replace(path)
                    believe(path, file)
            finally:
                partial.unlink(missing_ok=True)

    def _partial(self) -> Path:
        """A path for a half-written file, whose name tells whose it is."""
        folder = self.path / "partial"
        folder.mkdir(parents=True, exist_ok=True)
        if not self._tidied:
            self._tidied = True
            self._tidy()
        return folder / owned_name()

    def _tidy(self) -> int:
        """Removes what killed processes left half-written; bytes freed."""
        freed = 0
        for path in filter(is_abandoned, (self.path / "partial").glob("*")):
            with contextlib.suppress(OSError):  # another process tidies, too
                size = path.stat().st_size
                path.unlink()
                freed += size
        for folder in (self.path / "scratch").glob("*"):
            files = [path.stat() for path in folder.rglob("*") if path.is_file()]
            if time.time() - max([folder.stat().st_mtime, *(file.st_mtime for file in files)]) > SCRATCH_KEPT:
                shutil.rmtree(folder, ignore_errors=True)
                freed += sum(file.st_size for file in files)
        return freed

    def _explained(self, verb: str) -> contextlib.AbstractContextManager[None]:
        return explained(f"the store in {self.path}", verb)


def default_path() -> Path:
    """MODELSELECT_CACHE, else `modelselect` in XDG_CACHE_HOME, else in `~/.cache`."""
    return user_path("MODELSELECT_CACHE", "cache")
