"""Prepared inputs: every image is decoded and resized once for each distinct preprocessing, ahead of its use."""

from __future__ import annotations

import contextlib
import errno
import getpass
import hashlib
import math
import mmap
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from modelselect.candidates.backbone import Preprocessing
from modelselect.errors import CandidateError
from modelselect.extraction.processor import give_memory_back
from modelselect.probe.grouped import Wholes
from modelselect.probe.probe import Probe
from modelselect.store.files import explained, is_abandoned, owned_name
from modelselect.utils.system import usable_cores

if TYPE_CHECKING:
    import torch
    from filelock import BaseFileLock

SPOOL_LIMIT = 20_000_000_000
"""Maximum bytes of prepared inputs on disk; less if half of the free space at the start of a run is less."""

MEMORY_LIMIT = 2_000_000_000
"""Maximum bytes of prepared inputs in memory, if there is no folder for them."""

BATCHES_AHEAD = 2
"""Number of batches that are prepared while the reader processes the batch before."""

_CHUNK = 1 << 20


class Inputs(Protocol):
    """(N, ...) prepared inputs: a tensor, or an object that makes one from the requested rows."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | torch.Tensor, /) -> torch.Tensor: ...


class InOrder(Protocol):
    """(N, ...) prepared inputs that are read from the first row to the last, in slices that never go back."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> torch.Tensor: ...


