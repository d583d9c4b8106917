"""Processes candidates in this process, one after another: no start-up, no isolation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import modelselect
from modelselect.executor import Executor, Outcome


class Local(Executor):
    """Runs in this process, lazily and in the given order: an item starts when its outcome is requested.

    While one item is processed, a thread prepares the next, if the function supports this (see `Executor.map`).

    An exception costs one item. A crash (a segmentation fault, the out-of-memory killer) ends the whole run; the
    executor `process` prevents this.

    >>> [outcome.value for outcome in Local().map(abs, [-1, 2])]
    [1, 2]
    """

    name = "local"

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Outcome]:
        prepare = getattr(function, "prepare", None)
        for item in items if prepare is None else _each_prepared(prepare, iter(items)):
            yield Outcome.of(function, item)


def _each_prepared(prepare: Callable[[Any], None], items: Iterator[Any]) -> Iterator[Any]:
    """The items, each after it was prepared: the first at once, every other one while the one before is processed."""
    for item in items:
        Outcome.of(prepare, item)  # a fault is reported when the item's turn comes
        break
    else:
        return
    for following in items:
        # A daemon thread, so that an interrupt does not have to wait for a download.
        ahead = threading.Thread(target=Outcome.of, args=(prepare, following), name="modelselect-ahead", daemon=True)
        ahead.start()
        yield item
        ahead.join()
        item = following
    yield item


@modelselect.hookimpl
def modelselect_register_executors() -> list[Executor]:
    return [Local()]
