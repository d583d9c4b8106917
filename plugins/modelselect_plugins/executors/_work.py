"""What executors share that run items in other processes: pickled functions, outcomes and log records."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from logging.handlers import QueueHandler
from typing import Any

from modelselect.errors import Failure, InvalidInputError, message_of
from modelselect.executor import WORKER_DIED, Outcome

LOGGER = logging.getLogger("modelselect")
"""Records of this logger, and of those below it, go from the workers to the loggers of the same names here."""

UNUSABLE = (
    "the function cannot be {} ({}). Define it at the top level of a module that can be imported (not in a notebook), "
    "or use the executor 'local'."
)


class RecordSender(QueueHandler):
    """Sends log records to the main process, but none of the processes that this one forks off."""

    def __init__(self, send: Callable[[logging.LogRecord], None]) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self._send, self._process = send, os.getpid()

    def enqueue(self, record: logging.LogRecord) -> None:
        if os.getpid() == self._process:
            self._send(record)


def pickled(value: Any) -> bytes:
    """The value by pickle, in the newest form, which copies arrays once."""
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def pickled_function(function: Callable[[Any], Any], dumps: Callable[[Any], bytes] = pickled) -> bytes:
    """The function as it is sent to workers.

    Raises:
        InvalidInputError: it cannot be pickled.
    """
    try:
        return dumps(function)
    except Exception as error:
        raise InvalidInputError(UNUSABLE.format("sent to a worker process", first_line(error))) from error


def sendable(
    items: Iterable[Any], unsent: list[Outcome], dumps: Callable[[Any], bytes] = pickled
) -> Iterator[tuple[Any, bytes]]:
    """Each item and what is sent of it to workers. Of an item that cannot be pickled, the outcome goes to `unsent`."""
    for item in items:
        try:
            content = dumps(item)
        except Exception as error:
            reason = f"the item cannot be sent to a worker process ({first_line(error)})"
            unsent.append(failed(item, reason, type(error).__name__))
        else:
            yield item, content


def received(content: bytes) -> Any:
    """In the worker: the item.

    Raises:
        InvalidInputError: it cannot be loaded here.
    """
    try:
        return pickle.loads(content)
    except Exception as error:
        raise InvalidInputError(f"the item cannot be loaded in a worker process ({first_line(error)})") from error


def run_pickled(function: Callable[[Any], Any], content: bytes) -> bytes:
    """In the worker: calls the function on the item, and gives its value and failure as they are sent back."""
    outcome = Outcome.of(lambda sent: function(received(sent)), content)
    try:
        return pickled((outcome.value, outcome.failure))
    except Exception as error:
        returned = type(outcome.value).__qualname__
        reason = f"the function returned a {returned} that cannot be sent from the worker process ({first_line(error)})"
        return pickled((None, Failure("run", reason, type(error).__name__)))


def outcome_of(item: Any, answer: bytes) -> Outcome:
    """The outcome that a worker has sent."""
    try:
        value, failure = pickle.loads(answer)
        if not isinstance(failure, Failure | None):
            raise TypeError(f"a {type(failure).__qualname__} is in the place of a failure")
    except Exception as error:
        reason = f"the result cannot be read from the worker process ({first_line(error)})"
        return failed(item, reason, type(error).__name__)
    return Outcome(item, value, failure)


def failed(item: Any, reason: str, error: str = WORKER_DIED) -> Outcome:
    return Outcome(item, failure=Failure("run", reason, error))


def first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(message_of(error).strip().splitlines() or ['no message'])[0]}"
