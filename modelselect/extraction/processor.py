"""The processor as networks run fastest on it: the memory that a layer frees is kept for the next one."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
from collections.abc import Iterator

from modelselect.utils.system import usable_cores

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
"""Parameters of `mallopt` (malloc.h of the GNU C library)."""

_SETTINGS = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 << 20))
"""Large blocks come from the heap, too, and not from the operating system; the heap does not shrink by itself, and it
grows by 64 MiB at least."""

_VARIABLES = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")


@contextlib.contextmanager
def ready_processor() -> Iterator[None]:
    """Networks run on the processor: freed memory is kept, and torch has no more threads than there are usable cores.

    The number of threads is restored afterwards.
    """
    import torch

    keeps_freed_memory()
    threads = torch.get_num_threads()
    torch.set_num_threads(min(threads, usable_cores()))  # in a container, torch counts all cores of the machine
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@functools.cache
def keeps_freed_memory() -> bool:
    """Makes this process keep the memory that it frees, once; True if that works (Linux with the GNU C library).

    Otherwise the C library gets every large block from the operating system and gives it back when it is freed. So
    each layer of a network gets pages that the operating system has to clear first, which can take a third of the time
    of a forward pass and of training. `give_memory_back` returns what is kept.

    A user's own settings count more: `MALLOC_MMAP_MAX_`, `MALLOC_MMAP_THRESHOLD_`, `MALLOC_TRIM_THRESHOLD_`,
    `MALLOC_TOP_PAD_`, or `glibc.malloc` in `GLIBC_TUNABLES`. If one is set, nothing changes.
    """
    if any(variable in os.environ for variable in _VARIABLES):
        return False
    if "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    library = _gnu_library()
    return library is not None and all(library.mallopt(*setting) == 1 for setting in _SETTINGS)


def give_memory_back() -> None:
    """Returns the memory that this process has freed to the operating system, where `keeps_freed_memory` kept it."""
    if keeps_freed_memory.cache_info().currsize and keeps_freed_memory():
        library = _gnu_library()
        assert library is not None
        library.malloc_trim(0)


def _gnu_library() -> ctypes.CDLL | None:
    """The C library of this process, if it is the GNU C library."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
