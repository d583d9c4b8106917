"""Processes candidates in separate processes: a crash, a hang or a kill costs one item and nothing else.

Pebble's pool was tried in place of what is written here (5.2): a worker that dies while it is idle, or a byte that does
not belong into the pipe, ends its whole pool, and what a worker has started outlives it.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn

import modelselect
from modelselect.errors import InvalidInputError, ModelSelectError
from modelselect.executor import Executor, Outcome, checked_timeout, checked_workers, timed_out
from modelselect.utils.system import hold_standard_descriptors
from modelselect_plugins.executors._work import (
    LOGGER,
    UNUSABLE,
    RecordSender,
    failed,
    first_line,
    outcome_of,
    pickled_function,
    run_pickled,
    sendable,
)

_LOOK_ROUND = 1.0
"""Seconds between checks of silent workers: a worker's own child process can hide its death from `wait`."""

_GRACE = 5.0
"""Seconds that an idle worker has to end by itself."""

_CRASHES = frozenset({"SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT"})

_CANNOT_START = (
    "no worker process can start: the first one {}. In a script, put the calls of modelselect under "
    "`if __name__ == '__main__':`; otherwise look at the process's messages on stderr, or use the executor 'local'."
)


class Process(Executor):
    """Runs in spawned worker processes, each of which processes one item after another.

    A worker that dies (by a segmentation fault, the out-of-memory killer, `os._exit`) or takes too long costs only its
    present item; a new worker is started and the rest continues. If a worker that died had processed other items
    before, its present item is tried once more in a new one, since its death may be a late effect of those. The
    function, the items and the results must be picklable. What the workers print goes to standard error, and what they
    log under `modelselect` to the logger of the same name here. If the iterator is closed early, or this process is
    interrupted or dies, the workers and everything that they started are ended.

    As with every use of spawned processes, a script needs `if __name__ == "__main__":`. Workers cannot use
    `multiprocessing` themselves (no `DataLoader` with workers of its own).

    Args:
        workers: number of processes; each loads its own libraries and models.
        timeout: maximum seconds for one item; None: no limit.

    >>> [outcome.value for outcome in Process().map(abs, [-1, 2])]
    [1, 2]
    """

    name = "process"
    isolated = True

    def __init__(self, *, workers: int = 1, timeout: float | None = None) -> None:
        self.workers, self.timeout = checked_workers(workers), checked_timeout(timeout)

    def sized(self, workers: int) -> Process:
        return Process(workers=workers, timeout=self.timeout)

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Outcome]:
        """One outcome for each item, in completion order.

        Raises:
            InvalidInputError: the function cannot be pickled here or loaded in a worker.
            ModelSelectError: not even the first worker could start.
        """
        return self._outcomes(pickled_function(function), iter(items))

    def _outcomes(self, function: bytes, items: Iterator[Any]) -> Iterator[Outcome]:
        idle: list[_Worker] = []
        busy: list[_Worker] = []
        finished: list[Outcome] = []
        ready = sendable(items, finished)
        proven = False
        try:
            while True:
                while len(busy) < self.workers and (task := next(ready, None)):
                    busy.append(idle.pop() if idle else _Worker(function))
                    busy[-1].give(*task)
                yield from finished  # while the workers go on
                finished.clear()
                if not busy:
                    return
                _wait(busy, self.timeout)
                for worker in list(busy):
                    try:
                        outcome = worker.news(self.timeout)
                    except _BlamelessError as death:
                        busy.remove(worker)
                        if worker.experienced:
                            name = getattr(worker.item, "id", worker.item)
                            LOGGER.warning("%s is tried again in a new process: the worker process %s", name, death)
                            busy.append(_Worker(function))
                            busy[-1].give(worker.item, worker.pickled)
                        elif proven:
                            finished.append(failed(worker.item, f"the worker process {death} while it started"))
                        else:
                            raise ModelSelectError(_CANNOT_START.format(death)) from None
                        continue
                    proven = proven or worker.begun_at is not None
                    if outcome:
                        busy.remove(worker)
                        finished.append(outcome)
                        if worker.alive:
                            idle.append(worker)
        finally:
            for worker in busy:
                worker.kill()
            _dismiss(idle)


class _BlamelessError(Exception):
    """A worker died, and its present item need not be the cause: it had not begun it, or had processed others."""


