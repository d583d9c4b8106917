"""Rows appended to an entry of the store."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import InvalidInputError
from modelselect.store.entry_file import StoredArray

IN_MEMORY = 1 << 20
"""Maximum bytes of an array that are kept in memory. More are written to a file as they come."""


class Writer:
    """Collects the rows of an entry; made by `Store.writer`.

    Attributes:
        metadata: of the entry; may be extended until the block ends.
    """

    def __init__(
        self,
        metadata: dict[str, Any],
        new_path: Callable[[], Path],
        explained: Callable[[str], contextlib.AbstractContextManager[None]],
    ) -> None:
        self.metadata = metadata
        self._new_path, self._explained = new_path, explained
        self.arrays: dict[str, StoredArray] = {}
        self._contents: dict[str, BinaryIO] = {}
        self._paths: dict[str, Path] = {}  # of what is in a file

    def append(self, **rows: NDArray[Any]) -> None:
        """Adds rows, (B, ...) for each array by name. Arrays may differ in their number of rows.

        Raises:
            InvalidInputError: dtype or shape differs from that of earlier rows, or cannot be stored.
        """
        for name, given in rows.items():
            batch = StoredArray.of(name, given)
            if not batch.shape:
                raise InvalidInputError(
                    f"the rows of {name!r} are a single number; expected an array of shape (rows, ...)"
                )
            with self._explained("written"):
                if name not in self.arrays:
                    self._contents[name] = io.BytesIO()
                    self.arrays[name] = StoredArray(batch.dtype, (0, *batch.shape[1:]), self._contents[name])
                array = self.arrays[name]
                if (batch.dtype, batch.shape[1:]) != (array.dtype, array.shape[1:]):
                    raise InvalidInputError(
                        f"the rows of {name!r} have dtype {batch.dtype} and shape {batch.shape[1:]}; expected those of "
                        f"the rows before, {array.dtype} and {array.shape[1:]}"
                    )
                if name not in self._paths and array.nbytes + batch.nbytes > IN_MEMORY:
                    array.content = self._contents[name] = self._in_file(name, array)
                for chunk in batch.chunks():
                    self._contents[name].write(chunk)
            array.shape = (array.shape[0] + batch.shape[0], *array.shape[1:])

    def _in_file(self, name: str, array: StoredArray) -> BinaryIO:
        self._paths[name] = self._new_path()
        file = self._paths[name].open("x+b")
        file.writelines(array.chunks())
        return file

    def mapped(self) -> Mapping[str, NDArray[Any]]:
        """The rows so far, read-only and, if they are many, memory-mapped; readable as long as they are referenced."""
        found: dict[str, NDArray[Any]] = {}
        for name, array in self.arrays.items():
            if name not in self._paths:
                found[name] = np.frombuffer(b"".join(array.chunks()), array.dtype).reshape(array.shape)
                continue
            with self._explained("written"):
                self._contents[name].flush()
                found[name] = np.memmap(self._paths[name], array.dtype, "r", shape=array.shape)
        return found

    def discard(self) -> None:
        for file in self._contents.values():
            with contextlib.suppress(OSError):
                file.close()
        for path in self._paths.values():
            with contextlib.suppress(OSError):
                path.unlink()
