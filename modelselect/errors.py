"""Every exception that modelselect raises, in one tree; `Failure` and `Stage`: an exception that costs only a row.

A message says what was given, what was expected, and what to do.
"""

from __future__ import annotations

import contextlib
import difflib
import enum
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass


class ModelSelectError(Exception):
    r"""The root: `except ModelSelectError` catches everything that modelselect raises on purpose.

    Its text may quote what others wrote, so it is made fit for a terminal and a file: no control characters, no marks
    that turn its direction, no halves of surrogate pairs, and a bounded length.

    >>> str(ModelSelectError("there is no column 'a\x1b[31m'"))
    "there is no column 'a�[31m'"
    """

    def __str__(self) -> str:
        return "\n".join(map(_printable, _cut(super().__str__(), _LONGEST_MESSAGE).split("\n")))


class InvalidInputError(ModelSelectError, ValueError):
    """Something the caller gave cannot be used."""


class DatasetError(InvalidInputError):
    """The dataset cannot serve as a probe: empty, one class, unreadable, only a test split, ..."""


class ExpressionError(InvalidInputError):
    """A candidate expression that cannot be read, or that matches nothing."""


class SearchError(ModelSelectError):
    """A zoo failed while it was searched: no network, a bug, ... In `select()` a row that says so."""


class LeaderboardError(InvalidInputError):
    """A leaderboard that cannot be read: not JSON, of another version, or a field has a wrong value."""


class EvidenceError(InvalidInputError):
    """Arrays that cannot be scored: NaN features, lengths that differ, one class, ..."""


class UnknownNameError(InvalidInputError, LookupError):
    """No plugin registered a zoo, estimator, extractor or executor of this name."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        self.kind, self.name, self.known, self.hint = kind, name, sorted(known), hint
        near, all_known = did_you_mean(name, self.known), ", ".join(self.known) or "none"
        super().__init__(f"unknown {kind} {name!r}.{near} Known: {all_known}.{hint and f' {hint}'}")

    def __reduce__(self) -> tuple[type[UnknownNameError], tuple[str, str, list[str], str]]:
        return type(self), (self.kind, self.name, self.known, self.hint)


class PluginError(ModelSelectError):
    """A plugin broke its contract: it failed to import, raised in a hook, registered a name that is taken, ..."""


class NoExceptionError(ModelSelectError):
    """Code of a plugin or a library raised something that is no `Exception`: the panic of a Rust library, sys.exit().

    `__cause__` is what was raised.
    """


class NotApplicableError(ModelSelectError):
    """An estimator cannot score this evidence, and says why; the other estimators go on."""


class ScoreWarning(UserWarning):
    """The score is computed as published, in a regime where it says little (saturated, inflated, ...)."""


class InvalidScoreWarning(ScoreWarning):
    """The score is computed, but it does not compare candidates, as the estimator itself says.

    A mean rank over several estimators leaves the estimator out for the whole pool. Alone it still ranks.
    """


class CandidateError(ModelSelectError):
    """A candidate cannot be loaded or run. Only this candidate's row is lost, and shows the message."""


class RemoteCodeError(CandidateError):
    """A candidate brings code of its own, and the caller did not say `trust_remote_code=True`."""


class OutOfMemoryError(CandidateError):
    """A candidate does not fit into memory at batch size 1."""


class StoreError(ModelSelectError):
    """The store cannot be read or written: no space, no permission, locked for too long."""


class HistoryError(ModelSelectError):
    """The transfer history cannot be read or written: damaged, of a later version, locked for too long, ..."""


class HubError(ModelSelectError):
    """The Hub refuses a request, or cannot be reached."""


class OutputError(ModelSelectError):
    """The answer cannot be printed: standard output is closed, or its disk is full."""


class NothingRankedError(ModelSelectError):
    """Not one candidate could be ranked. Carries the leaderboard of failures as `leaderboard`."""

    def __init__(self, message: str, leaderboard: object = None) -> None:
        super().__init__(message)
        self.leaderboard = leaderboard


class Stage(enum.StrEnum):
    """Where a failure happened; the values are what `board.json` says."""

    SEARCH = "search"
    LIMIT = "limit"
    """No failure: the candidate does not pass a limit that the caller set."""
    LOAD = "load"
    EXTRACT = "extract"
    COSTS = "costs"
    SCORE = "score"
    RESAMPLE = "resample"
    COMBINE = "combine"
    TUNE = "tune"
    VERIFY = "verify"
    RUN = "run"
    """In the executor, outside the work on the candidate."""


