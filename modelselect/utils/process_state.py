"""The global settings of this process that code of others may change: what they are now, and how to put them back."""

from __future__ import annotations

import contextlib
import operator
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

_INTERRUPTIONS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGALRM") if hasattr(signal, name)]
"""What ends a run: Ctrl-C, batch systems, and the bounds on plugins."""


@dataclass(frozen=True)
class ProcessState:
    """Working folder, environment, modules, handlers, filters of warnings, random numbers, settings of NumPy and torch.

    Attributes:
        thread: the thread that looked: gradients and NumPy's errors have settings in each thread.
        folder: None if it was deleted.
    """

    thread: int
    folder: str | None
    environment: dict[str, str]
    path: list[str]
    modules: dict[str, ModuleType]
    excepthook: Any
    handlers: dict[int, Any]
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
            path=list(sys.path),
            modules=_modules(),
            excepthook=sys.excepthook,
            handlers={number: signal.getsignal(number) for number in _INTERRUPTIONS},
            filters=list(warnings.filters),
            recursion=sys.getrecursionlimit(),
            generator=random.getstate(),
            numpy=None if numpy is None else (numpy.random.get_state(legacy=False), numpy.geterr()),
            torch=None if torch is None else tuple(setting.read() for setting in _settings_of(torch)),
        )

    def restore(self, *, imports: bool = False) -> None:
        """Puts back what has changed.

        Args:
            imports: whether libraries may have been imported meanwhile. What they set of the environment, of the path
                of modules, of handlers and of the filters of warnings then stays.
        """
        if self.folder is not None and self.folder != _folder():
            with contextlib.suppress(OSError):  # it has been deleted
                os.chdir(self.folder)
        if not _are_same(self.modules, sys.modules):
            for name in self.modules.keys() - sys.modules.keys():
                sys.modules[name] = self.modules[name]
        if not imports:
            self._restore_what_imports_change()
        sys.excepthook = self.excepthook
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
            settings = zip(_settings_of(sys.modules["torch"]), self.torch, strict=True)
            for setting, before in settings:
                if (same_thread or not setting.of_thread) and not setting.is_same(setting.read(), before):
                    setting.write(before)

    def _restore_what_imports_change(self) -> None:
        if self.path != sys.path:
            sys.path[:] = self.path
        if self.environment != dict(os.environ):
            os.environ.clear()
            os.environ.update(self.environment)
        if self.filters != list(warnings.filters):
            with contextlib.suppress(AttributeError):  # its only use: Python then forgets which warnings it has shown
                warnings._filters_mutated()  # type: ignore[attr-defined]  # noqa: SLF001 (none is public)
            warnings.filters[:] = self.filters  # type: ignore[index]
        if threading.current_thread() is threading.main_thread():
            for number, handler in self.handlers.items():
                if handler is not None and signal.getsignal(number) is not handler:
                    signal.signal(number, handler)


@contextlib.contextmanager
def unchanged(*, imports: bool = False) -> Iterator[None]:
    """What code of others changes in this context is put back at its end; see `ProcessState.restore`."""
    before = ProcessState.now()
    try:
        yield
    finally:
        before.restore(imports=imports)


class _Setting(NamedTuple):
    """A global setting of torch: how it is read, written and compared, and whether each thread has its own."""

    read: Callable[[], Any]
    write: Callable[[Any], object]
    of_thread: bool = False
    is_same: Callable[[Any, Any], bool] = operator.eq


def _settings_of(torch: Any) -> Iterator[_Setting]:
    """The default device comes first: what is read after it lies there."""
    yield _Setting(
        torch.get_default_device,
        lambda device: torch.set_default_device(None if device.type == "cpu" else device),
        of_thread=True,
    )
    yield _Setting(torch.get_default_dtype, torch.set_default_dtype)
    yield _Setting(torch.is_grad_enabled, torch.set_grad_enabled, of_thread=True)
    yield _Setting(torch.get_num_threads, torch.set_num_threads)
    yield _Setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision)
    yield _Setting(torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms)
    yield _Setting(torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly)
    yield _Setting(torch.get_rng_state, torch.set_rng_state, is_same=torch.equal)


def _modules() -> dict[str, ModuleType]:
    """A copy of the imported modules, which others may hold, too: nobody changes it."""
    global _copied  # a copy of thousands of modules takes half a millisecond
    if not _are_same(_copied, sys.modules):
        _copied = dict(sys.modules)
    return _copied


_copied: dict[str, ModuleType] = {}


def _are_same(copied: dict[str, ModuleType], modules: dict[str, ModuleType]) -> bool:
    """Whether no module was added or removed since the copy was made.

    What is imported, also again, comes last; so the last one and the number of all show it.
    """
    if len(copied) != len(modules):
        return False
    (name, last), (name_now, last_now) = next(reversed(copied.items())), next(reversed(modules.items()))
    return name == name_now and last is last_now


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None
