"""Processes candidates in this process, one after another: no start-up, no isolation."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import modelselect
from modelselect.executor import Executor, Outcome, checked_timeout, timed_out
from modelselect.host.patience import PluginTimeoutError, within


class Local(Executor):
    """Runs in this process, lazily and in the given order: an item starts when its outcome is requested.

    While one item is processed, a thread prepares the next, if the function supports this (see `Executor.map`).

    An exception costs one item. A crash (a segmentation fault, the out-of-memory killer) ends the whole run; the
    executor `process` prevents this.

    Args:
        timeout: maximum seconds for one item; None: no limit. An item is interrupted as `within` describes: in the main
            thread, on Unix, and when native code returns to Python. The executor `process` needs none of these.

    >>> [outcome.value for outcome in Local().map(abs, [-1, 2])]
    [1, 2]
    """

    name = "local"

    def __init__(self, *, timeout: float | None = None) -> None:
        self.timeout = checked_timeout(timeout)

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Outcome]:
        prepare = getattr(function, "prepare", None)
        if prepare is None:
            for item in items:
                yield self._outcome(function, item)
            return
        for item, ahead, is_late in self._each_prepared(prepare, iter(items)):
            yield timed_out(item, self.timeout or 0.0) if is_late else self._outcome(function, item, ahead)

    def _outcome(self, function: Callable[[Any], Any], item: Any, ahead: threading.Thread | None = None) -> Outcome:
        """The outcome of the item, once the thread that prepares it has ended. Both are interrupted after some time."""
        begun = time.monotonic()
        outcome = timed_out(item, self.timeout or 0.0)
        with contextlib.suppress(PluginTimeoutError), within(self.timeout or 0.0):
            if ahead is not None:
                ahead.join()
            outcome = Outcome.of(function, item)
        # The function may have caught the interruption, as it catches whatever a candidate raises.
        if self.timeout is not None and time.monotonic() - begun > self.timeout:
            return timed_out(item, self.timeout)
        return outcome

    def _each_prepared(
        self, prepare: Callable[[Any], None], items: Iterator[Any]
    ) -> Iterator[tuple[Any, threading.Thread | None, bool]]:
        """The items; the first after it was prepared, every other with the thread that prepares it.

        That thread begins when the item before is processed. The truth value says of the first item whether preparing
        it took too long.
        """
        begun = time.monotonic()
        ahead: threading.Thread | None = None
        is_late = False
        for item in items:
            with contextlib.suppress(PluginTimeoutError), within(self.timeout or 0.0):
                Outcome.of(prepare, item)  # a fault is reported when the item's turn comes
            is_late = self.timeout is not None and time.monotonic() - begun > self.timeout
            break
        else:
            return
        for following in items:
            # A daemon thread, so that an interrupt does not have to wait for a download.
            name = "modelselect-ahead"
            thread = threading.Thread(target=Outcome.of, args=(prepare, following), name=name, daemon=True)
            thread.start()
            yield item, ahead, is_late
            item, ahead, is_late = following, thread, False
        yield item, ahead, is_late


@modelselect.hookimpl
def modelselect_register_executors() -> list[Executor]:
    return [Local()]
