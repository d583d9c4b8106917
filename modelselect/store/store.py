"""What has been computed stays computed: evidence and scores on disk, found again by what made them.

An entry is one safetensors file: its arrays, and in the header its metadata, the key it answers to and a SHA-256 of the
whole file. It appears under its name complete or not at all, and is believed only if the checksum fits. Files are
written and read here rather than by the safetensors library, which can neither write arrays row by row nor map them
into memory; anything that reads the format reads them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import math
import os
import re
import shutil
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import InvalidInputError, StoreError
from modelselect.machine import is_abandoned, owned_name, user_path

logger = logging.getLogger(__name__)

FORMAT = 1
"""Part of every key: raised when entries of old are no longer to be found."""

_DTYPES = {
    "BOOL": "|b1",
    "I8": "|i1",
    "U8": "|u1",
    **{f"I{8 * size}": f"<i{size}" for size in (2, 4, 8)},
    **{f"U{8 * size}": f"<u{size}" for size in (2, 4, 8)},
    **{f"F{8 * size}": f"<f{size}" for size in (2, 4, 8)},
    "C64": "<c8",
}
"""What safetensors calls numpy's dtypes."""

_DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}

_HEADER_START = b'{"__metadata__":{"sha256":"'
_NO_DIGEST = b"0" * 64  # stands where the checksum will be, while the checksum is computed
_HEADER_LIMIT = 100_000_000  # bytes, as the safetensors library has it
_ALIGNMENT = 64
_CHUNK = 1 << 20

_TIME_STEP = 1_000
"""Nanoseconds: how exactly a file system must keep times for a change to be told by them."""

_SYNC_FROM = 1 << 20
"""Entries from this many bytes on are flushed to the disk itself before they get their name.

That takes milliseconds, which thousands of small scores would feel. Without it a power cut can tear a file; the
checksum notices, and a small entry is quickly computed again. (A killed process tears nothing either way.)
"""

SCRATCH_KEPT = 30 * 86_400.0
"""Seconds untouched after which nobody is expected to go on with what was killed."""

