"""CSV and TSV files as tables of Arrow: separators, encodings, headers, and which columns hold numbers."""

from __future__ import annotations

import csv
import gzip
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelselect.errors import DatasetError
from modelselect.probe.columns import LABEL_NAMES, TEXT_NAMES
from modelselect.probe.paths import may_be_paths
from modelselect.probe.sizes import check_text

_SEPARATORS = (",", ";", "\t", "|")

_WHOLE_NUMBER = r"^-?(0|[1-9][0-9]{0,17})$"

_DIGITS = r"^-?(0|[1-9][0-9]*)$"
"""Whole numbers of any length. Long ones, such as the ids of accounts, stay texts."""

_NUMBER = r"^-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$"

_NUMBER_WITH_COMMA = r"^-?(0|[1-9][0-9]*)(,[0-9]+)?$"

_FRACTION = r",([0-9]{1,2}|[0-9]{4,})$"
"""What follows a comma in a number, unless it may be hundreds after thousands."""

_NO_VALUE = ("", "NA", "N/A", "NaN", "nan")
"""What stands for a missing value in a column of numbers. In a column of texts these are texts."""


def read_csv(path: Path, separator: str | None) -> Any:
    """A CSV or TSV file as a table of Arrow.

    Columns of numbers become numbers, but only if writing them as numbers loses nothing: `007` stays a text. An empty
    field is missing. `NA` is missing among numbers; among texts it is a text, since it may be a class. Between
    semicolons, `1,5` is a number. Columns without a name and without a value are left out.
    """
    import pyarrow as pa

    check_text(path)
    with gzip.open(path) if _zipped(path) else path.open("rb") as file:
        start = file.read(4)
    encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    if encoding == "utf-8" and b"\0" in start:
        raise _not_unicode(path)
    try:
        with _opened(path, encoding) as file:
            above, stated, header = _lines_above(file)
            separator = separator or stated or ("\t" if ".tsv" in path.suffixes else _separator(header))
            lines = csv.reader(itertools.chain([header], file), delimiter=separator)
            names, below = next(lines, []), next(lines, None)
    except UnicodeError:
        raise _not_unicode(path) from None
    if below is None:
        raise DatasetError(
            f"the table {path} has no rows below its first line, which must hold the names of the columns "
            f"({', '.join(names)[:200]})."
        )
    stated_names, names = names, [name.strip() or f"column {place}" for place, name in enumerate(names)]
    if len(set(names)) < len(names):
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        raise DatasetError(f"the table {path} has several columns named {', '.join(twice)}. Rename them.")
    layout = _Layout(names, separator, encoding, above)
    try:
        table = _parsed(path, layout)
    except pa.ArrowInvalid as error:
        if "UTF8" in str(error):
            raise _not_unicode(path) from None
        if separator != "\t":
            raise
        table = _parsed(path, layout, quotes=False)
    if separator == "\t" and any(_holds_lines(column) for column in table.columns):
        try:
            table = _parsed(path, layout, quotes=False)
        except pa.ArrowInvalid:
            if not _strictly_quoted(path, layout):
                raise
    _refuse_without_header(path, names, table)
    _refuse_second_header(path, names, table)
    comma = separator == ";"  # which is what spreadsheets write where a comma stands in numbers
    columns = {
        name: column if name.lower() in TEXT_NAMES else _typed(column, comma=comma)
        for name, column, given in zip(names, table.columns, stated_names, strict=True)
        if given.strip() or column.null_count < len(column)
    }
    return pa.table(columns)


@dataclass(frozen=True)
class _Layout:
    """Attributes: `above` is the number of lines above the line that holds the names of the columns."""

    names: list[str]
    separator: str
    encoding: str
    above: int


