"""Where candidates are processed: `Executor`, and `Outcome`, which is a value or a contained failure."""

from __future__ import annotations

import abc
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from modelselect.errors import Failure, contained


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result for one item: `value`, or `failure` with the reason.

    Attributes:
        item: the argument of the function.
        value: what the function returned; None if it failed.
        failure: why there is no value; None if there is one.
    """

    item: Any
    value: Any = None
    failure: Failure | None = None

    @classmethod
    def of(cls, function: Callable[[Any], Any], item: Any) -> Outcome:
        """Calls the function on the item. Whatever it raises becomes a failure, except KeyboardInterrupt.

        A process that the function forks off and that returns from it ends here: only its parent gives an outcome.
        """
        process = os.getpid()
        try:
            with contained():
                return cls(item, function(item))
        except Exception as error:
            return cls(item, failure=Failure.from_exception("run", error))
        finally:
            if os.getpid() != process:
                os._exit(0)


class Executor(abc.ABC):
    """Runs a function over items. Subclass it, and register an instance with `modelselect_register_executors`.

    Attributes:
        name: unique among executors.
        isolated: True if the function must be picklable and a crash costs only one item.
        workers: how many items are processed at the same time.
    """

    name: ClassVar[str]
    isolated: ClassVar[bool] = False
    workers: int = 1

    def sized(self, workers: int) -> Executor:
        """An executor like this one with this number of workers. By default the executor itself, unchanged."""
        return self

    @abc.abstractmethod
    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Outcome]:
        """Yields one outcome for each item, in completion order. A failure of one item never stops the others.

        The function may have a method `prepare(item)`, which does work that may be done before the item's turn, such
        as loading, and changes no result. An executor may call this method, in another thread, one item ahead.
        """
