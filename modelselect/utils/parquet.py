"""What Parquet files take when they are decoded, by their metadata: some kilobytes may hold a hundred million rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WIDTHS = {"BOOLEAN": 1 / 8, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8, "BYTE_ARRAY": 4}
"""Bytes of a decoded value by its physical type. Of a text or of bytes: where it begins."""


@dataclass(frozen=True)
class Decoded:
    """Attributes:
    rows: number of rows.
    columns: number of columns.
    size: bytes of all rows, at least. Equal texts are stored once, so that they may take more.
    largest: bytes of the largest group of rows, which is decoded at once.
    """

    rows: int
    columns: int
    size: int
    largest: int

    @classmethod
    def of(cls, paths: Iterable[str | Path]) -> Decoded:
        """Of several files together. No value is decoded.

        Raises:
            pyarrow.ArrowException: a file is no Parquet file.
        """
        from pyarrow.parquet import read_metadata

        rows = columns = size = largest = 0
        for path in paths:
            known = read_metadata(path)
            groups = [_size_of(known, number) for number in range(known.num_row_groups)]
            rows, columns = rows + known.num_rows, max(columns, known.num_columns)
            size, largest = size + sum(groups), max([largest, *groups])
        return cls(rows, columns, size, largest)


def _size_of(known: Any, number: int) -> int:
    """Bytes of a group of rows."""
    group, total = known.row_group(number), 0.0
    for place in range(group.num_columns):
        column = group.column(place)
        width = _WIDTHS.get(column.physical_type) or known.schema.column(place).length
        total += max(column.total_uncompressed_size, width * column.num_values)
    return int(total)
