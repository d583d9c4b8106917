"""Work on candidates in this very process, one after another: no start-up, no isolation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import modelselect
from modelselect.executor import Executor, Outcome


class Local(Executor):
    """Runs in this process, lazily and in the order given: an item starts when its outcome is asked for.

    An exception costs one item. A crash (a segmentation fault, the out-of-memory killer) ends the whole run: for code
    that one does not trust that far, there is `process`.

    >>> [outcome.value for outcome in Local().map(abs, [-1, 2])]
    [1, 2]
    """

    name = "local"

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Outcome]:
        for item in items:
            yield Outcome.of(function, item)


@modelselect.hookimpl
def modelselect_register_executors() -> list[Executor]:
    return [Local()]
