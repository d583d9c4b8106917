"""The global settings of this process that code of others may change: what they are now, and how to put them back."""

from __future__ import annotations

import contextlib
import gc
import itertools
import operator
import os
import random
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

T = TypeVar("T")

_TIMERS = [getattr(signal, name) for name in ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF") if hasattr(signal, name)]

_BOUNDED = tuple(
    getattr(resource, f"RLIMIT_{name}")
    for name in ("NOFILE", "FSIZE", "CPU", "AS", "DATA", "STACK", "NPROC")
    if hasattr(resource, f"RLIMIT_{name}")
)
"""What a plugin may bound for its own sake, and the run needs."""

_SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGALRM", "SIGHUP", "SIGCHLD", "SIGPIPE")
    if hasattr(signal, name)
]
"""What ends a run: Ctrl-C, batch systems, the bounds on plugins, a terminal; and what waiting for workers needs."""

_CALLED_BY_ALL = (
    *("builtins", "concurrent.futures", "contextlib", "copy", "functools", "hashlib", "io", "itertools", "json"),
    *("logging", "math", "operator", "os", "pickle", "random", "re", "shutil", "struct", "subprocess", "tempfile"),
    *("threading", "time", "warnings"),
    *("numpy", "numpy.linalg", "numpy.random", "scipy.linalg", "scipy.special", "scipy.stats"),
    *("torch", "torch.linalg", "torch.nn.functional"),
)
"""Modules whose functions all code calls: one that is replaced changes the numbers of others."""

_CLASSES_OF_ALL = (
    *(("pathlib", "Path"), ("logging", "Logger"), ("torch", "Tensor")),
    *(("torch.nn", "Module"), ("torch.nn", "Linear"), ("torch.nn", "Conv2d")),
)
"""Classes whose methods all code calls, each by module and name."""

_UMASK = re.compile(rb"^Umask:\s+([0-7]+)$", re.MULTILINE)

INTERPRETER_LOCK = threading.RLock()
"""Guards what all threads of this process share, while the next candidate is loaded before its turn. Model libraries
patch initialisers and the default dtype when they build a module. Catching an estimator's warnings changes the filters
of all threads. Fine-tuning draws from torch's random numbers, which all threads share. Nothing else may run while a
candidate is timed. A forward pass needs no lock, so loading overlaps with
it."""


