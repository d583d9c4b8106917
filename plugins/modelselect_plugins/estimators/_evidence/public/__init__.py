"""Facts about public models that are shipped as tables; `README.md` says where each comes from."""

from __future__ import annotations

import csv
from pathlib import Path

FOLDER = Path(__file__).parent


def rows(table: str) -> list[dict[str, str]]:
    """The rows of a table in this folder, by column.

    >>> rows("same_architecture.csv")[0].keys()
    dict_keys(['id', 'architecture'])
    """
    with open(FOLDER / table, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
