"""A setting of the process that several threads change for some time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SharedChange(Generic[T]):
    """The first thread that needs the change makes it, and the last puts back what was before.

    If each put back what it had found, one would take it from the others, and the last would leave it for ever.

    Args:
        read: the setting as it is.
        write: sets it.
        changed: from the setting as it is, what it has to be.

    >>> limit = {"rows": 5}
    >>> unlimited = SharedChange(lambda: limit["rows"], lambda rows: limit.update(rows=rows), lambda rows: None)
    >>> with unlimited.made():
    ...     print(limit, unlimited.usual())
    {'rows': None} 5
    >>> limit
    {'rows': 5}
    """

    def __init__(self, read: Callable[[], T], write: Callable[[T], object], changed: Callable[[T], T]) -> None:
        self._read, self._write, self._changed = read, write, changed
        self._lock = threading.Lock()
        self._needed = 0
        self._before: Any = None

    def usual(self) -> T:
        """The setting, as it is when no thread has changed it."""
        with self._lock:
            return self._before if self._needed else self._read()

    @contextlib.contextmanager
    def made(self) -> Iterator[None]:
        """In this context, the change is made."""
        with self._lock:
            if not self._needed:
                self._before = self._read()
                self._write(self._changed(self._before))
            self._needed += 1
        try:
            yield
        finally:
            with self._lock:
                self._needed -= 1
                if not self._needed:
                    self._write(self._before)
