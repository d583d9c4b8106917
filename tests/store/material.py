"""What the tests of the store share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from modelselect.store.store import Store


def file_of(store: Store, key: str) -> Path:
    return store._path(key)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "x").write_bytes(b"x")


def _linked(target: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return change


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _linked_to_itself(path: Path) -> None:
    _linked(path.name)(path)


REPLACED: dict[str, Callable[[Path], None]] = {
    "a folder": _folder,
    "a link that leads nowhere": _linked("/nowhere/at/all"),
    "a link that leads to itself": _linked_to_itself,
    "an endless device": _linked("/dev/zero"),
    "a pipe": _pipe,
    "a file of a terabyte": lambda path: os.truncate(path, 1 << 40),
}
"""Ways to put something else in the place of a file."""
