"""Paths as people write them."""

from __future__ import annotations

import os
from pathlib import Path


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path with the home folder in place of `~`. As in a shell, `~name` stays as it is if there is no such user.

    >>> expanded("~nobody-of-this-name/data")
    PosixPath('~nobody-of-this-name/data')
    """
    return Path(os.path.expanduser(path))