@dataclass(frozen=True)
class ProcessState:
    """Folder, environment, modules, streams, signals, filters of warnings, random numbers, settings of libraries.

    Attributes:
        imports: whether libraries may be imported meanwhile. What they set of the environment, of the path of modules,
            of streams, of handlers, of the filters of warnings and of functions then stays.
        namespaces: of modules that all code calls, each with a copy.
        classes: that all code uses, each with a copy of its attributes.
        tracing: what follows new threads: one that raises ends them.
        collects: whether Python frees what lies in circles.
        stack: bytes of the stack of a new thread. Too few end the process.
        timers: seconds until each signal of a timer; 0 if none is set. It ends the process where nothing waits for it.
        bounds: what the system lets this process use, such as the number of open files.
        blocked: signals that do not reach this thread.
        umask: None if unknown (not Linux).
        thread: the thread that looked: gradients and NumPy's errors have settings in each thread.
        folder: None if it was deleted.
        modes: how many modes of torch, which follow each of its functions, this thread is in.
    """

    imports: bool
    thread: int
    folder: str | None
    environment: dict[str, str]
    path: list[str]
    modules: dict[str, ModuleType]
    namespaces: tuple[tuple[dict[str, Any], dict[str, Any]], ...]
    classes: tuple[tuple[type, dict[str, Any]], ...]
    streams: tuple[Any, Any]
    tracing: tuple[Any, Any]
    excepthook: Any
    blocked: set[int]
    umask: int | None
    handlers: dict[int, Any]
    filters: list[Any]
    stack: int
    timers: tuple[float, ...]
    bounds: tuple[Any, ...]
    recursion: int
    collects: bool
    generator: Any
    numpy: tuple[Any, Any] | None
    torch: tuple[Any, ...] | None
    modes: tuple[int, int]

    @classmethod
    def now(cls, *, imports: bool = False) -> ProcessState:
        numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
        return cls(
            imports=imports,
            thread=threading.get_ident(),
            folder=_folder(),
            environment={} if imports else dict(os.environ),
            path=list(sys.path),
            modules=sys.modules.copy(),
            namespaces=() if imports else tuple((names, names.copy()) for names in _namespaces()),
            classes=() if imports else tuple((kind, dict(vars(kind))) for kind in _classes()),
            streams=(sys.stdout, sys.stderr),
            tracing=(threading.gettrace(), threading.getprofile()),
            excepthook=sys.excepthook,
            blocked=_blocked(),
            umask=_umask(),
            handlers={number: signal.getsignal(number) for number in _SIGNALS},
            filters=list(warnings.filters),
            stack=threading.stack_size(),
            timers=_timers(),
            bounds=_bounds(),
            recursion=sys.getrecursionlimit(),
            collects=gc.isenabled(),
            generator=random.getstate(),
            numpy=None if numpy is None else (numpy.random.get_state(legacy=False), numpy.geterr()),
            torch=None if torch is None else tuple(setting.read() for setting in _settings_of(torch)),
            modes=(0, 0) if torch is None else _modes(torch),
        )

    def restore(self) -> None:
        """Puts back what has changed."""
        _set_if_changed(_bounds, _set_bounds, self.bounds)  # first: the rest needs memory
        if not self.imports:
            self._restore_functions()
        if self.folder is not None and self.folder != _folder():
            with contextlib.suppress(OSError):  # it has been deleted
                os.chdir(self.folder)
        if list(itertools.islice(sys.modules, len(self.modules))) != list(self.modules):  # new ones come last
            for name in self.modules.keys() - sys.modules.keys():
                sys.modules[name] = self.modules[name]
        if not self.imports:
            self._restore_what_imports_change()
        threading.settrace(self.tracing[0])
        threading.setprofile(self.tracing[1])
        sys.excepthook = self.excepthook
        for timer, before, now in zip(_TIMERS, self.timers, _timers(), strict=True):
            if before == 0.0 and now > 0.0:
                signal.setitimer(timer, 0.0)
        _set_if_changed(_umask, os.umask, self.umask)
        _set_if_changed(threading.stack_size, threading.stack_size, self.stack)
        _set_if_changed(sys.getrecursionlimit, sys.setrecursionlimit, self.recursion)
        _set_if_changed(gc.isenabled, _set_collecting, self.collects)
        random.setstate(self.generator)
        same_thread = self.thread == threading.get_ident()
        if self.numpy is not None:
            numpy = sys.modules["numpy"]
            numpy.random.set_state(self.numpy[0])
            if same_thread:
                numpy.seterr(**self.numpy[1])
        if self.torch is not None:
            self._restore_torch(same_thread=same_thread)

    def _restore_torch(self, *, same_thread: bool) -> None:
        assert self.torch is not None
        if same_thread:
            _leave_modes(sys.modules["torch"], self.modes)
        for setting, before in zip(_settings_of(sys.modules["torch"]), self.torch, strict=True):
            if (same_thread or not setting.of_thread) and not setting.is_same(setting.read(), before):
                setting.write(before)

    def _restore_functions(self) -> None:
        for names, before in self.namespaces:
            if not _are_same(names, before):
                names.update({n: v for n, v in before.items() if not n.startswith("_") or n == "__import__"})
        for kind, attributes in self.classes:
            now = dict(vars(kind))
            for name in now.keys() - attributes.keys():
                if any(name in vars(base) for base in kind.__mro__[1:]):  # else a library has added it, and may need it
                    delattr(kind, name)
            for name, value in attributes.items():
                if now.get(name) is not value:
                    setattr(kind, name, value)

    def _restore_what_imports_change(self) -> None:
        if not _are_same(self.modules, sys.modules):
            sys.modules.update(self.modules)
        sys.stdout, sys.stderr = self.streams
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
            if self.thread == threading.get_ident() and self.blocked != _blocked():
                signal.pthread_sigmask(signal.SIG_SETMASK, self.blocked)
            for number, handler in self.handlers.items():
                if handler is not None and signal.getsignal(number) is not handler:
                    signal.signal(number, handler)


