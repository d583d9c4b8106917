"""Texts that are paths of image files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from modelselect.errors import DatasetError
from modelselect.probe.images import SUFFIXES

_SAMPLED = 200
"""The most values that are looked at, spread evenly over all: each costs a question to the file system."""


def image_paths(values: Sequence[Any], folder: str | os.PathLike[str] = "") -> bool:
    """True if the values are paths of image files: all have the suffix of an image, and some of these files exist.

    Args:
        values: strings, `pathlib.Path`s and missing values. 200 of them are looked at.
        folder: what relative paths start from; the working directory if empty.

    Raises:
        DatasetError: all have the suffix of an image, but there are no such files.

    >>> image_paths(["a text", "another text.jpg"])
    False
    """
    given = [row for row, value in enumerate(values) if isinstance(value, (str, PurePath))]
    sampled = given[:: -(-len(given) // _SAMPLED) or 1]
    paths = [str(values[row]) for row in sampled]
    if not paths or not all(has_image_suffix(path) for path in paths):
        return False
    if any(is_file(path, folder) for path in paths):
        return True
    if any("://" in path for path in paths):
        raise DatasetError(
            f"the inputs are addresses of images on the web, such as {paths[0]!r} in row {sampled[0]}; expected images "
            "or paths of image files here. Download the images first, and give their paths."
        )
    start = os.fspath(folder) or "the working directory"
    raise DatasetError(
        f"the inputs are names of image files, but there is no file {paths[0]!r} (row {sampled[0]}), as seen from "
        f"{start}. Give paths that exist, such as [os.path.join(FOLDER, name) for name in inputs] with the folder that "
        "holds the files; or give the folder that holds one folder for each class."
    )


def has_image_suffix(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in SUFFIXES


def is_file(path: str, folder: str | os.PathLike[str] = "") -> bool:
    """True if there is such a file; False also for texts that no path can be."""
    try:
        return Path(folder, path).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):  # too long, with NUL, or of an unknown user
        return False
