"""Digests of files, as the Hub lists them."""

from __future__ import annotations

import hashlib
from pathlib import Path


def digest(path: Path, like: str) -> str:
    """The digest of a file, of the kind that the Hub gives: SHA-256, or git's SHA-1, which is shorter.

    Args:
        path: of the file.
        like: a digest of this kind.
    """
    kind, begin = ("sha256", b"") if len(like) == 64 else ("sha1", b"blob %d\0" % path.stat().st_size)
    return _digest(path, hashlib.new(kind, begin, usedforsecurity=False))


def sha1(path: Path) -> str:
    """SHA-1 of a file alone, which is not that of git."""
    return _digest(path, hashlib.sha1(usedforsecurity=False))


def _digest(path: Path, begun: hashlib._Hash) -> str:
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            begun.update(part)
    return begun.hexdigest()
