"""Standard output belongs to the answer: what plugins and libraries print meanwhile goes to standard error."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import typer

from modelselect.utils.system import hold_standard_descriptors
from modelselect.utils.text import printable_lines


class _Apart:
    """Where standard output leads while commands run: the stream of the answer, and a copy of its descriptor."""

    stream: TextIO | None = None
    descriptor: int | None = None
    active = False


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Sends to standard error what is written to standard output, by Python and by native code, but the answer."""
    if _Apart.active:
        yield
        return
    stream = sys.stdout
    descriptor = None
    if _number(stream) == 1 and _number(sys.stderr) == 2:
        stream.flush()
        descriptor = os.dup(1)
        os.dup2(2, 1)
    _Apart.stream, _Apart.descriptor, _Apart.active = stream, descriptor, True
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        _Apart.active = False
        sys.stdout = stream
        if descriptor is not None:
            os.dup2(descriptor, 1)
            os.close(descriptor)


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """In this context, standard output is that of the answer.

    Raises:
        OutputError: nothing can be written there: a full disk, a stream that is closed, ...
    """
    from modelselect.errors import OutputError

    with in_front():
        if sys.stdout is None or sys.stdout.closed:
            raise OutputError("the answer cannot be printed: standard output is closed")
        try:
            yield
            sys.stdout.flush()
        except BrokenPipeError:  # the reader has seen enough
            _abandon()
            raise
        except OSError as error:
            _abandon()
            raise OutputError(f"the answer cannot be printed: {error.strerror or error} (standard output)") from error


def errors_are_shown_with_it() -> bool:
    """Whether standard output and standard error lead to the same terminal, file or pipe, as far as that is known."""
    numbers = _number(sys.stdout), _number(sys.stderr)
    try:
        places = [os.fstat(number) for number in numbers if number is not None]
    except OSError:
        return False
    return len(places) == 2 and os.path.samestat(*places)


def say(text: object, *, nl: bool = True) -> None:
    """Prints a text as the answer, or a part of it."""
    with answering():
        typer.echo(printable_lines(str(text)), nl=nl)


def say_json(text: str) -> None:
    """Prints JSON as the answer. Characters that the stream's encoding lacks are escaped."""
    with answering():
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        if not encoding.lower().startswith("utf"):
            text = "".join(c if c.isascii() else json.dumps(c)[1:-1] for c in text)
        typer.echo(text, nl=False)


def kept_apart(command: Any) -> Any:
    """The Click command, and the commands in it, so that what others print while it runs is no part of its answer."""
    for inner in getattr(command, "commands", {}).values():
        kept_apart(inner)
    if command.callback is not None:
        command.callback = _run_apart(command.callback)
    return command


def open_standard_streams() -> None:
    """Makes closed standard streams lead nowhere, so that no file gets their numbers; and lets texts never fail.

    A character that a stream's encoding lacks is shown as `?`.
    """
    hold_standard_descriptors()
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) in ("strict", "surrogateescape") and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _run_apart(callback: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(callback)
    def run(*arguments: Any, **options: Any) -> Any:
        with apart():
            return callback(*arguments, **options)

    return run


@contextlib.contextmanager
def in_front() -> Iterator[None]:
    """In this context, all that is printed is the answer, as it was before `apart`."""
    if not _Apart.active:
        yield
        return
    sys.stdout = _Apart.stream
    if _Apart.descriptor is not None:
        sys.stderr.flush()
        os.dup2(_Apart.descriptor, 1)
    try:
        yield
    finally:
        sys.stdout = sys.stderr
        if _Apart.descriptor is not None:
            os.dup2(2, 1)


def _abandon() -> None:
    """Lets standard output lead nowhere: what is left in its buffer would fail again when the process ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if _number(sys.stdout) == 1:
        os.dup2(nowhere, 1)
        if _Apart.descriptor is not None:
            os.dup2(nowhere, _Apart.descriptor)
    os.close(nowhere)


def _number(stream: Any) -> int | None:
    try:
        number: int = stream.fileno()
    except (AttributeError, OSError, ValueError):  # no stream, closed, or none of the system's
        return None
    return number
