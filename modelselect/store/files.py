"""What the host asks of the operating system: cores, memory, processes, the user's folders, and files written whole."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path

ABANDONED_AFTER = 86_400.0
"""Seconds untouched after which what a process made is taken for abandoned, whatever can be told of the process."""

_OWNED = re.compile(r"(?P<host>.+)@(?P<pid>\d{1,9})@[0-9a-f]{16}")


def usable_cores() -> int:
    """Cores that this process may run on: less than the machine has, where it is bound to some of them or to a share.

    A container's share is that of control groups (Linux), rounded up.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _control_group("cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        cores = min(cores, max(1, -(-int(quota) // int(period))))
    return cores


def available_memory() -> int | None:
    """Bytes that this process may still take without making the machine swap; None where nobody tells (not Linux)."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    free = None if found is None else 1024 * int(found[1])
    limit, used = _control_group("memory.max"), _control_group("memory.current")
    if free is not None and limit.isdigit() and used.isdigit():
        free = min(free, max(0, int(limit) - int(used)))
    return free


def processor() -> str:
    """The processor's name, as the operating system knows it."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else f"{platform.machine()} {platform.processor()}".strip()


def _control_group(name: str) -> str:
    """What the control group of this process says, as containers see it; empty where there is none."""
    try:
        return (Path("/sys/fs/cgroup") / name).read_text().strip()
    except OSError:
        return ""


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


def user_path(variable: str, kind: str, *parts: str) -> Path:
    """What an environment variable names, else a place in modelselect's own folder of the user.

    Args:
        variable: the environment variable.
        kind: `cache` for what can be made again (XDG_CACHE_HOME, else `~/.cache`), `data` for what cannot
            (XDG_DATA_HOME, else `~/.local/share`).
        parts: of the path below that folder.
    """
    if chosen := os.environ.get(variable):
        return Path(chosen).expanduser()
    home = {"cache": Path(".cache"), "data": Path(".local", "share")}[kind]
    return Path(os.environ.get(f"XDG_{kind.upper()}_HOME") or Path.home() / home).joinpath("modelselect", *parts)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write a file that is to stand at `path`, whole or not at all: it takes its place when the block ends.

    A link stays one, and what it leads to is replaced; a device or a pipe is written to as it is.

    Raises:
        OSError: it cannot be written.
    """
    target = path.resolve() if path.is_symlink() else path
    if target.exists() and not target.is_file():
        yield target
        return
    partial = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
