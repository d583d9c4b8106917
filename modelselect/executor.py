"""Where the work on candidates is done: `Executor`, and `Outcome`, which is a value or a contained failure."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from modelselect.errors import Failure


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one item: `value`, or `failure` with the reason.

    Attributes:
        item: what was given to the function.
        value: what it returned; None if it failed.
        failure: why it has no value; None if it has.
    """

    item: Any
    value: Any = None
    failure: Failure | None = None

    @classmethod
    def of(cls, function: Callable[[Any], Any], item: Any) -> Outcome:
        """Calls the function on the item; an exception becomes a failure, also sys.exit(); not so KeyboardInterrupt."""
        try:
            return cls(item, function(item))
        except (Exception, SystemExit) as error:
            return cls(item, failure=Failure.from_exception("run", error))


class Executor(abc.ABC):
    """Runs a function over items. Subclass it, and register an instance with `modelselect_register_executors`.

    Attributes:
        name: unique among executors.
        isolated: True if the function must be picklable and a crash costs one item only.
        workers: how many items are at work at a time.
    """

    name: ClassVar[str]
    isolated: ClassVar[bool] = False
    workers: int = 1

    def sized(self, workers: int) -> Executor:
        """One like this that works on so many items at a time; by default this one, which does not."""
        return self

    @abc.abstractmethod
    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Outcome]:
        """One outcome for each item, in completion order. What goes wrong with one item never stops the others.

        A function may have a method `prepare(item)`: it does ahead of an item's turn what does not need the turn, such
        as loading, and changes no result. An executor may call it, in another thread, at most one item ahead.
        """