class InputCache:
    """Prepared inputs, shared by all candidates with the same preprocessing, in a folder that is removed after the run.

    Arrays are memory-mapped, so that several worker processes share them in memory. If there is no room for a new
    array, the least recently used ones are removed; an array that exceeds the limit alone is never kept.

    Args:
        folder: where the arrays are kept; None keeps inputs in memory while they are used.
        limit: maximum bytes of all arrays together; by default SPOOL_LIMIT, or MEMORY_LIMIT without a folder.
    """

    def __init__(self, folder: Path | None, limit: int | None = None) -> None:
        self.folder = folder
        self.limit = limit if limit is not None else MEMORY_LIMIT if folder is None else SPOOL_LIMIT
        self._arrays: dict[Path, tuple[int, tuple[int, ...], np.dtype[Any]]] = {}  # where they lie in their files
        self._last: tuple[str, LazyInputs] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "machine": socket.gethostname(), "_arrays": {}, "_last": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """On another machine, arrays are kept in a folder there. Caches of runs that have ended are removed first."""
        machine = state.pop("machine")
        self.__dict__ |= state
        if self.folder is not None and machine != socket.gethostname():
            parent = Path(tempfile.gettempdir()) / f"modelselect-spool-{getpass.getuser()}"
            with self._explained():
                parent.mkdir(mode=0o700, exist_ok=True)
                owner = parent.lstat().st_uid
            if hasattr(os, "getuid") and owner != os.getuid():  # nobody else may write what this process reads
                self.folder, self.limit = None, MEMORY_LIMIT
                return
            for left in filter(is_abandoned, parent.iterdir()):
                shutil.rmtree(left, ignore_errors=True)
            self.folder = parent / self.folder.name

    @classmethod
    @contextlib.contextmanager
    def temporary(cls, parent: Path) -> Iterator[InputCache]:
        """A cache under `parent` that is removed at the end; what killed runs left there is removed at the start.

        It lasts as long as a run. So the memory that the run has freed goes back to the operating system with it.
        """
        with explained(f"the spool in {parent}", "written"):
            parent.mkdir(parents=True, exist_ok=True)
            for left in filter(is_abandoned, parent.iterdir()):
                shutil.rmtree(left, ignore_errors=True)
            folder = parent / owned_name()
            folder.mkdir(mode=0o700)
            limit = min(SPOOL_LIMIT, shutil.disk_usage(folder).free // 2)
        try:
            yield cls(folder, limit)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            give_memory_back()

    @contextlib.contextmanager
    def opened(self, probe: Probe, preprocessing: Preprocessing) -> Iterator[InOrder]:
        """The probe's rows after `preprocessing.prepare`, to be read in order within the `with` block.

        The rows come from the cache, if they are there. Otherwise threads prepare them, a few batches ahead of the
        reader, and after the last one they are kept for the next candidate. Other readers of the same inputs wait.

        Raises:
            StoreError: the folder cannot be written, or its disk is full.
            CandidateError: the preprocessing gives tensors of different shapes (raised when such a row is read).
        """
        path = self._path(probe, preprocessing)
        kept = None if path is None else self._kept(path)
        if kept is not None:
            yield kept
            return
        inputs = self._lazy(probe, preprocessing)
        if path is None or inputs.nbytes > self.limit:
            with PrefetchedInputs(inputs) as ahead:
                yield ahead
            return
        with self._lock(path):
            kept = self._kept(path)
            if kept is None:
                with self._reserved(path, inputs) as array, PrefetchedInputs(inputs, array) as ahead:
                    yield ahead
                    if ahead.finished:
                        self._keep(path)
        if kept is not None:  # another process prepared them while this one waited
            yield kept

    def prepared(self, probe: Probe | Wholes, preprocessing: Preprocessing) -> Inputs:
        """The same rows for reading in any order: from the cache, prepared and kept there, or made on demand.

        Raises:
            StoreError: the folder cannot be written, or its disk is full.
            CandidateError: the preprocessing gives tensors of different shapes (if made on demand: when such a row is
                read).
        """
        path = self._path(probe, preprocessing)
        if path is None:
            inputs = self._lazy(probe, preprocessing)
            return inputs if inputs.nbytes > self.limit else inputs[:]
        kept = self._kept(path)
        if kept is not None:
            return kept
        inputs = self._lazy(probe, preprocessing)
        if inputs.nbytes > self.limit:
            return inputs
        with self._lock(path):
            kept = self._kept(path)
            if kept is None:
                with self._reserved(path, inputs) as array:
                    inputs.write(range(len(inputs)), array)
                    kept = self._kept(
                        path.with_suffix(".partial")
                    )  # before the rename, after which others may remove the file
                    self._keep(path)
        assert kept is not None
        return kept

    def first(self, probe: Probe | Wholes, preprocessing: Preprocessing) -> torch.Tensor:
        """The first row after `preprocessing.prepare`, as a batch of its own."""
        import torch

        return torch.from_numpy(self._lazy(probe, preprocessing).first[None].copy())

    def _lazy(self, probe: Probe | Wholes, preprocessing: Preprocessing) -> LazyInputs:
        """The same for candidates in a row with the same preprocessing, so that the first row is prepared once."""
        if self.folder is None:
            return LazyInputs(probe, preprocessing)
        name = _name(probe, preprocessing)
        if self._last is None or self._last[0] != name:
            self._last = name, LazyInputs(probe, preprocessing)
        return self._last[1]

    def _path(self, probe: Probe | Wholes, preprocessing: Preprocessing) -> Path | None:
        return None if self.folder is None else self.folder / f"{_name(probe, preprocessing)}.npy"

    def _kept(self, path: Path) -> torch.Tensor | None:
        """The array of a file, with copies of what is written to: torch needs that, but the file must not change."""
        import torch

        try:
            if (known := self._arrays.get(path)) is None:
                array = np.load(path, mmap_mode="c")
                self._arrays[path] = array.offset, array.shape, array.dtype
            else:
                offset, shape, dtype = known
                with path.open("rb") as file:
                    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
                array = np.frombuffer(content, dtype, math.prod(shape), offset).reshape(shape)
        except FileNotFoundError:
            return None
        with contextlib.suppress(OSError):  # marks it as used, so that it is not removed
            os.utime(path)
            os.utime(path.parent)
        return torch.from_numpy(array)

    @contextlib.contextmanager
    def _lock(self, path: Path) -> Iterator[None]:
        """Lets one process prepare these inputs; others that need the same inputs wait and then find them."""
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = _file_lock(path.with_suffix(".lock"))
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def _reserved(self, path: Path, inputs: LazyInputs) -> Iterator[NDArray[Any]]:
        """An array in a new file for which space was made; the file is removed at the end unless it was kept."""
        partial = path.with_suffix(".partial")
        try:
            with self._explained():
                partial.unlink(missing_ok=True)
                with _file_lock(path.with_name("room.lock")):
                    self._make_room(path.parent, inputs.nbytes)
                    array = _reserved(partial, inputs.shape, inputs.dtype)
            yield array
        finally:
            partial.unlink(missing_ok=True)

    def _keep(self, path: Path) -> None:
        """Keeps the file without flushing it to disk: it is mostly read from memory, and is removed after the run."""
        with self._explained():
            path.with_suffix(".partial").replace(path)

    def _make_room(self, folder: Path, wanted: int) -> None:
        from filelock import Timeout

        total = 0
        for partial in folder.glob("*.partial"):
            try:
                with _file_lock(partial.with_suffix(".lock"), timeout=0):
                    partial.unlink(missing_ok=True)  # the process that made it held the lock, and was killed
            except Timeout:
                with contextlib.suppress(FileNotFoundError):
                    total += partial.stat().st_size
        kept = sorted(((path.stat(), path) for path in folder.glob("*.npy")), key=lambda pair: pair[0].st_mtime_ns)
        total += sum(stat.st_size for stat, _ in kept)
        for stat, path in kept:
            if total + wanted <= self.limit:
                break
            path.unlink()  # processes that have it mapped can still read it
            total -= stat.st_size

    def _explained(self) -> contextlib.AbstractContextManager[None]:
        return explained(f"the spool in {self.folder}", "written")


class LazyInputs:
    """A probe's inputs, prepared on each request and not kept. The first row is kept: it gives shape and dtype."""

    def __init__(self, probe: Probe | Wholes, preprocessing: Preprocessing) -> None:
        self.probe, self.preprocessing = probe, preprocessing
        self.first = preprocessing.prepare(probe.item(0)).numpy()

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self), *self.first.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.first.dtype

    @property
    def nbytes(self) -> int:
        return len(self) * self.first.nbytes

    def __len__(self) -> int:
        return len(self.probe)

    def __getitem__(self, rows: slice | torch.Tensor, /) -> torch.Tensor:
        import torch

        indices = range(len(self))[rows] if isinstance(rows, slice) else rows.tolist()
        array = np.empty((len(indices), *self.first.shape), self.dtype)
        self.write(indices, array)
        return torch.from_numpy(array)

    def row(self, index: int) -> NDArray[Any]:
        """One prepared row."""
        row = self.preprocessing.prepare(self.probe.item(index)).numpy() if index else self.first
        if row.shape != self.first.shape:
            raise CandidateError(
                f"the preprocessing gives tensors of different shapes: {self.first.shape} for row 0 and "
                f"{row.shape} for row {index}. Give a preprocessing that resizes all inputs to one size."
            )
        if row.dtype != self.first.dtype:
            raise CandidateError(
                f"the preprocessing gives tensors of different dtypes: {self.first.dtype} for row 0 and {row.dtype} "
                f"for row {index}. Give a preprocessing with one dtype for all inputs."
            )
        return row

    def write(self, indices: Sequence[int], array: NDArray[Any]) -> None:
        """Writes the rows of these indices into the rows of `array`, in the same order."""

        def fill(place: int, index: int) -> None:
            array[place] = self.row(index)

        with ThreadPoolExecutor(max(2, usable_cores())) as threads:  # decoding releases the interpreter lock
            for _ in threads.map(fill, range(len(indices)), indices):
                pass


