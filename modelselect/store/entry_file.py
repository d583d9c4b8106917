"""One entry of the store as a file: header, arrays, checksum."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import InvalidInputError

_DTYPES = {
    "BOOL": "|b1",
    "I8": "|i1",
    "U8": "|u1",
    **{f"I{8 * size}": f"<i{size}" for size in (2, 4, 8)},
    **{f"U{8 * size}": f"<u{size}" for size in (2, 4, 8)},
    **{f"F{8 * size}": f"<f{size}" for size in (2, 4, 8)},
    "C64": "<c8",
}
"""safetensors' names of NumPy's dtypes."""

_DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}

_HEADER_START = b'{"__metadata__":{"sha256":"'
_NO_DIGEST = b"0" * 64  # stands in for the checksum while the checksum is computed
_HEADER_LIMIT = 100_000_000  # bytes, as in the safetensors library
_ALIGNMENT = 64
_CHUNK = 1 << 20

_SYNC_FROM = 1 << 20
"""Entries of at least this many bytes are flushed to disk before they get their name.

A flush takes milliseconds, too many for thousands of small scores. Without a flush, a power cut can damage a file; the
checksum detects this, and a small entry is quickly computed again. (A killed process damages no file in either case.)
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the store holds under one key.

    Attributes:
        key: the entry's key.
        arrays: by name, read-only and memory-mapped: only rows that are read take memory.
        metadata: as given, after a round trip through JSON.
        created: time of writing, in UTC.
    """

    key: str
    arrays: Mapping[str, NDArray[Any]]
    metadata: Mapping[str, Any]
    created: datetime


@dataclass
class StoredArray:
    """An array to be written: in memory, or as rows in a file."""

    dtype: str
    shape: tuple[int, ...]
    content: NDArray[Any] | BinaryIO

    @classmethod
    def of(cls, name: str, given: Any) -> StoredArray:
        array = np.asarray(given)
        dtype = array.dtype.newbyteorder("<")
        if dtype.str not in _DTYPE_NAMES:
            raise InvalidInputError(
                f"array {name!r} has dtype {array.dtype}; the store holds booleans, integers and floats of up to 64 "
                "bits, and complex64"
            )
        if not name or name == "__metadata__":
            raise InvalidInputError(f"an array cannot have the name {name!r}; choose another")
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


def entry_header(key: str, arrays: Mapping[str, StoredArray], metadata: Mapping[str, Any]) -> bytes:
    """A safetensors header, with a placeholder for its checksum."""
    described = {"key": key, "created": time.time(), "metadata": dict(metadata)}
    header: dict[str, Any] = {
        "__metadata__": {
            "sha256": _NO_DIGEST.decode(),
            "modelselect": header_json(described, "metadata", allow_nan=True),
        }
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
        raise InvalidInputError(
            f"the metadata has {len(text):,} bytes; at most {_HEADER_LIMIT:,} are allowed. Store large data as arrays"
        )
    return text + b" " * (-(8 + len(text)) % _ALIGNMENT)


def _in_file_order(arrays: Mapping[str, StoredArray]) -> list[tuple[str, StoredArray]]:
    """The widest dtypes first, so that every array is aligned."""
    return sorted(arrays.items(), key=lambda item: (-np.dtype(item[1].dtype).itemsize, item[0]))


def write_entry(file: BinaryIO, header: bytes, arrays: Mapping[str, StoredArray], sync: bool) -> None:
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


def header_json(value: Any, what: str, *, allow_nan: bool = False) -> str:
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=allow_nan)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{what} cannot be written as JSON: {error}") from None


class DamagedError(Exception):
    """The file is not what was written."""


def _read_header(file: BinaryIO) -> bytes:
    length = file.read(8)
    size = struct.unpack("<Q", length)[0] if len(length) == 8 else _HEADER_LIMIT + 1
    header = file.read(size) if size <= _HEADER_LIMIT else b""
    if len(header) != size or not header.startswith(_HEADER_START):
        raise DamagedError("the header cannot be read")
    return header


def read_entry(file: BinaryIO, key: str, *, trusted: bool) -> Entry:
    header = _read_header(file)
    start, size = file.tell(), os.fstat(file.fileno()).st_size
    try:
        table = json.loads(header)
        described = json.loads(table.pop("__metadata__")["modelselect"])
        if size != start + max((spec["data_offsets"][1] for spec in table.values()), default=0):
            raise DamagedError("it has another size than its header says")
        if not trusted:
            _check(file, header)
        if described["key"] != key:
            raise DamagedError(f"the file holds the entry {described['key']}")
        data = np.empty(0, np.uint8) if size == start else np.asarray(np.memmap(file, np.uint8, "r", offset=start))
        arrays = {name: _view(data, spec) for name, spec in table.items()}
        return Entry(key, arrays, described["metadata"], utc(described["created"]))
    except (LookupError, TypeError, ValueError, OverflowError, RecursionError, AttributeError):
        raise DamagedError("the header is not valid") from None


def _check(file: BinaryIO, header: bytes) -> None:
    """Raises DamagedError if the header's checksum does not match the file. The header was just read."""
    at = len(_HEADER_START)
    digest = hashlib.sha256(struct.pack("<Q", len(header)))
    digest.update(header[:at] + _NO_DIGEST + header[at + len(_NO_DIGEST) :])
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    if digest.hexdigest().encode() != header[at : at + len(_NO_DIGEST)]:
        raise DamagedError("the checksum does not match")


def _view(data: NDArray[np.uint8], spec: Mapping[str, Any]) -> NDArray[Any]:
    begin, end = spec["data_offsets"]
    array = data[begin:end].view(_DTYPES[spec["dtype"]]).reshape(spec["shape"])
    array.flags.writeable = False
    return array


def created_at(path: Path) -> datetime | None:
    unreadable = DamagedError, OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError
    with contextlib.suppress(*unreadable), path.open("rb") as file:
        return utc(json.loads(json.loads(_read_header(file))["__metadata__"]["modelselect"])["created"])
    return None


def utc(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)