def _zipped(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _opened(path: Path, encoding: str) -> Any:
    """The file's lines, without a mark of its encoding, and with their ends as they are."""
    encoding = "utf-8-sig" if encoding == "utf-8" else encoding
    return (gzip.open if _zipped(path) else open)(path, "rt", encoding=encoding, newline="")


def _lines_above(file: Iterable[str]) -> tuple[int, str | None, str]:
    """The number of lines above the header, which are blank or Excel's `sep=;`; that separator; and the header."""
    separator = None
    for place, line in enumerate(file):
        if match := re.fullmatch(r'"?sep=(.)"?\s*', line):
            separator = match[1]
        elif line.strip():
            return place, separator, line
    return 0, separator, ""


def _parsed(path: Path, layout: _Layout, *, quotes: bool = True) -> Any:
    """The rows of a CSV file as a table of texts. `quotes`: a quotation mark encloses a field."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    return arrow_csv.read_csv(
        path,
        arrow_csv.ReadOptions(
            column_names=layout.names,
            skip_rows=layout.above,
            skip_rows_after_names=1,
            encoding=layout.encoding,
            block_size=1 << 24,
        ),
        arrow_csv.ParseOptions(
            delimiter=layout.separator, newlines_in_values=quotes, quote_char='"' if quotes else False
        ),
        arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(layout.names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _holds_lines(column: Any) -> bool:
    """True if a field holds whole lines of a table with tabs, since it starts with a quotation mark that is a text."""
    import pyarrow.compute as pc

    return bool(pc.any(pc.match_substring_regex(column, r"(?s)\t.*\n|\n.*\t")).as_py())


def _strictly_quoted(path: Path, layout: _Layout) -> bool:
    """True if every quotation mark at the start of a field has its partner at the end, as a program writes them."""
    with _opened(path, layout.encoding) as file:
        rows = csv.reader(itertools.islice(file, layout.above, None), delimiter=layout.separator, strict=True)
        try:
            return all(len(fields) in (0, len(layout.names)) for fields in rows)
        except csv.Error:
            return False


def _refuse_without_header(path: Path, names: Sequence[str], table: Any) -> None:
    """Raises for a table whose first line is a row: a name in it is a value of its own column, too, or a path."""
    import pyarrow as pa
    import pyarrow.compute as pc

    usual = {*LABEL_NAMES, *TEXT_NAMES}
    if any(name.lower() in usual for name in names) or names == [str(place) for place in range(len(names))]:
        return
    for name, column in zip(names, table.columns, strict=True):
        if may_be_paths([name]) or pc.any(pc.equal(pc.utf8_trim_whitespace(column), pa.scalar(name))).as_py():
            raise DatasetError(
                f"the table {path} seems to lack the line with the names of its columns: its first line says {name!r}, "
                "which looks like a value. Add a first line with a name for each column, such as: "
                f"{','.join(f'column{place}' for place in range(1, len(names) + 1))}"
            )


def _refuse_second_header(path: Path, names: Sequence[str], table: Any) -> None:
    """Raises for tables that were written one below the other, each with the names of its columns."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    same = np.ones(len(table), np.bool_)
    for name, column in zip(names, table.columns, strict=True):
        same &= pc.equal(column, pa.scalar(name)).fill_null(False).to_numpy()
    if same.any():
        raise DatasetError(
            f"the table {path} says the names of its columns again in row {int(same.argmax())}, as if it were several "
            "tables. Remove such lines."
        )


def _not_unicode(path: Path) -> DatasetError:
    return DatasetError(
        f"the table {path} is not in UTF-8. Save the table in UTF-8, or read it with pandas.read_csv(..., "
        "encoding='cp1252') or the encoding that it has, and give the DataFrame."
    )


def _separator(header: str) -> str:
    unquoted = re.sub(r'"[^"]*"', "", header)
    return max(_SEPARATORS, key=unquoted.count)


def _typed(column: Any, *, comma: bool) -> Any:
    """A column of texts as whole numbers or numbers, if all of it is such; `comma`: 1,5 is a number, too."""
    import pyarrow as pa
    import pyarrow.compute as pc

    trimmed = pc.utf8_trim_whitespace(column)
    missing = pc.is_in(trimmed, pa.array(_NO_VALUE))
    numbers = pc.if_else(missing, pa.scalar(None, pa.string()), trimmed)
    if numbers.null_count == len(numbers):
        return column
    for pattern, kind in ((_WHOLE_NUMBER, pa.int64()), (_DIGITS, None), (_NUMBER, pa.float64())):
        if pc.all(pc.match_substring_regex(numbers, pattern)).as_py():
            return column if kind is None else numbers.cast(kind)
    if (
        comma
        and pc.all(pc.match_substring_regex(numbers, _NUMBER_WITH_COMMA)).as_py()
        and pc.any(pc.match_substring_regex(numbers, _FRACTION)).as_py()
    ):
        return pc.replace_substring(numbers, ",", ".").cast(pa.float64())
    return column
