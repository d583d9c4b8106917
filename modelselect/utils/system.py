"""What the operating system reports: cores, memory, processor."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path


def usable_cores() -> int:
    """Number of cores that this process may use: fewer than the machine has, if the process is limited to some.

    The limit may be a CPU affinity, or a container's share by control groups (Linux), rounded up.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _control_group("cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        cores = min(cores, max(1, -(-int(quota) // int(period))))
    return cores


def available_memory() -> int | None:
    """Bytes that this process can still use without making the machine swap; None if unknown (not Linux)."""
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
    """The processor's name, as the operating system reports it."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else f"{platform.machine()} {platform.processor()}".strip()


def _control_group(name: str) -> str:
    """A value of this process's control group, as containers see it; empty if there is none."""
    try:
        return (Path("/sys/fs/cgroup") / name).read_text().strip()
    except OSError:
        return ""


def hold_standard_descriptors() -> None:
    """Makes standard streams that are closed lead nowhere, so that no file or pipe of ours gets their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
