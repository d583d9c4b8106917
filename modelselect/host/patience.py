"""How long the host waits for the code of a plugin."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

from modelselect.errors import InvalidInputError, PluginError

SECONDS_VARIABLE = "MODELSELECT_PLUGIN_SECONDS"
"""Seconds for the import of a plugin, each hook that registers something, and each question to a zoo. 0: no bound."""

LOAD_SECONDS = 20.0
"""The bound where the variable is not set."""

SCORE_VARIABLE = "MODELSELECT_SCORE_SECONDS"
"""Seconds for one score of an estimator of a plugin, and for combining its scores of a pool. 0: no bound."""

SCORE_SECONDS = 3600.0
"""The bound where the variable is not set."""

SEARCH_VARIABLE = "MODELSELECT_SEARCH_SECONDS"
"""Seconds for one search of a zoo of a plugin. 0: no bound."""

SEARCH_SECONDS = 600.0
"""The bound where the variable is not set. A zoo may have to ask a slow server for many pages."""

EVENT_SECONDS = 300.0
"""Seconds for a hook that hears of an event. Such a hook may send results somewhere."""

AGAIN_SECONDS = 1.0
"""Code that catches the first interruption is interrupted again after this time."""


class PluginTimeoutError(PluginError):
    """A plugin did not answer in time."""


class _Interrupted(BaseException):
    """Raised inside the code of a plugin. It is no `Exception`, so that `except Exception` does not catch it."""


def load_seconds() -> float:
    """The bound for an import, a registration or a question.

    Raises:
        InvalidInputError: the variable holds no number.
    """
    return _seconds_in(SECONDS_VARIABLE, LOAD_SECONDS)


def score_seconds() -> float:
    """The bound for one score.

    Raises:
        InvalidInputError: the variable holds no number.
    """
    return _seconds_in(SCORE_VARIABLE, SCORE_SECONDS)


def search_seconds() -> float:
    """The bound for one search.

    Raises:
        InvalidInputError: the variable holds no number.
    """
    return _seconds_in(SEARCH_VARIABLE, SEARCH_SECONDS)


def _seconds_in(variable: str, default: float) -> float:
    given = os.environ.get(variable) or default
    try:
        return float(given)
    except ValueError:
        raise InvalidInputError(
            f"{variable} is {given!r}, but has to be a number of seconds; 0 means no bound"
        ) from None


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Code of a plugin that is interrupted after `seconds`.

    The interruption is a timer of the system, which works in the main thread and on Unix. In another thread, on
    Windows, and where the program uses SIGALRM itself, the code is not interrupted. Native code is interrupted when it
    returns to Python.

    Raises:
        PluginTimeoutError: the code took longer.

    >>> import time
    >>> try:
    ...     with within(0.01):
    ...         time.sleep(10)
    ... except PluginTimeoutError as error:
    ...     print(error)
    it took more than 0.01 s
    """
    if (
        seconds <= 0
        or not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGALRM) != signal.SIG_DFL
    ):
        yield
        return
    fired: list[int] = []

    def interrupt(number: int, frame: Any) -> None:
        fired.append(number)
        raise _Interrupted

    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
    try:
        yield
    except BaseException as error:
        if not fired or isinstance(error, KeyboardInterrupt):
            raise
        raise PluginTimeoutError(f"it took more than {seconds:g} s") from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if signal.getsignal(signal.SIGALRM) is interrupt:  # the code may have set a handler of its own
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
