"""What tables take of memory and of the disk, which is known before they are read."""

from __future__ import annotations

import gzip
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelselect.errors import DatasetError
from modelselect.utils.parquet import Decoded
from modelselect.utils.system import available_memory
from modelselect.utils.text import in_bytes, too_many_rows

BYTES_PER_ROW = 100
"""Of memory, at least: label, place in the order and digest. Rows of a text and a number were measured to take 110."""

_MOST_PACKED = 1032
"""Bytes that one byte of gzip holds, at most."""

_ADVICE = "Give fewer rows, such as a random sample of them."


def check_rows(what: str, rows: int, at_once: int = 0) -> None:
    """Raises DatasetError if rows do not fit into the memory that is free.

    Args:
        what: holds the rows.
        rows: their number.
        at_once: bytes that reading them takes besides.
    """
    if why := too_many_rows(what, rows, BYTES_PER_ROW * rows + at_once, available_memory()):
        raise DatasetError(f"{why}. {_ADVICE}")


def check_parquet(files: Sequence[str | Path], builder: Any) -> None:
    """Raises DatasetError if Parquet files do not fit into memory, or on the disk where `builder` will decode them."""
    place = Path(builder.cache_dir)
    if place.is_dir():  # they are decoded already
        return
    memory = available_memory()
    decoded = Decoded.of(files, math.inf if memory is None else memory)
    what = f"the table {files[0]}" + (f" with {len(files) - 1} more" if len(files) > 1 else "")
    check_rows(what, decoded.rows, decoded.largest)
    place = next(folder for folder in place.parents if folder.is_dir())
    free = shutil.disk_usage(place).free
    if decoded.size > free:
        raise DatasetError(
            f"{what} has {decoded.rows:,} rows: decoded, it takes at least {in_bytes(decoded.size)} on the disk, and "
            f"{in_bytes(free)} are free in {place}. {_ADVICE} Or set HF_DATASETS_CACHE to a folder on a larger disk."
        )


def check_text(path: Path) -> None:
    """Raises DatasetError if a file of text, which may be packed by gzip, does not fit into the memory that is free."""
    size, free = os.path.getsize(path), available_memory()
    if free is None:
        return
    if path.suffix.lower() == ".gz":
        size = _unpacked(path, free) if size * _MOST_PACKED > free else 0
    if size > free:
        raise DatasetError(
            f"the table {path} takes more than {in_bytes(free)} of memory, and no more is free. {_ADVICE}"
        )


def _unpacked(path: Path, most: int) -> int:
    """Bytes of the content, as far as it has no more than `most`."""
    size = 0
    with gzip.open(path, "rb") as file:
        while size <= most and (part := file.read(1 << 20)):
            size += len(part)
    return size
