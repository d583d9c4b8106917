"""What the operating system says: cores, memory, processor."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path


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
