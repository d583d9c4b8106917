"""Which files this process has checked already."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import BinaryIO

_TIME_STEP = 1_000
"""Nanoseconds: how exactly a file system must keep times for a change to be told by them."""

CHECKED_FILES: dict[Path, tuple[int, ...]] = {}
"""What this process wrote or checked, and in what state the file was then."""


def believe(path: Path, file: BinaryIO) -> None:
    """Marks the file as used now, and as checked in the state that it is in.

    It is given a time of its own, to the nanosecond: a write right after this one would get the same from a clock that
    ticks every few milliseconds. Where that cannot be done it is checked again the next time.
    """
    now = time.time_ns()
    CHECKED_FILES.pop(path, None)
    try:
        os.utime(file.fileno(), ns=(now, now))
        if 0 <= now - os.fstat(file.fileno()).st_mtime_ns < _TIME_STEP:
            CHECKED_FILES[path] = file_state(file)
    except OSError:  # a store that may only be read, or another user's, still serves
        with contextlib.suppress(OSError):
            os.utime(file.fileno())


def file_state(file: BinaryIO) -> tuple[int, ...]:
    """Changes when the file is replaced, written to, or touched."""
    stat = os.fstat(file.fileno())
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
