"""The papers' table: agreement with the truth by estimator and dataset, with intervals and what they allow to say."""

from __future__ import annotations

import os
from pathlib import Path

from modelselect.errors import InvalidInputError

SUFFIXES = (".md", ".tex", ".html", ".csv", ".json", ".txt")


def check_suffix(path: str | os.PathLike[str]) -> str:
    """How the file's name ends.

    Raises:
        InvalidInputError: in none of the ways that a table can be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InvalidInputError(
            f"{str(path)!r} ends in {suffix!r}; expected {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        )
    return suffix
