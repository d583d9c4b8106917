"""Facts about public models that are shipped as tables; `README.md` says where each comes from."""

from __future__ import annotations

import csv
import hashlib
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
TABLES = ("imagenet.csv", "quality.csv", "same_architecture.csv", "same_weights.csv")


def rows(table: str) -> list[dict[str, str]]:
    """The rows of a table in this folder, by column.

    >>> rows("same_architecture.csv")[0].keys()
    dict_keys(['id', 'architecture'])
    """
    with open(FOLDER / table, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@cache
def digest() -> str:
    """SHA-256 of all tables; what is computed from them is out of date when the digest has changed."""
    whole = hashlib.sha256()
    for table in TABLES:
        whole.update((FOLDER / table).read_bytes())
    return whole.hexdigest()
