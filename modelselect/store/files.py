"""Files written atomically, folders of the user, and temporary files with an owner."""

from __future__ import annotations

import contextlib
import errno
import functools
import glob
import os
import re
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from modelselect.errors import InvalidInputError, StoreError
from modelselect.utils.paths import expanded
from modelselect.utils.text import valid_text


def write_text(path: str | os.PathLike[str], content: str | Iterable[str]) -> None:
    """Writes a file atomically.

    Args:
        path: of the file.
        content: a text, or its pieces.

    Raises:
        InvalidInputError: the folder does not exist or cannot be written.
    """
    try:
        with replacing(Path(path)) as partial, partial.open("w", encoding="utf-8") as file:
            file.writelines(map(valid_text, [content] if isinstance(content, str) else content))
    except OSError as error:
        raise InvalidInputError(f"cannot write {str(path)!r}: {error.strerror}. Give a writable path.") from error


ABANDONED_AFTER = 86_400.0
"""Seconds without a write after which a temporary file is abandoned, where it is unknown whether its process runs."""

_OWNED = re.compile(r"(?P<host>[^@]+)@(?P<pid>\d{1,9})@[0-9a-f]{16}(@(?P<begun>\d{1,20}))?")


def is_running(pid: int) -> bool:
    """True if this machine has a process with this number, also one of another user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def begin_of(pid: int) -> str | None:
    """When a process of this machine began, in ticks since the machine did; None if unknown (not Linux).

    Together with the number, which may be given again, it identifies the process.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError, ValueError):
        return None


@functools.lru_cache(maxsize=1)
def _own_begin(pid: int) -> str | None:
    """`begin_of` this process, whose number is asked for again after a fork."""
    return begin_of(pid)


@dataclass(frozen=True)
class Holder:
    """The process that has a lock.

    Attributes:
        pid: its number on this machine; None if unknown (not Linux, or on another machine).
        is_suspended: whether it is stopped, by Ctrl-Z or a debugger.
    """

    pid: int | None = None
    is_suspended: bool = False

    @classmethod
    def of(cls, lock: Path) -> Holder:
        """Of a lock file, as Linux lists its locks: `1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF`."""
        try:
            inode = str(lock.stat().st_ino)
            for line in Path("/proc/locks").read_text().splitlines():
                words = line.split()
                if words[1] != "->" and words[5].rpartition(":")[2] == inode:
                    state = Path(f"/proc/{words[4]}/stat").read_text().rpartition(")")[2].split()[0]
                    return cls(int(words[4]), state in ("T", "t"))
        except (OSError, IndexError, ValueError):
            pass
        return cls()

    def __str__(self) -> str:
        if self.pid is None:
            return "another process"
        advice = f" (suspended: continue it with `fg` or end it with `kill {self.pid}`)" if self.is_suspended else ""
        return f"process {self.pid}{advice}"


def owned_name() -> str:
    """A new name for a file or folder; from it, `is_abandoned` knows the process and machine that own it."""
    pid = os.getpid()
    parts = socket.gethostname(), str(pid), secrets.token_hex(8), _own_begin(pid)
    return "@".join(filter(None, parts))


def is_abandoned(path: Path, name: str | None = None) -> bool:
    """True if the process that made it with an `owned_name` has ended.

    `name` is the owned name, where that is only a part of the path's.

    A folder may be shared between machines. Of processes of other machines, and where a number may be that of another
    process now, only the age is known: a day without a write. A file with any other name belongs to somebody else and
    is never abandoned; neither is a missing one.
    """
    match = _OWNED.fullmatch(path.name if name is None else name)
    if match is None:
        return False
    try:
        untouched = time.time() - path.stat().st_mtime
    except OSError:
        return False
    if match["host"] == socket.gethostname():
        pid = int(match["pid"])
        if not is_running(pid):
            return True
        if match["begun"] and (begun := begin_of(pid)) is not None:
            return begun != match["begun"]
    return untouched > ABANDONED_AFTER


def user_path(variable: str, kind: str, *parts: str) -> Path:
    """The path in an environment variable, else one in the user's folder for modelselect.

    Args:
        variable: the environment variable.
        kind: `cache` for what can be computed again (XDG_CACHE_HOME, else `~/.cache`), `data` for what cannot
            (XDG_DATA_HOME, else `~/.local/share`).
        parts: of the path in that folder.

    Raises:
        InvalidInputError: the account has no home folder, and no variable names another place.
    """
    if chosen := os.environ.get(variable):
        return expanded(chosen)
    home = {"cache": Path(".cache"), "data": Path(".local", "share")}[kind]
    place = Path(os.environ.get(f"XDG_{kind.upper()}_HOME") or expanded("~") / home)
    if not place.is_absolute():
        raise InvalidInputError(
            f"this account has no home folder, so there is no place for {'/'.join(parts) or 'the store'}. "
            f"Set {variable}."
        )
    return place.joinpath("modelselect", *parts)


def check_is_file(path: str | os.PathLike[str]) -> None:
    """Raises for what stands in the place of a file: reading a pipe or a device may never end.

    Raises:
        OSError: there is nothing, or a folder, a pipe or a device.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "it is a folder, a pipe or a device; expected a file", os.fspath(path))


def remove_what_is_no_file(path: Path) -> None:
    """Removes a folder, a link, a pipe or the like that has the name of a file; a regular file stays."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        shutil.rmtree(path)
    elif not stat.S_ISREG(mode):
        path.unlink()


@contextlib.contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """A new folder next to `path`, on the same disk, which is removed at the end.

    What killed processes left of earlier attempts is removed.

    Raises:
        OSError: the folder cannot be made.
    """
    folder = _partial_of(path)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _partial_of(path: Path) -> Path:
    """A new name next to `path`, after those of killed processes have been removed."""
    start, end = f".{path.name[:100]}.", ".partial"
    for left in path.parent.glob(f"{glob.escape(start)}*{end}"):
        if is_abandoned(left, left.name.removeprefix(start).removesuffix(end)):
            with contextlib.suppress(OSError):
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    return path.parent / f"{start}{owned_name()}{end}"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; the file replaces `path` atomically when the block ends.

    A symbolic link is kept, and its target is replaced; devices and pipes are written to directly. What killed
    processes left of earlier attempts is removed.

    Raises:
        OSError: the file cannot be written.
    """
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    if target.exists() and not target.is_file():
        yield target
        return
    partial = _partial_of(target)
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def explained(what: str, verb: str) -> Iterator[None]:
    """Turns an OSError while `what` is `verb` (written, read, ...) into a StoreError with advice."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "The disk (or your quota) is full: free some space (`modelselect store` can evict entries), or"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            advice = "You have no permission to do this: change the folder's permissions, or"
        else:
            advice = "Fix this, or"
        raise StoreError(
            f"{what} cannot be {verb}: {error.strerror or error}"
            f"{f' ({error.filename})' if error.filename else ''}. {advice} choose another folder with cache_dir= "
            "(--cache-dir) or the environment variable MODELSELECT_CACHE."
        ) from error
