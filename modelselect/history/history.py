"""Which history a caller means."""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from modelselect import hub
from modelselect.errors import HistoryError, InvalidInputError
from modelselect.history.database import PATH_VARIABLE, History
from modelselect.history.records import TABLES, Added


def publish(history: History, repository: str, private: bool | None, token: str | None) -> str:
    """Uploads the union of the history and of what the repository holds, whoever else uploads meanwhile."""

    def fill(folder: Path, name: str, latest: str) -> None:
        with united(history, name, latest, token) as whole:
            whole.export(folder)

    message = f"Transfer history: {history.summary()['results']} results added"
    return hub.upload(repository, fill, message, private=private, token=token, raises=HistoryError)


@contextlib.contextmanager
def united(
    history: History, repository: str, revision: str, token: str | None, endpoint: str | None = None
) -> Iterator[History]:
    """The history together with the one that a repository holds, if it holds one."""
    with tempfile.TemporaryDirectory() as scratch:
        whole = History(Path(scratch) / "whole.sqlite")
        whole.merge(history)
        with contextlib.suppress(InvalidInputError):  # a repository without a history yet
            fetch(whole, repository, revision, token, endpoint)
        yield whole


def fetch(
    history: History, repository: str, revision: str | None, token: str | None, endpoint: str | None = None
) -> Added:
    """Adds what the repository holds."""
    names = [f"{table}.parquet" for table in TABLES]
    return history.load(
        hub.fetch(repository, names, revision=revision, token=token, endpoint=endpoint, raises=HistoryError)
    )


GivenHistory = History | str | os.PathLike[str] | Literal[False] | None


def open_history(given: GivenHistory) -> History | None:
    """The history that a caller means: None for the user's own, which an empty MODELSELECT_HISTORY switches off.

    Raises:
        InvalidInputError: it is no path.
    """
    if isinstance(given, History):
        return given
    if given is False or (given is None and os.environ.get(PATH_VARIABLE) == ""):
        return None
    if given is not None and not isinstance(given, str | os.PathLike):
        raise InvalidInputError(
            f"history is {given!r}; expected a path, a History, None for your own, or False for none"
        )
    return History(given)


def open_or_warn(history: History) -> History | None:
    """The history if it can be read; otherwise a warning says why not, and what asked for it goes on without."""
    try:
        history.summary()
    except HistoryError as error:
        warnings.warn(f"the ranking goes on without the transfer history: {error}", stacklevel=3)
        return None
    return history
