"""A history that many machines feed: each writes a file of its own into a shared place, and reads those of the others.

SQLite is not safe on network folders, and object stores cannot change a part of a file. So each machine works on a file
of its own disk. Copies of these files are in the shared place, whole, and each is written by one machine only.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import logging
import os
import re
import socket
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath

from modelselect.store.files import user_path
from modelselect.store.remote import check_usable, is_folder, one_line, opened, shown, url_of
from modelselect.utils.paths import expanded

logger = logging.getLogger(__name__)

SUFFIX = ".sqlite"
LARGEST = 1_000_000_000
"""Bytes of a file of another machine that is read."""


class Exchange:
    """The shared place of a history.

    Args:
        address: a folder that exists, or what fsspec reads: `s3://bucket/histories`, `file:///mnt/shared/histories`.
    """

    def __init__(self, address: str) -> None:
        self.address = url_of(address) or str(expanded(address).absolute())
        check_usable(url_of(address) or "file://")

    @classmethod
    def named(cls, given: str | os.PathLike[str]) -> Exchange | None:
        """The place that a path or an address names; None for the file of one history."""
        text = os.fspath(given)
        is_place = url_of(text) is not None or (text != "" and os.path.isdir(os.path.expanduser(text)))
        return cls(text) if is_place else None

    @property
    def own_file(self) -> Path:
        """The file on this machine that is worked on."""
        digest = hashlib.sha256(self.address.encode()).hexdigest()[:16]
        return user_path("", "data", "shared", f"{digest}{SUFFIX}")

    @property
    def own_name(self) -> str:
        """The name of this machine's copy: of the machine, the user and the file, so that two never share one."""
        digest = hashlib.sha256(str(self.own_file).encode()).hexdigest()[:8]
        with contextlib.suppress(OSError, KeyError):
            user = getpass.getuser()
            return re.sub(r"[^\w.-]", "_", f"{socket.gethostname()}-{user}-{digest}") + SUFFIX
        return f"machine-{digest}{SUFFIX}"

    def news(self, known: dict[str, str], folder: Path) -> Iterator[tuple[str, str, Path]]:
        """Copies of the others' files that have changed: the name, a mark of the state, and a file in `folder`.

        Args:
            known: marks by name, as given before.
            folder: where to put the copies.
        """
        with self._tolerant("read"):
            filesystem, root = opened(self.address)
            filesystem.invalidate_cache()
            for entry in filesystem.ls(root, detail=True) if filesystem.exists(root) else ():
                name = PurePosixPath(entry["name"]).name
                if not name.endswith(SUFFIX) or name == self.own_name or name.startswith("."):
                    continue
                state = repr([entry.get(key) for key in ("size", "mtime", "ETag", "etag", "LastModified", "created")])
                if known.get(name) == state or (entry.get("size") or 0) > LARGEST or entry.get("type") != "file":
                    continue
                copy = folder / "other.sqlite"
                with self._tolerant("read"):
                    filesystem.get_file(entry["name"], str(copy))
                    yield name, state, copy

    def put(self, path: Path) -> None:
        """Puts a copy of this machine's file into the place, in one piece."""
        with self._tolerant("written"), tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / "own.sqlite"
            with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
                target.execute("PRAGMA journal_mode = DELETE")
            filesystem, root = opened(self.address)
            filesystem.makedirs(root, exist_ok=True)
            if is_folder(url_of(self.address) or "file://"):
                partial = f"{root}/.{self.own_name}.{os.getpid()}.partial"
                filesystem.put_file(str(copy), partial)
                os.replace(partial, f"{root}/{self.own_name}")
            else:
                filesystem.put_file(str(copy), f"{root}/{self.own_name}")

    @contextlib.contextmanager
    def _tolerant(self, verb: str) -> Iterator[None]:
        """Turns an error of the place into a line in the log."""
        try:
            yield
        except Exception as error:  # each client has errors of its own
            logger.warning(
                "the shared history %s cannot be %s (%s); the run goes on with the file on this machine",
                shown(self.address),
                verb,
                one_line(error),
            )