class PrefetchedInputs:
    """Inputs read in order, prepared by threads a few batches ahead of the reader; written to an array, if given."""

    def __init__(self, inputs: LazyInputs, array: NDArray[Any] | None = None) -> None:
        self._inputs, self._array = inputs, array
        self._rows: dict[int, Future[NDArray[Any]]] = {}
        self._asked = 0
        self._given = 0
        self._threads = ThreadPoolExecutor(max(2, usable_cores()))

    def __enter__(self) -> PrefetchedInputs:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def __len__(self) -> int:
        return len(self._inputs)

    @property
    def finished(self) -> bool:
        """True if the reader has received the last row."""
        return self._given == len(self)

    def __getitem__(self, rows: slice, /) -> torch.Tensor:
        import torch

        wanted = range(len(self))[rows]
        for index in range(self._asked, min(wanted.stop + BATCHES_AHEAD * len(wanted), len(self))):
            self._rows[index] = self._threads.submit(self._prepare, index)
            self._asked = index + 1
        ready = [self._rows[index].result() for index in wanted]
        for index in [index for index in self._rows if index < wanted.start]:  # kept for a retry with a smaller batch
            del self._rows[index]
        self._given = wanted.stop
        return torch.from_numpy(np.stack(ready))  # a copy, because a module may change its input in place

    def _prepare(self, index: int) -> NDArray[Any]:
        row = self._inputs.row(index)
        if self._array is None:
            return row
        kept: NDArray[Any] = self._array[index]
        kept[...] = row
        return kept


def _name(probe: Probe | Wholes, preprocessing: Preprocessing) -> str:
    """The name of a probe's prepared inputs."""
    return hashlib.sha256(f"{probe.fingerprint}\0{preprocessing.key}".encode()).hexdigest()


def _file_lock(path: Path, timeout: float = -1) -> BaseFileLock:
    """A lock that is not acquired yet; it holds for all threads of this process."""
    from filelock import FileLock

    return FileLock(path, timeout=timeout, thread_local=False)


def _reserved(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.memmap[Any, Any]:
    """A new memory-mapped array whose space on disk is already allocated.

    Otherwise the file would have holes, and a write to a full disk would kill the process (SIGBUS).
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with path.open("r+b") as file:
        _reserve(file, array.offset, array.nbytes)
    return array


def _reserve(file: BinaryIO, start: int, size: int) -> None:
    try:
        os.posix_fallocate(file.fileno(), start, size)
    except (AttributeError, OSError) as error:  # not supported by every operating system and file system
        if isinstance(error, OSError) and error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        file.seek(start)
        for left in range(size, 0, -_CHUNK):
            file.write(bytes(min(_CHUNK, left)))