_KEY = re.compile(r"(?P<kind>[a-z][a-z0-9_]*)-(?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Entry:
    """What the store holds under one key.

    Attributes:
        key: what it was asked for by.
        arrays: by name, read-only, mapped into memory: rows that are not touched are not in memory.
        metadata: as it was given, after a round trip through JSON.
        created: when it was written, in UTC.
    """

    key: str
    arrays: Mapping[str, NDArray[Any]]
    metadata: Mapping[str, Any]
    created: datetime


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
        text = _json({"format": FORMAT, "kind": kind, "parts": parts}, "the parts of a key")
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
                state = _state(file)
                try:
                    entry = _read(file, key, trusted=_checked.get(path) == state)
                except _DamagedError as damage:
                    logger.warning("%s is damaged (%s); it counts as absent and will be computed anew", path, damage)
                    return None
                if _state(file) == state:  # nobody wrote while it was read
                    _believe(path, file)
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
        self._commit(key, {name: _Array.of(name, array) for name, array in arrays.items()}, metadata or {}, sync)

    @contextlib.contextmanager
    def writer(self, key: str, metadata: Mapping[str, Any] | None = None) -> Iterator[Writer]:
        """For arrays too large for memory: the entry is made of the rows appended within the `with` block.

        It comes into being at the end of the block; if the block raises or the process is killed, there is none.

        >>> import tempfile
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
            self._commit(key, writer._arrays, writer.metadata, sync=False)
        finally:
            writer._discard()

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
            used = _utc(stat.st_mtime)
            kind = path.parent.parent.name
            yield EntryInfo(f"{kind}-{path.stem}", kind, stat.st_size, _created(path) or used, used)

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

    def _commit(self, key: str, arrays: Mapping[str, _Array], metadata: Mapping[str, Any], sync: bool) -> None:
        path, header = self._path(key), _header(key, arrays, metadata)
        with self._explained("written"):
            partial = self._partial()
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with partial.open("xb") as file:
                    _write(file, header, arrays, sync)
                    file.flush()
                    partial.replace(path)
                    _believe(path, file)
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


@contextlib.contextmanager
def explained(what: str, verb: str) -> Iterator[None]:
    """What the operating system says while `what` is `verb` (written, read, ...), as a StoreError with advice."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "The disk (or your quota) is full: free some space (`modelselect store` can evict entries), or"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            advice = "You may not do that there: change the folder's permissions, or"
        else:
            advice = "Mend that, or"
        raise StoreError(
            f"{what} cannot be {verb}: {error.strerror or error}"
            f"{f' ({error.filename})' if error.filename else ''}. {advice} choose another folder with cache_dir= "
            "(--cache-dir) or the environment variable MODELSELECT_CACHE."
        ) from error


def default_path() -> Path:
    """MODELSELECT_CACHE, else `modelselect` in XDG_CACHE_HOME, else in `~/.cache`."""
    return user_path("MODELSELECT_CACHE", "cache")


# --- writing ---------------------------------------------------------------------------------------------------------


@dataclass
class _Array:
    """An array on its way to the disk: whole in memory, or as rows in a file."""

    dtype: str
    shape: tuple[int, ...]
    content: NDArray[Any] | BinaryIO

    @classmethod
    def of(cls, name: str, given: Any) -> _Array:
        array = np.asarray(given)
        dtype = array.dtype.newbyteorder("<")
        if dtype.str not in _DTYPE_NAMES:
            raise InvalidInputError(
                f"array {name!r} has dtype {array.dtype}; the store holds booleans, integers and floats of up to 64 "
                "bits, and complex64"
            )
        if not name or name == "__metadata__":
            raise InvalidInputError(f"an array cannot be called {name!r}")
        return cls(dtype.str, array.shape, np.asarray(array, dtype, order="C"))

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def chunks(self) -> Iterator[bytes | memoryview]:
        if isinstance(self.content, np.ndarray):
            yield self.content.reshape(-1).view(np.uint8).data
        else:
            self.content.seek(0)
            while chunk := self.content.read(_CHUNK):
                yield chunk


class Writer:
    """Takes the rows of an entry; `Store.writer` makes one.

    Attributes:
        metadata: of the entry; may be added to until the block ends.
    """

    def __init__(
        self,
        metadata: dict[str, Any],
        new_path: Callable[[], Path],
        explained: Callable[[str], contextlib.AbstractContextManager[None]],
    ) -> None:
        self.metadata = metadata
        self._new_path, self._explained = new_path, explained
        self._arrays: dict[str, _Array] = {}
        self._files: dict[str, tuple[Path, BinaryIO]] = {}

    def append(self, **rows: NDArray[Any]) -> None:
        """Adds rows, (B, ...) for each array named. Arrays may differ in their number of rows.

        Raises:
            InvalidInputError: dtype or shape differ from those of the rows before, or cannot be stored.
        """
        for name, given in rows.items():
            batch = _Array.of(name, given)
            if not batch.shape:
                raise InvalidInputError(f"rows of {name!r} are a single number; expected an array of shape (rows, ...)")
            with self._explained("written"):
                if name not in self._arrays:
                    path = self._new_path()
                    self._files[name] = path, path.open("x+b")
                    self._arrays[name] = _Array(batch.dtype, (0, *batch.shape[1:]), self._files[name][1])
                array = self._arrays[name]
                if (batch.dtype, batch.shape[1:]) != (array.dtype, array.shape[1:]):
                    raise InvalidInputError(
                        f"rows of {name!r} have dtype {batch.dtype} and shape {batch.shape[1:]}; the rows before had "
                        f"{array.dtype} and {array.shape[1:]}"
                    )
                for chunk in batch.chunks():
                    self._files[name][1].write(chunk)
            array.shape = (array.shape[0] + batch.shape[0], *array.shape[1:])

    def mapped(self) -> Mapping[str, NDArray[Any]]:
        """The rows so far, read-only, mapped into memory; they can be read as long as they are referred to."""
        found = {}
        for name, array in self._arrays.items():
            path, file = self._files[name]
            with self._explained("written"):
                file.flush()
                if array.nbytes == 0:
                    found[name] = np.empty(array.shape, array.dtype)
                else:
                    found[name] = np.memmap(path, array.dtype, "r", shape=array.shape)
        return found

    def _discard(self) -> None:
        for path, file in self._files.values():
            with contextlib.suppress(OSError):
                file.close()
            with contextlib.suppress(OSError):
                path.unlink()


def _header(key: str, arrays: Mapping[str, _Array], metadata: Mapping[str, Any]) -> bytes:
    """A safetensors header, without its checksum."""
    described = {"key": key, "created": time.time(), "metadata": dict(metadata)}
    header: dict[str, Any] = {
        "__metadata__": {"sha256": _NO_DIGEST.decode(), "modelselect": _json(described, "metadata", allow_nan=True)}
    }
    offset = 0
    for name, array in _in_file_order(arrays):
        header[name] = {
            "dtype": _DTYPE_NAMES[array.dtype],
            "shape": array.shape,
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    if len(text) > _HEADER_LIMIT:
        raise InvalidInputError(f"metadata of {len(text):,} bytes are too much; large things belong into arrays")
    return text + b" " * (-(8 + len(text)) % _ALIGNMENT)


def _in_file_order(arrays: Mapping[str, _Array]) -> list[tuple[str, _Array]]:
    """The widest numbers first, so that every array is aligned to its own."""
    return sorted(arrays.items(), key=lambda item: (-np.dtype(item[1].dtype).itemsize, item[0]))


def _write(file: BinaryIO, header: bytes, arrays: Mapping[str, _Array], sync: bool) -> None:
    length = struct.pack("<Q", len(header))
    digest = hashlib.sha256(length + header)
    file.write(length + header)
    for _, array in _in_file_order(arrays):
        for chunk in array.chunks():
            digest.update(chunk)
            file.write(chunk)
    size = file.tell()
    file.seek(len(length) + len(_HEADER_START))
    file.write(digest.hexdigest().encode())
    if sync or size >= _SYNC_FROM:
        file.flush()
        os.fsync(file.fileno())


def _json(value: Any, what: str, *, allow_nan: bool = False) -> str:
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=allow_nan)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{what} cannot be written as JSON: {error}") from None


# --- reading ---------------------------------------------------------------------------------------------------------


_checked: dict[Path, tuple[int, ...]] = {}
"""What this process wrote or checked, and in what state the file was then."""


def _believe(path: Path, file: BinaryIO) -> None:
    """Marks the file as used now, and as checked in the state that it is in.

    It is given a time of its own, to the nanosecond: a write right after this one would get the same from a clock that
    ticks every few milliseconds. Where that cannot be done it is checked again the next time.
    """
    now = time.time_ns()
    _checked.pop(path, None)
    try:
        os.utime(file.fileno(), ns=(now, now))
        if 0 <= now - os.fstat(file.fileno()).st_mtime_ns < _TIME_STEP:
            _checked[path] = _state(file)
    except OSError:  # a store that may only be read, or another user's, still serves
        with contextlib.suppress(OSError):
            os.utime(file.fileno())


def _state(file: BinaryIO) -> tuple[int, ...]:
    """Changes when the file is replaced, written to, or touched."""
    stat = os.fstat(file.fileno())
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


class _DamagedError(Exception):
    """Not what was written."""


def _read_header(file: BinaryIO) -> bytes:
    length = file.read(8)
    size = struct.unpack("<Q", length)[0] if len(length) == 8 else _HEADER_LIMIT + 1
    header = file.read(size) if size <= _HEADER_LIMIT else b""
    if len(header) != size or not header.startswith(_HEADER_START):
        raise _DamagedError("its header cannot be read")
    return header


def _read(file: BinaryIO, key: str, *, trusted: bool) -> Entry:
    header = _read_header(file)
    start = file.tell()
    if not trusted:
        _check(file, header)
    try:
        table = json.loads(header)
        described = json.loads(table.pop("__metadata__")["modelselect"])
        if described["key"] != key:
            raise _DamagedError(f"it is {described['key']} under another name")
        nothing = os.fstat(file.fileno()).st_size == start
        data = np.empty(0, np.uint8) if nothing else np.asarray(np.memmap(file, np.uint8, "r", offset=start))
        arrays = {name: _view(data, spec) for name, spec in table.items()}
        return Entry(key, arrays, described["metadata"], _utc(described["created"]))
    except (LookupError, TypeError, ValueError):
        raise _DamagedError("its header says nothing sensible") from None


def _check(file: BinaryIO, header: bytes) -> None:
    """Raises _DamagedError if the checksum in the header is not that of the file, whose header was just read."""
    at = len(_HEADER_START)
    digest = hashlib.sha256(struct.pack("<Q", len(header)))
    digest.update(header[:at] + _NO_DIGEST + header[at + len(_NO_DIGEST) :])
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    if digest.hexdigest().encode() != header[at : at + len(_NO_DIGEST)]:
        raise _DamagedError("its checksum does not fit")


def _view(data: NDArray[np.uint8], spec: Mapping[str, Any]) -> NDArray[Any]:
    begin, end = spec["data_offsets"]
    array = data[begin:end].view(_DTYPES[spec["dtype"]]).reshape(spec["shape"])
    array.flags.writeable = False
    return array


def _created(path: Path) -> datetime | None:
    with contextlib.suppress(_DamagedError, OSError, ValueError, KeyError, TypeError), path.open("rb") as file:
        return _utc(json.loads(json.loads(_read_header(file))["__metadata__"]["modelselect"])["created"])
    return None


def _utc(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)