@contextlib.contextmanager
def contained() -> Iterator[None]:
    """Runs code of plugins and libraries: what it raises is an `Exception` afterwards. Only KeyboardInterrupt passes.

    >>> try:
    ...     with contained():
    ...         raise SystemExit(3)
    ... except Exception as error:
    ...     print(error)
    SystemExit: 3
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if not _can_be_read(error):
            raise NoExceptionError("an exception was raised that raises another one when it is read") from None
        if isinstance(error, Exception):
            raise
        raise NoExceptionError(f"{type(error).__name__}: {message_of(error)}".removesuffix(": ")) from error


def _can_be_read(error: BaseException) -> bool:
    """Whether the class of the exception, its name and its attributes can be read: its own code may raise anything."""
    try:
        read = type(error).__name__, error.__class__, error.__dict__
    except BaseException:
        return False
    return isinstance(read[-1], dict)


def message_of(exception: BaseException) -> str:
    """The text of an exception; a note if its text cannot be made."""
    try:
        with contained():
            return str(exception)
    except Exception as error:
        return f"(its message cannot be shown: {type(error).__name__})"


@contextlib.contextmanager
def at(stage: Stage) -> Iterator[None]:
    """Marks an exception that is raised inside with its stage; of several stages the innermost one counts.

    >>> try:
    ...     with at(Stage.SCORE), at(Stage.LOAD):
    ...         raise CandidateError("its file is damaged")
    ... except CandidateError as error:
    ...     print(stage_of(error, Stage.RUN))
    load
    """
    try:
        with contained():
            yield
    except Exception as error:
        error.__dict__.setdefault(_MARK, stage)
        raise


def stage_of(error: Exception, default: Stage) -> Stage:
    """The stage that `at` marked the exception with; the default if no stage did."""
    stage: Stage = error.__dict__.get(_MARK, default)
    return stage


_MARK = "_modelselect_stage"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one candidate, or one estimator on one candidate, has no score.

    Attributes:
        stage: where it happened, the value of a `Stage`.
        reason: one line for the leaderboard.
        error: the exception's class name.
    """

    stage: str
    reason: str
    error: str = "ModelSelectError"

    def __post_init__(self) -> None:
        object.__setattr__(self, "stage", str(self.stage))  # plain data, whatever reads or writes it
        object.__setattr__(self, "reason", _printable(_cut(self.reason, _LONGEST_REASON)))

    @classmethod
    def from_exception(cls, stage: str, exception: BaseException) -> Failure:
        if isinstance(exception, NoExceptionError) and exception.__cause__ is not None:
            exception = exception.__cause__
        reason = " ".join(message_of(exception).split()) or type(exception).__name__
        if not isinstance(exception, ModelSelectError):
            reason = f"{type(exception).__name__}: {reason}"
        return cls(stage, reason, type(exception).__name__)


@contextlib.contextmanager
def blamed(says: Callable[[str], str]) -> Iterator[None]:
    """Code of a plugin: what it raises is one of our errors, and says whose it is.

    Args:
        says: the message, from the reason.

    Raises:
        PluginError: the code raised something that is none of our errors.

    >>> try:
    ...     with blamed("the executor 'odd' failed: {}".format):
    ...         raise KeyError("jobs")
    ... except PluginError as error:
    ...     print(error)
    the executor 'odd' failed: KeyError: 'jobs'
    """
    try:
        with contained():
            yield
    except Exception as error:
        if isinstance(error, ModelSelectError) and not isinstance(error, NoExceptionError):
            raise
        raise PluginError(says(Failure.from_exception(Stage.RUN, error).reason)) from error


_LONGEST_REASON = 2000
"""Characters. A message of a library may hold a whole file."""

_LONGEST_MESSAGE = 5000
"""Characters. A message may quote several values, and name several candidates with the reason of each."""


_END = 300
"""Characters at the end of a text that is too long which are kept: who is to blame, and what to do, stand there."""


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - _END]}…{text[-_END:]}"


def _printable(line: str) -> str:
    """The line without control characters and halves of surrogate pairs; spaces of other kinds become plain ones."""
    return line if line.isprintable() else "".join(map(_printable_character, line))


def _printable_character(character: str) -> str:
    if character.isprintable():
        return character
    return " " if unicodedata.category(character) == "Zs" else "\ufffd"


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?`, or nothing if no known name is close.

    >>> did_you_mean("logm", ["logme", "leep"])
    " Did you mean 'logme'?"
    """
    near = difflib.get_close_matches(given, list(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
