"""Files that this process has already checked."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import BinaryIO

_TIME_STEP = 1_000
"""Nanoseconds: the resolution that a file system's times need, so that they show every change."""

CHECKED_FILES: dict[Path, tuple[int, ...]] = {}
"""Files that this process wrote or checked, with their state at that time."""


def believe(path: Path, file: BinaryIO) -> None:
    """Marks the file as used now, and as checked in its present state.

    Its time is set to the nanosecond, because a later write could otherwise get the same time from a clock that ticks
    every few milliseconds. If the time cannot be set, the file is checked again on the next read.
    """
    now = time.time_ns()
    CHECKED_FILES.pop(path, None)
    try:
        os.utime(file.fileno(), ns=(now, now))
        if 0 <= now - os.fstat(file.fileno()).st_mtime_ns < _TIME_STEP:
            CHECKED_FILES[path] = file_state(file)
    except OSError:  # the store is read-only or another user's, but can be used
        with contextlib.suppress(OSError):
            os.utime(file.fileno())


def file_state(file: BinaryIO) -> tuple[int, ...]:
    """A value that changes when the file is replaced, written to, or touched."""
    stat = os.fstat(file.fileno())
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
