"""Evidence and scores on disk, found again by everything that they depend on, so that nothing is computed twice.

An entry is one safetensors file: its arrays, and a header with its metadata, its key and a SHA-256 of the whole file.
It appears under its name complete or not at all, and counts only if the checksum matches. Files are written and read
here and not by the safetensors library, which can neither write arrays row by row nor memory-map them; any reader of
the format can read them.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import itertools
import logging
import math
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

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
from modelselect.store.files import Holder, explained, is_abandoned, owned_name, remove_what_is_no_file, user_path
from modelselect.store.remote import NOT_SHARED, Remote, front_of, remote_behind, shown, url_of
from modelselect.store.trust import CHECKED_FILES, believe, file_state
from modelselect.store.writer import Writer
from modelselect.utils.paths import expanded

logger = logging.getLogger(__name__)

FORMAT = 1
"""Part of every key: increased when old entries must not be found any more."""

LASTING = ("fine_tuned",)
"""Kinds of entries that are removed only if the kind is named: what cannot be computed again within minutes."""

LOOK_AFTER = 10.0
"""Seconds after which a process that waits for a lock looks who has it. It waits twice as long for a suspended one."""

SCRATCH_KEPT = 30 * 86_400.0
"""Seconds without a write after which the scratch folder of a killed run is removed."""

_KEY = re.compile(r"(?P<kind>[a-z][a-z0-9_]*)-(?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class EntryInfo:
    """What is known of an entry without reading it.

    Attributes:
        key: the entry's key.
        kind: the first argument of `Store.key`.
        size: bytes on disk.
        created: time of writing, in UTC.
        last_used: time of the last write or read, in UTC.
    """

    key: str
    kind: str
    size: int
    created: datetime
    last_used: datetime


class Store:
    """Arrays and metadata on disk, under keys made of everything that their numbers depend on.

    Safe to use from many processes and threads at once: entries are replaced atomically, and `lock` keeps two processes
    from doing the same work. The constructor touches nothing; folders are made by the first write.

    Args:
        path: the folder, or the address of a place that machines share (`s3://bucket/folder`, `file:///mnt/shared`).
            Entries of a shared place are then read through a folder on this machine, and written to both. Default: the
            environment variable MODELSELECT_CACHE, else `modelselect` in the user's cache folder (XDG_CACHE_HOME, else
            `~/.cache`).

    Every method raises StoreError, with advice, if the folder cannot be read or written or the disk is full. A shared
    place that fails is a warning in the log. Locks, `entries`, `size`, `remove` and `evict` are about the folder.

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
        given = os.environ.get("MODELSELECT_CACHE", "") if path is None else os.fspath(path)
        if (url := url_of(given)) is not None:
            self.path = front_of(url)
        else:
            self.path = (expanded(path) if path is not None else default_path()).absolute()
        self._tidied = False

    @staticmethod
    def key(kind: str, /, **parts: Any) -> str:
        """The key of what `parts` determine: `kind-` and the SHA-256 of their canonical JSON.

        Args:
            kind: the kind of entry, such as `features` or `scores`: lower-case letters, digits, underscores.
            **parts: everything that changes the numbers, in values that JSON has (tuples count as lists).

        Raises:
            InvalidInputError: the kind cannot be a folder's name, or a part is not valid JSON (NaN is not).

        >>> Store.key("scores", estimator="logme")[:15] == Store.key("scores", estimator="leep")[:15]
        False
        """
        if not re.fullmatch(r"[a-z][a-z0-9_]*", kind):
            raise InvalidInputError(f"kind is {kind!r}; expected lower-case letters, digits and underscores")
        text = header_json({"format": FORMAT, "kind": kind, "parts": parts}, "the parts of a key")
        return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()}"

    def get(self, key: str) -> Entry | None:
        """The entry; None if there is none, or if it is damaged (which is logged).

        The checksum of the whole file is verified, unless this process has written or verified the file and its inode,
        size and times have not changed since. The entry counts as used now.
        """
        path = self._path(key)
        with self._explained("read"):
            file = _opened(path)
            if file is None and self._fetched(key):
                file = _opened(path)
            if file is None:
                if not os.path.isdir(self.path) and os.path.lexists(self.path):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
                return None
            with file:
                state = file_state(file)
                try:
                    entry = read_entry(file, key, trusted=CHECKED_FILES.get(path) == state)
                except DamagedError as damage:
                    logger.warning(
                        "%s is damaged (%s); the entry counts as missing and will be computed again", path, damage
                    )
                    return None
                if file_state(file) == state:  # the file did not change while it was read
                    believe(path, file)
        return entry

    def contains(self, key: str) -> bool:
        """True if there is an entry of this key. Only `get` checks whether it is damaged."""
        with self._explained("read"):
            if self._path(key).is_file():
                return True
        remote = self._remote(key)
        return remote is not None and remote.holds(self._name(key))

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
            arrays: by name; booleans, integers and floats up to 64 bits, complex numbers of 64 bits, of any shape.
            metadata: values that JSON can hold, with string keys.
            sync: flush even a small entry to disk, because it was expensive: a power cut then cannot destroy it.

        Raises:
            InvalidInputError: an array or the metadata cannot be stored; the message says which.
        """
        self._commit(key, {name: StoredArray.of(name, array) for name, array in arrays.items()}, metadata or {}, sync)

    @contextlib.contextmanager
    def writer(self, key: str, metadata: Mapping[str, Any] | None = None) -> Iterator[Writer]:
        """For arrays too large for memory: the entry consists of the rows appended in the `with` block.

        The entry is made at the end of the block; if the block raises or the process is killed, there is none.

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
        self._path(key)  # refuses a wrong key before the work, not after
        writer = Writer(dict(metadata or {}), self._partial, self._explained)
        try:
            yield writer
            self._commit(key, writer.arrays, writer.metadata, sync=False)
        finally:
            writer.discard()

    @contextlib.contextmanager
    def lock(self, key: str, *, timeout: float | None = None, may_go_on: bool = False) -> Iterator[None]:
        """Makes every other process and thread that asks for the same lock wait until the block ends.

        The operating system releases the lock of a process that dies in any way. Not reentrant. After some seconds, a
        warning says which process has the lock.

        Args:
            key: of the entry that will be computed.
            timeout: seconds to wait; None: until the lock is released.
            may_go_on: whether the block may run without the lock where the process that has it is suspended (Linux).
                Give True where the lock only keeps two processes from computing the same entry.

        Raises:
            StoreError: the wait took longer than `timeout`.
        """
        from filelock import FileLock, Timeout

        path = self._lock_path(key)
        with self._explained("locked"):
            _make(path.parent)
            remove_what_is_no_file(path)
            lock = FileLock(path, thread_local=False)
            for waited in itertools.count(1):
                try:
                    lock.acquire(timeout=LOOK_AFTER if timeout is None else timeout)
                    break
                except Timeout:
                    if timeout is not None:
                        raise StoreError(
                            f"{key} has been locked by another process for more than {timeout:g} s. Wait for that "
                            "process, end it, or give this run a folder of its own with cache_dir= (--cache-dir)."
                        ) from None
                holder = Holder.of(path)
                if waited == 1:
                    logger.warning("waiting for %s, which has locked %s", holder, key)
                if may_go_on and holder.is_suspended and waited > 1:
                    logger.warning("%s is suspended: this run goes on without it", holder)
                    break
        try:
            yield
        finally:
            lock.release()

    def remove(self, key: str) -> None:
        """Removes an entry, if there is one, unless its lock is held."""
        self._evict_one(self._path(key))

    def scratch(self, key: str) -> Path:
        """The folder for the state from which a killed computation of this entry continues.

        `clear_scratch` removes it. A folder without a write for `SCRATCH_KEPT` seconds is removed, too.
        """
        self._path(key)
        return self.path / "scratch" / key

    def clear_scratch(self, key: str) -> None:
        """Removes the scratch folder of this entry, if there is one."""
        shutil.rmtree(self.scratch(key), ignore_errors=True)

    def take_over(self, key: str, other: Store) -> None:
        """Moves an entry of another store, on the same disk, into this one; replaces the entry of this one."""
        path = self._path(key)
        with self._explained("written"):
            _place(other._path(key), path)
        self._offer(key)

    def entries(self) -> Iterator[EntryInfo]:
        """Every entry, by key, including damaged ones: only `get` checks the content."""
        for path, status in self._files():
            used = utc(status.st_mtime)
            kind = path.parent.parent.name
            yield EntryInfo(f"{kind}-{path.stem}", kind, status.st_size, created_at(path) or used, used)

    def counts(self) -> dict[str, dict[str, int]]:
        """By kind of entries, how many there are (`entries`), and their `bytes`. No file is opened."""
        kinds: dict[str, dict[str, int]] = {}
        for path, status in self._files():
            counted = kinds.setdefault(path.parent.parent.name, {"entries": 0, "bytes": 0})
            counted["entries"] += 1
            counted["bytes"] += status.st_size
        return kinds

    def size(self) -> int:
        """Bytes of all entries."""
        return sum(status.st_size for _, status in self._files())

    def evict(
        self, *, max_bytes: int | None = None, older_than: timedelta | None = None, kind: str | None = None
    ) -> int:
        """Removes entries, the least recently used first, and returns the number of freed bytes.

        An entry whose lock is held is kept, and so are fine-tuned weights, unless `kind` names them: a saved
        leaderboard may need them, and training takes long. Incomplete files of killed runs are removed, too.

        Args:
            max_bytes: remove entries until those left (of those considered) take no more than this.
            older_than: remove entries that have not been used for this long.
            kind: consider only entries of this kind. None considers every kind but `"fine_tuned"`.

        Raises:
            InvalidInputError: neither `max_bytes` nor `older_than` is given.

        >>> import tempfile
        >>> Store(tempfile.mkdtemp()).evict(max_bytes=0)  # empties the store
        0
        """
        with self._explained("written"):
            freed = self._tidy() if self.path.is_dir() else 0
        return freed + sum(size for _, size in self._evicted(max_bytes, older_than, kind, self._evict_one))

    def evictable(
        self, *, max_bytes: int | None = None, older_than: timedelta | None = None, kind: str | None = None
    ) -> dict[str, int]:
        """Bytes by key of the entries that `evict` would remove with the same arguments, if no lock is held."""
        found = self._evicted(max_bytes, older_than, kind, lambda _: True)
        return {f"{path.parent.parent.name}-{path.stem}": size for path, size in found}

    def _evicted(
        self, max_bytes: int | None, older_than: timedelta | None, kind: str | None, remove: Callable[[Path], bool]
    ) -> Iterator[tuple[Path, int]]:
        if max_bytes is None and older_than is None:
            raise InvalidInputError(
                "evict() got neither max_bytes nor older_than; give one (max_bytes=0 empties the store)"
            )
        kinds = ((path.parent.parent.name, path, status) for path, status in self._files())
        found = [(path, status) for of, path, status in kinds if of == kind or (kind is None and of not in LASTING)]
        found.sort(key=lambda pair: pair[1].st_mtime_ns)
        left = sum(status.st_size for _, status in found)
        oldest = -math.inf if older_than is None else time.time() - older_than.total_seconds()
        for path, status in found:
            too_much = max_bytes is not None and left > max_bytes
            if (too_much or status.st_mtime < oldest) and remove(path):
                left -= status.st_size
                yield path, status.st_size

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"

    def _path(self, key: str) -> Path:
        return _path_of(self.path, key)

    def _lock_path(self, key: str) -> Path:
        self._path(key)  # refuses a wrong key
        return self.path / "locks" / f"{key}.lock"

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        with self._explained("read"):
            for path in sorted((self.path / "entries").glob("*/*/*.safetensors")):
                if not _KEY.fullmatch(f"{path.parent.parent.name}-{path.stem}"):
                    continue  # not an entry of a store
                with contextlib.suppress(FileNotFoundError):  # evicted by another process meanwhile
                    found = path.stat()
                    if stat.S_ISREG(found.st_mode):
                        yield path, found

    def _evict_one(self, path: Path) -> bool:
        from filelock import FileLock, Timeout

        lock_path = self._lock_path(f"{path.parent.parent.name}-{path.stem}")
        with self._explained("written"):
            if not lock_path.is_file():  # no lock is held
                _clear(path)
                return True
            try:
                with FileLock(lock_path, timeout=0, thread_local=False):
                    _clear(path)
                    lock_path.unlink(missing_ok=True)
            except Timeout:
                return False
        return True

    def _commit(self, key: str, arrays: Mapping[str, StoredArray], metadata: Mapping[str, Any], sync: bool) -> None:
        path, header = self._path(key), entry_header(key, arrays, metadata)
        with self._explained("written"):
            partial = self._partial()
            try:
                with partial.open("xb") as file:
                    write_entry(file, header, arrays, sync)
                    file.flush()
                    _place(partial, path)
                    believe(path, file)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        self._offer(key)

    def share(self) -> int:
        """Copies the entries that the shared place lacks to it, and returns how many it holds of this folder's then.

        Needed only after the place failed: `put` does this for each entry.
        """
        return sum(self._offer(info.key) for info in self.entries())

    @property
    def shared_at(self) -> str | None:
        """The address of the shared place behind the folder, without a password; None if there is none."""
        remote = remote_behind(self.path)
        return None if remote is None else shown(remote.url)

    def _remote(self, key: str) -> Remote | None:
        return None if key.rpartition("-")[0] in NOT_SHARED else remote_behind(self.path)

    def _name(self, key: str) -> str:
        return self._path(key).relative_to(self.path).as_posix()

    def _offer(self, key: str) -> bool:
        remote = self._remote(key)
        return remote is not None and remote.offer(self._name(key), self._path(key))

    def _fetched(self, key: str) -> bool:
        """Whether the entry came from the shared place, whole and sound."""
        remote, path = self._remote(key), self._path(key)
        if remote is None or path.exists() or not remote.holds(self._name(key)):
            return False
        partial = self._partial()
        try:
            if not remote.fetch(self._name(key), partial):
                return False
            with partial.open("rb") as file:
                read_entry(file, key, trusted=False)
            _place(partial, path)
        except DamagedError as damage:
            logger.warning("%s in %r is damaged (%s); the entry will be computed again", key, remote, damage)
            remote.discard(self._name(key))
            return False
        finally:
            partial.unlink(missing_ok=True)
        return True

    def _partial(self) -> Path:
        """A path for an incomplete file, whose name contains its owner."""
        folder = self.path / "partial"
        _make(folder)
        if not self._tidied:
            self._tidied = True
            self._tidy()
        return folder / owned_name()

    def _tidy(self) -> int:
        """Removes incomplete files of killed processes; returns the number of freed bytes."""
        freed = 0
        for path in filter(is_abandoned, (self.path / "partial").glob("*")):
            with contextlib.suppress(OSError):  # another process may remove it at the same time
                size = path.stat().st_size
                path.unlink()
                freed += size
        for folder in (self.path / "scratch").glob("*"):
            with contextlib.suppress(OSError):  # a process that is at work there names and removes files
                files = [path.stat() for path in folder.rglob("*") if path.is_file()]
                if time.time() - max([folder.stat().st_mtime, *(file.st_mtime for file in files)]) > SCRATCH_KEPT:
                    shutil.rmtree(folder, ignore_errors=True)
                    freed += sum(file.st_size for file in files)
        return freed

    def _explained(self, verb: str) -> contextlib.AbstractContextManager[None]:
        return explained(f"the store in {self.path}", verb)


