"""The transfer history as Parquet files in a folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from modelselect.errors import HistoryError, InvalidInputError
from modelselect.history.database import Database
from modelselect.history.records import TABLES
from modelselect.store.files import check_is_file
from modelselect.utils.parquet import Decoded
from modelselect.utils.system import available_memory
from modelselect.utils.text import too_many_rows

Row = tuple[Any, ...]

_BYTES_PER_VALUE = 50
"""Of memory: a text or a number of Python, and its place in a row."""

_CARD_NAME = "README.md"

_MARK = "\n- transfer-history\n"
"""By this line of its card an export is known."""

_CARD = """---
tags:
- modelselect
- transfer-history
configs:
- config_name: results
  data_files: results.parquet
---

# A transfer history

{results:,} results of {candidates:,} pre-trained models on {datasets:,} datasets: accuracies after fine-tuning (metric
`accuracy`, from 0 to 1) and transferability scores (metric: the estimator's name; higher is better). Written by
modelselect, which reads it with `modelselect history import`.
"""


def write_parquet(database: Database, folder: Path) -> Path:
    """A card, and one Parquet file for each table. Equal histories give equal rows in equal order.

    Raises:
        InvalidInputError: the folder holds files of these names that no export has written.
    """
    import pandas as pd

    summary, card = database.summary(), folder / _CARD_NAME
    with _explained(folder, "written"):
        if not (card.is_file() and _MARK in card.read_text(encoding="utf-8", errors="replace")):
            for name in (_CARD_NAME, *(f"{table}.parquet" for table in TABLES)):
                if os.path.lexists(folder / name):
                    raise InvalidInputError(
                        f"{str(folder / name)!r} is there already, and no export has written it. Give another folder."
                    )
        folder.mkdir(parents=True, exist_ok=True)
        card.write_text(_CARD.format(**summary), encoding="utf-8")  # first, so that an export that ends is known as one
        for table, columns in TABLES.items():
            frame = pd.DataFrame(database.whole_rows(table), columns=list(columns))
            frame.to_parquet(folder / f"{table}.parquet", index=False)
    return folder


def read_parquet(folder: Path) -> dict[str, list[Row]]:
    """The rows of each table as they stand in the files; `validation.admitted` says which can be added.

    Raises:
        InvalidInputError: the folder holds no history, or a file is not one that `write_parquet` writes.
    """
    if not (folder / "results.parquet").is_file():
        raise InvalidInputError(
            f"{str(folder)!r} holds no results.parquet; expected a folder that `modelselect history export` wrote"
        )
    return {table: _table(folder / f"{table}.parquet", columns) for table, columns in TABLES.items()}


def _table(path: Path, columns: Sequence[str]) -> list[Row]:
    import pyarrow.parquet as pq

    if not path.exists():
        return []
    with _explained(path, "read"):
        check_is_file(path)
        try:
            _check_size(path)
            with pq.ParquetFile(path) as file:
                _check_columns(path, file.schema_arrow.names, columns)
                frame = file.read(list(columns)).to_pandas(ignore_metadata=True)
            return list(frame[list(columns)].itertuples(index=False, name=None))
        except (OSError, InvalidInputError):
            raise
        except Exception as error:  # Arrow's own errors are of many kinds
            raise InvalidInputError(f"{path.name} is no Parquet file ({error}); export the history again") from error


def _check_columns(path: Path, present: Sequence[str], columns: Sequence[str]) -> None:
    """Raises for a table that lacks columns, or has one of them twice."""
    missing = [column for column in columns if column not in present]
    if missing:
        raise InvalidInputError(
            f"{path.name} has the columns {', '.join(present)}, and lacks {', '.join(missing)}; "
            "export the history again"
        )
    twice = [column for column in columns if present.count(column) > 1]
    if twice:
        raise InvalidInputError(f"{path.name} has several columns {', '.join(twice)}; export the history again")


def _check_size(path: Path) -> None:
    """Raises InvalidInputError if the rows of a file do not fit into the memory that is free."""
    free = available_memory()
    if free is None:
        return
    decoded = Decoded.of([path], free)
    needed = _BYTES_PER_VALUE * decoded.rows * decoded.columns + decoded.size
    if why := too_many_rows(path.name, decoded.rows, needed, free):
        raise InvalidInputError(f"{why}. Ask its author for a smaller history")


@contextlib.contextmanager
def _explained(path: Path, verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HistoryError(f"{path} cannot be {verb}: {error.strerror or error}. Choose another folder.") from error