class _Worker:
    """A process and its item.

    The process answers every item with `begun` and then `done`, and with a `record` for each log record between them;
    it answers a function that it cannot load with `unusable`, and says `exits` before Python code in it ends it. An
    answer names the process and counts its items. One of another process or of another item, such as that of a process
    which the function forked off, is passed over.
    """

    item: Any
    pickled: bytes

    def __init__(self, function: bytes) -> None:
        hold_standard_descriptors()  # the worker would take a pipe for its standard output
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        given = theirs, function, LOGGER.getEffectiveLevel()
        self.process = context.Process(target=_work, args=given, name="modelselect-worker", daemon=True)
        self.process.start()
        theirs.close()
        self.alive = True
        self.experienced = False
        self.begun_at: float | None = None
        self.given = 0
        self.last_words = ""

    def give(self, item: Any, pickled: bytes) -> None:
        self.item, self.pickled, self.begun_at = item, pickled, None
        self.given += 1
        with contextlib.suppress(OSError):  # the process is dead, which `news` will report
            self.connection.send_bytes(pickled)

    def news(self, timeout: float | None) -> Outcome | None:
        """The result for the item; None while the process works on it.

        Raises:
            _BlamelessError: the process died, and the item need not be the cause.
            InvalidInputError: the process cannot load the function.
        """
        ended = self.process.exitcode is not None  # checked first: earlier messages are still in the pipe
        try:
            while self.connection.poll():
                try:
                    kind, sender, number, payload = self.connection.recv()
                except (EOFError, OSError):
                    raise
                except Exception as error:  # two processes wrote at once, or something else than the worker did
                    self.kill()
                    reason = f"the worker process sent what cannot be read ({first_line(error)})"
                    return failed(self.item, reason, type(error).__name__)
                if (sender, number) != (self.process.pid, self.given):
                    continue
                if kind == "unusable":
                    raise InvalidInputError(UNUSABLE.format("loaded in a worker process", payload.decode()))
                if kind == "done":
                    self.experienced = True
                    return outcome_of(self.item, payload)
                if kind == "exits":
                    self.last_words = payload
                    continue
                if kind == "record":
                    logging.getLogger(payload.name).handle(payload)
                    continue
                self.begun_at = time.monotonic()
        except (EOFError, OSError):
            ended = True
        if ended:
            return self._dead()
        if timeout is not None and self.begun_at is not None and time.monotonic() - self.begun_at > timeout:
            self.kill()
            return timed_out(self.item, timeout)
        return None

    def kill(self) -> None:
        """Ends the process, and everything that it started, at once."""
        if hasattr(os, "killpg") and self.process.pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.connection.close()
        self.alive = False

    def _dead(self) -> Outcome:
        self.process.join(_GRACE)  # the process may close the pipe a moment before it ends
        exitcode = self.process.exitcode
        self.kill()  # ends what the process has started
        cause = _cause_of_death(exitcode) + self.last_words
        is_out_of_memory = exitcode == -signal.SIGKILL  # most likely, and then the item needs too much of it again
        if self.begun_at is None or (self.experienced and not is_out_of_memory):
            raise _BlamelessError(cause)
        return failed(self.item, f"the worker process {cause}")


def _cause_of_death(exitcode: int | None) -> str:
    if exitcode is None:
        return "closed its connection"
    if exitcode >= 0:
        return f"ended with exit code {exitcode}"
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:
        name = f"signal {-exitcode}"
    if name == "SIGKILL":
        return "was killed by SIGKILL: most likely memory ran out; use a smaller batch size or fewer workers"
    return f"was killed by {name}" + (": native code crashed" if name in _CRASHES else "")


def _wait(busy: list[_Worker], timeout: float | None) -> None:
    """Waits until a worker has sent something, has died, or may have run out of time."""
    seconds = _LOOK_ROUND if timeout is None else min(_LOOK_ROUND, timeout / 4)
    wait([*(worker.connection for worker in busy), *(worker.process.sentinel for worker in busy)], seconds)


def _dismiss(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.connection.close()  # the workers notice the end of the work, and end
    until = time.monotonic() + _GRACE
    for worker in workers:
        worker.process.join(max(until - time.monotonic(), 0))
        worker.kill()


# --- in the worker ---------------------------------------------------------------------------------------------------


def _work(connection: Connection, pickled_function: bytes, level: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles interrupts and ends its workers
    os.dup2(2, 1)  # standard output is for the parent's result only; also redirects native code
    sys.stdout = sys.stderr
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # so that it can be ended together with the processes that it starts
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        function = pickle.loads(pickled_function)
    except Exception as error:
        connection.send(("unusable", os.getpid(), 1, first_line(error).encode()))
        return

    number, one_at_a_time = 0, threading.RLock()

    def send(kind: str, payload: Any) -> None:
        with one_at_a_time:  # threads may log
            connection.send((kind, os.getpid(), number, payload))

    LOGGER.addHandler(RecordSender(partial(send, "record")))
    LOGGER.setLevel(level)
    LOGGER.propagate = False
    _name_who_exits(partial(send, "exits"))
    while True:
        number += 1
        try:
            pickled = connection.recv_bytes()
        except (EOFError, OSError):
            return
        send("begun", b"")
        send("done", run_pickled(function, pickled))


def _name_who_exits(say: Callable[[str], None]) -> None:
    """Calls of `os._exit` in this process first say where they are."""
    end, process = os._exit, os.getpid()

    def say_and_end(status: int) -> NoReturn:
        if os.getpid() == process:  # and not in a process that it has forked off
            caller = traceback.extract_stack(limit=2)[0]
            with contextlib.suppress(OSError):  # nobody listens any more
                say(f": os._exit was called in {caller.filename}, line {caller.lineno}")
        end(status)

    os._exit = say_and_end


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        if hasattr(os, "killpg"):
            os.killpg(0, signal.SIGKILL)
        os._exit(1)


@modelselect.hookimpl
def modelselect_register_executors() -> list[Executor]:
    return [Process()]
