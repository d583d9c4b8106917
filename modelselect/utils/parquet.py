"""What Parquet files take when they are decoded, by their metadata: some kilobytes may hold a hundred million rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WIDTHS = {"BOOLEAN": 1 / 8, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8, "BYTE_ARRAY": 4}
"""Bytes of a decoded value by its physical type. Of a text or of bytes: where it begins."""

_TEXT = "BYTE_ARRAY"


@dataclass(frozen=True)
class Decoded:
    """What files hold once they are decoded.

    Attributes:
        rows: number of rows.
        columns: number of columns.
        size: bytes of all rows, at least.
        largest: bytes of the largest group of rows, which is decoded at once, at least.
    """

    rows: int
    columns: int
    size: int
    largest: int

    @classmethod
    def of(cls, paths: Iterable[str | Path], most: float) -> Decoded:
        """Of several files together.

        Args:
            paths: of the files.
            most: bytes. Where a group of rows may have more, because texts that the file holds once are in many rows,
                these are decoded and counted.

        Raises:
            pyarrow.ArrowException: a file is no Parquet file.
        """
        from pyarrow.parquet import ParquetFile, read_metadata

        rows = columns = size = largest = 0
        for path in paths:
            known = read_metadata(path)
            texts = [c.path for c in map(known.schema.column, range(known.num_columns)) if c.physical_type == _TEXT]
            with ParquetFile(path, read_dictionary=texts) as file:
                groups = [
                    _size_of(known, number) + _repeated(file, number, texts, most)
                    for number in range(known.num_row_groups)
                ]
            rows, columns = rows + known.num_rows, max(columns, known.num_columns)
            size, largest = size + sum(groups), max([largest, *groups])
        return cls(rows, columns, size, largest)


def _repeated(file: Any, number: int, texts: list[str], most: float) -> int:
    """Bytes of the texts of a group of rows that the file holds once, if there may be more than `most`."""
    import pyarrow.compute as pc

    first = next(file.iter_batches(1, row_groups=[number], columns=texts), None) if texts else None
    if first is None:
        return 0
    longest = sum(pc.max(pc.binary_length(each.dictionary)).as_py() or 0 for each in _dictionaries(first.columns))
    group = file.metadata.row_group(number)
    if longest * max(group.column(place).num_values for place in range(group.num_columns)) <= most:
        return 0
    return sum(
        pc.sum(pc.binary_length(each.dictionary).take(each.indices)).as_py() or 0
        for batch in file.iter_batches(row_groups=[number], columns=texts)
        for each in _dictionaries(batch.columns)
    )


def _dictionaries(arrays: Iterable[Any]) -> Iterator[Any]:
    """Arrays of texts that are held once, also those in lists and structures."""
    import pyarrow as pa

    for array in arrays:
        if isinstance(array, pa.DictionaryArray):
            yield array
        elif isinstance(array, pa.MapArray):
            yield from _dictionaries([array.keys, array.items])
        elif array.type.num_fields:
            inner = array.flatten()
            yield from _dictionaries(inner if isinstance(inner, list) else [inner])


def _size_of(known: Any, number: int) -> int:
    """Bytes of a group of rows."""
    group, total = known.row_group(number), 0.0
    for place in range(group.num_columns):
        column = group.column(place)
        width = _WIDTHS.get(column.physical_type) or known.schema.column(place).length
        total += max(column.total_uncompressed_size, width * column.num_values)
    return int(total)