@functools.lru_cache(maxsize=64)
def _path_of(folder: Path, key: str) -> Path:
    match = _KEY.fullmatch(key)
    if match is None:
        raise InvalidInputError(f"{key!r} is not a key of the store; make one with Store.key(kind, ...)")
    kind, digest = match.groups()
    return Path(f"{folder}/entries/{kind}/{digest[:2]}/{digest}.safetensors")


def _opened(path: Path) -> BinaryIO | None:
    """The file of an entry; None if there is none, or if something else has its name."""
    try:
        return path.open("rb") if stat.S_ISREG(path.stat().st_mode) else None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):  # nothing, or what leads nowhere
            return None
        raise


def _make(folder: Path) -> None:
    """Makes a folder that is not there yet."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)


def _place(partial: Path, path: Path) -> None:
    """Gives a file the name of an entry, also where something else has this name or those of the folders around it."""
    try:
        os.replace(partial, path)
    except OSError:  # mostly because the folder is not there yet
        for place in (path.parent.parent, path.parent):
            if os.path.lexists(place) and not place.is_dir():
                place.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_what_is_no_file(path)
        os.replace(partial, path)


def _clear(path: Path) -> None:
    """Removes an entry, or what has its name."""
    remove_what_is_no_file(path)
    path.unlink(missing_ok=True)


def default_path() -> Path:
    """The folder in MODELSELECT_CACHE, else `modelselect` in XDG_CACHE_HOME, else in `~/.cache`."""
    return user_path("MODELSELECT_CACHE", "cache")
