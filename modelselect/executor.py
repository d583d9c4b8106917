"""Where candidates are processed: `Executor`, and `Outcome`, which is a value or a contained failure."""

from __future__ import annotations

import abc
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from modelselect.errors import Failure, InvalidInputError, contained

WORKER_DIED = "WorkerDied"
"""The error in the failure of an item whose process has ended. An estimator that was at work is then left out."""


class UnknownOptionError(InvalidInputError):
    """An executor has no option of this name.

    Attributes:
        executor: its name.
        option: the name that was given.
        known: names of the options that it has.
    """

    def __init__(self, executor: str, option: str, known: Sequence[str], *, called: str = "") -> None:
        self.executor, self.option, self.known, self.called = executor, option, tuple(known), called
        super().__init__(
            f"the executor {executor!r} has no {called or f'option {option!r}'}; it has: {', '.join(known) or 'none'}"
        )

    def __reduce__(self) -> Any:
        return partial(type(self), called=self.called), (self.executor, self.option, self.known)


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


@dataclass(frozen=True, slots=True)
class Needs:
    """What the work on one item takes of a machine. An executor that places work on machines asks for it.

    Attributes:
        memory: bytes.
        gpu: share of a GPU, from 0 to 1; 0 for none.
    """

    memory: int = 0
    gpu: float = 0.0


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

    def configured(self, **options: Any) -> Executor:
        """An executor like this one with these options, such as `timeout`, the seconds that one item may take.

        By default, its options are the arguments of its constructor that are also its attributes.

        Raises:
            UnknownOptionError: it has no such option.
            InvalidInputError: it refuses the value.
        """
        known = [name for name in inspect.signature(type(self)).parameters if hasattr(self, name)]
        for name in options:
            if name not in known:
                raise UnknownOptionError(self.name, name, known)
        return type(self)(**{name: getattr(self, name) for name in known} | options)

    @abc.abstractmethod
    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Outcome]:
        """Yields one outcome for each item, in completion order. A failure of one item never stops the others.

        The function may have a method `prepare(item)`, which does work that may be done before the item's turn, such
        as loading, and changes no result. An executor may call this method, in another thread, one item ahead.
        It may have a method `needs(item)`, which gives the `Needs` of the work on an item.
        """


def timed_out(item: Any, seconds: float) -> Outcome:
    """The outcome of an item that was stopped after this time."""
    reason = f"the item took longer than {seconds:g} s and was stopped; allow more time, or leave it out"
    return Outcome(item, failure=Failure("run", reason, "TimeoutError"))


def checked_timeout(timeout: Any) -> float | None:
    """Seconds that one item may take, as the shipped executors take them; None for no bound.

    Raises:
        InvalidInputError: it is no number above 0.
    """
    if timeout is None:
        return None
    try:
        seconds = float(timeout)
    except (TypeError, ValueError, OverflowError):
        seconds = 0.0
    if not seconds > 0:
        raise InvalidInputError(f"timeout is {timeout}; expected seconds above 0, or None")
    return seconds


def checked_workers(workers: Any) -> int:
    """The number of items that are processed at the same time, as the shipped executors take it.

    Raises:
        InvalidInputError: it is no whole number above 0.
    """
    try:
        number = int(workers)
    except (TypeError, ValueError, OverflowError):
        number = 0
    if number < 1:
        raise InvalidInputError(f"workers is {workers}; expected 1 or more")
    return number
