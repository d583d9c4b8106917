"""The global settings of this process that code of others may change: what they are now, and how to put them back."""

from __future__ import annotations

import contextlib
import os
import random
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ProcessState:
    """Working folder, environment, filters of warnings, random numbers, and settings of NumPy and torch.

    Attributes:
        thread: the thread that looked: gradients and NumPy's errors have settings in each thread.
        folder: None if it was deleted.
    """

    thread: int
    folder: str | None
    environment: dict[str, str]
    filters: list[Any]
    recursion: int
    generator: Any
    numpy: tuple[Any, Any] | None
    torch: tuple[Any, ...] | None

    @classmethod
    def now(cls) -> ProcessState:
        numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
        folder = None
        with contextlib.suppress(OSError):
            folder = os.getcwd()
        return cls(
            thread=threading.get_ident(),
            folder=folder,
            environment=dict(os.environ),
            filters=list(warnings.filters),
            recursion=sys.getrecursionlimit(),
            generator=random.getstate(),
            numpy=None if numpy is None else (numpy.random.get_state(legacy=False), numpy.geterr()),
            torch=None
            if torch is None
            else (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_rng_state(), torch.get_num_threads()),
        )

    def restore(self, *, imports: bool = False) -> None:
        """Puts back what has changed.

        Args:
            imports: whether libraries may have been imported meanwhile. What they set of the environment and of the
                filters of warnings then stays.
        """
        if self.folder is not None and self.folder != _folder():
            with contextlib.suppress(OSError):  # it has been deleted
                os.chdir(self.folder)
        if not imports and self.environment != dict(os.environ):
            os.environ.clear()
            os.environ.update(self.environment)
        if not imports and self.filters != list(warnings.filters):
            with contextlib.suppress(AttributeError):  # its only use: Python then forgets which warnings it has shown
                warnings._filters_mutated()  # type: ignore[attr-defined]  # noqa: SLF001 (none is public)
            warnings.filters[:] = self.filters  # type: ignore[index]
        if self.recursion != sys.getrecursionlimit():
            sys.setrecursionlimit(self.recursion)
        random.setstate(self.generator)
        same_thread = self.thread == threading.get_ident()
        if self.numpy is not None:
            numpy = sys.modules["numpy"]
            numpy.random.set_state(self.numpy[0])
            if same_thread:
                numpy.seterr(**self.numpy[1])
        if self.torch is not None:
            torch = sys.modules["torch"]
            dtype, gradients, generator, threads = self.torch
            if torch.get_default_dtype() != dtype:
                torch.set_default_dtype(dtype)
            if same_thread and torch.is_grad_enabled() != gradients:
                torch.set_grad_enabled(gradients)
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            torch.set_rng_state(generator)


@contextlib.contextmanager
def unchanged(*, imports: bool = False) -> Iterator[None]:
    """What code of others changes in this context is put back at its end; see `ProcessState.restore`."""
    before = ProcessState.now()
    try:
        yield
    finally:
        before.restore(imports=imports)


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None
