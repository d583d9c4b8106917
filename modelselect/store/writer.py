"""Rows appended to an entry of the store."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import InvalidInputError
from modelselect.store.entry_file import StoredArray


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
        self._files: dict[str, tuple[Path, BinaryIO]] = {}

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
                    path = self._new_path()
                    self._files[name] = path, path.open("x+b")
                    self.arrays[name] = StoredArray(batch.dtype, (0, *batch.shape[1:]), self._files[name][1])
                array = self.arrays[name]
                if (batch.dtype, batch.shape[1:]) != (array.dtype, array.shape[1:]):
                    raise InvalidInputError(
                        f"the rows of {name!r} have dtype {batch.dtype} and shape {batch.shape[1:]}; expected those of "
                        f"the rows before, {array.dtype} and {array.shape[1:]}"
                    )
                for chunk in batch.chunks():
                    self._files[name][1].write(chunk)
            array.shape = (array.shape[0] + batch.shape[0], *array.shape[1:])

    def mapped(self) -> Mapping[str, NDArray[Any]]:
        """The rows so far, read-only and memory-mapped; readable as long as they are referenced."""
        found = {}
        for name, array in self.arrays.items():
            path, file = self._files[name]
            with self._explained("written"):
                file.flush()
                if array.nbytes == 0:
                    found[name] = np.empty(array.shape, array.dtype)
                else:
                    found[name] = np.memmap(path, array.dtype, "r", shape=array.shape)
        return found

    def discard(self) -> None:
        for path, file in self._files.values():
            with contextlib.suppress(OSError):
                file.close()
            with contextlib.suppress(OSError):
                path.unlink()