@contextlib.contextmanager
def unchanged(*, imports: bool = False) -> Iterator[None]:
    """What code of others changes in this context is put back at its end; see `ProcessState`.

    No other thread can be in such a context at the same time: it would see what is changed, and draw from the same
    random numbers.

    Args:
        imports: whether libraries may be imported meanwhile.
    """
    with INTERPRETER_LOCK:
        before = ProcessState.now(imports=imports)
        try:
            yield
        finally:
            before.restore()


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
    yield _Setting(
        partial(torch.is_autocast_enabled, "cpu"), partial(torch.set_autocast_enabled, "cpu"), of_thread=True
    )
    yield _Setting(torch.get_num_threads, torch.set_num_threads)
    yield _Setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision)
    yield _Setting(torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms)
    yield _Setting(torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly)
    for library, name in (
        ("mkldnn", "enabled"),
        ("cudnn", "enabled"),
        ("cudnn", "benchmark"),
        ("cudnn", "deterministic"),
    ):
        backend = getattr(torch.backends, library)
        yield _Setting(partial(getattr, backend, name), partial(setattr, backend, name))
    for name, held in vars(torch.nn.modules.module).items():
        if name.startswith("_global_") and isinstance(held, dict):  # hooks on every module
            yield _Setting(held.copy, partial(_fill, held))
    yield _Setting(torch.get_rng_state, torch.set_rng_state, is_same=torch.equal)


def _fill(held: dict[Any, Any], before: Mapping[Any, Any]) -> None:
    held.clear()
    held.update(before)


def _modes(torch: Any) -> tuple[int, int]:
    return torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack()  # noqa: SLF001 (none is public)


def _leave_modes(torch: Any, before: tuple[int, int]) -> None:
    """Leaves the modes that this thread has entered since, all but that of the default device, which is a setting."""
    functions, dispatch = torch._C._len_torch_function_stack, torch._C._len_torch_dispatch_stack  # noqa: SLF001
    while dispatch() > before[1]:
        torch.utils._python_dispatch._pop_mode()  # noqa: SLF001
    entered = [torch.overrides._pop_mode() for _ in range(functions() - before[0])]  # noqa: SLF001
    for mode in reversed(entered):
        if isinstance(mode, torch.utils._device.DeviceContext):  # noqa: SLF001
            torch.overrides._push_mode(mode)  # noqa: SLF001


def _timers() -> tuple[float, ...]:
    return tuple(signal.getitimer(timer)[0] for timer in _TIMERS)


def _set_collecting(collects: bool) -> None:
    (gc.enable if collects else gc.disable)()


def _bounds() -> tuple[Any, ...]:
    return () if resource is None else tuple(resource.getrlimit(kind) for kind in _BOUNDED)


def _set_bounds(before: tuple[Any, ...]) -> None:
    """Sets what the process may use as before, as far as the system allows it."""
    assert resource is not None
    for kind, (soft, _) in zip(_BOUNDED, before, strict=True):
        with contextlib.suppress(ValueError, OSError):
            hard = resource.getrlimit(kind)[1]
            resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


def _namespaces() -> list[dict[str, Any]]:
    return [vars(sys.modules[name]) for name in _CALLED_BY_ALL if sys.modules.get(name) is not None]


def _are_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether both hold the same things. It takes microseconds, which looking at each name would not."""
    try:
        return bool(one == other)
    except Exception:  # a replaced thing may compare in any way
        return False


def _classes() -> list[type]:
    found = (getattr(sys.modules.get(module), name, None) for module, name in _CLASSES_OF_ALL)
    return [kind for kind in found if isinstance(kind, type)]


def _set_if_changed(read: Callable[[], T | None], write: Callable[[T], object], before: T | None) -> None:
    if before is not None and read() != before:
        write(before)


def _blocked() -> set[int]:
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, ())) if hasattr(signal, "pthread_sigmask") else set()


def _umask() -> int | None:
    """As Linux tells it; elsewhere it could be read only by changing it, for other threads too."""
    try:
        status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = _UMASK.search(os.read(status, 512))  # it is the second line, after the name
    finally:
        os.close(status)
    return None if found is None else int(found[1], 8)
