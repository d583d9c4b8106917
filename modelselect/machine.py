"""What the host asks of the operating system: how many cores are its own, which processes run, and whose a file is."""

from __future__ import annotations

import os
import re
import secrets
import socket
import time
from pathlib import Path

ABANDONED_AFTER = 86_400.0
"""Seconds untouched after which what a process made is taken for abandoned, whatever can be told of the process."""

_OWNED = re.compile(r"(?P<host>.+)@(?P<pid>\d{1,9})@[0-9a-f]{16}")


def usable_cores() -> int:
    """Cores that this process may run on: less than the machine has, where it is bound to some of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_running(pid: int) -> bool:
    """True if a process of this machine has that number, whoever owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def owned_name() -> str:
    """A new name for a file or folder, that tells `is_abandoned` which process of which machine it belongs to."""
    return f"{socket.gethostname()}@{os.getpid()}@{secrets.token_hex(8)}"


def is_abandoned(path: Path) -> bool:
    """True if the process that gave it its `owned_name` has ended, or has not touched it for a day.

    Folders may be shared by machines, and only the age tells of the processes of another. What has another name is
    somebody else's, and never abandoned; nor is what is gone.
    """
    match = _OWNED.fullmatch(path.name)
    if match is None:
        return False
    try:
        untouched = time.time() - path.stat().st_mtime
    except OSError:
        return False
    here = match["host"] == socket.gethostname()
    return untouched > ABANDONED_AFTER or (here and not is_running(int(match["pid"])))
