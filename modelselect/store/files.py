"""What the host asks of the operating system: cores, memory, processes, the user's folders, and files written whole."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from modelselect.errors import InvalidInputError, StoreError


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """Writes a file whole or not at all.

    Raises:
        InvalidInputError: the folder does not exist or cannot be written.
    """
    try:
        with replacing(Path(path)) as partial:
            partial.write_text(content, encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"cannot write {str(path)!r}: {error.strerror}. Give a writable path.") from error


ABANDONED_AFTER = 86_400.0
"""Seconds untouched after which what a process made is taken for abandoned, whatever can be told of the process."""

_OWNED = re.compile(r"(?P<host>.+)@(?P<pid>\d{1,9})@[0-9a-f]{16}")


def is_running(pid: int) -> bool:
    """True if a process of this machine has that number, whoever owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def owned_name() -> str:
    """A new name for a file or folder, that tells `is_abandoned` which process of which machine it belongs to."""
    return f"{socket.gethostname()}@{os.getpid()}@{secrets.token_hex(8)}"


def is_abandoned(path: Path) -> bool:
    """True if the process that gave it its `owned_name` has ended, or has not touched it for a day.

    Folders may be shared by machines, and only the age tells of the processes of another. What has another name is
    somebody else's, and never abandoned; nor is what is gone.
    """
    match = _OWNED.fullmatch(path.name)
    if match is None:
        return False
    try:
        untouched = time.time() - path.stat().st_mtime
    except OSError:
        return False
    here = match["host"] == socket.gethostname()
    return untouched > ABANDONED_AFTER or (here and not is_running(int(match["pid"])))


def user_path(variable: str, kind: str, *parts: str) -> Path:
    """What an environment variable names, else a place in modelselect's own folder of the user.

    Args:
        variable: the environment variable.
        kind: `cache` for what can be made again (XDG_CACHE_HOME, else `~/.cache`), `data` for what cannot
            (XDG_DATA_HOME, else `~/.local/share`).
        parts: of the path below that folder.
    """
    if chosen := os.environ.get(variable):
        return Path(chosen).expanduser()
    home = {"cache": Path(".cache"), "data": Path(".local", "share")}[kind]
    return Path(os.environ.get(f"XDG_{kind.upper()}_HOME") or Path.home() / home).joinpath("modelselect", *parts)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write a file that is to stand at `path`, whole or not at all: it takes its place when the block ends.

    A link stays one, and what it leads to is replaced; a device or a pipe is written to as it is.

    Raises:
        OSError: it cannot be written.
    """
    target = path.resolve() if path.is_symlink() else path
    if target.exists() and not target.is_file():
        yield target
        return
    partial = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def explained(what: str, verb: str) -> Iterator[None]:
    """What the operating system says while `what` is `verb` (written, read, ...), as a StoreError with advice."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "The disk (or your quota) is full: free some space (`modelselect store` can evict entries), or"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            advice = "You may not do that there: change the folder's permissions, or"
        else:
            advice = "Mend that, or"
        raise StoreError(
            f"{what} cannot be {verb}: {error.strerror or error}"
            f"{f' ({error.filename})' if error.filename else ''}. {advice} choose another folder with cache_dir= "
            "(--cache-dir) or the environment variable MODELSELECT_CACHE."
        ) from error
