"""Tables: files such as CSV and Parquet, and folders that hold such files."""

from __future__ import annotations

import csv
import gzip
import itertools
import os
import re
import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from modelselect.errors import DatasetError
from modelselect.probe.columns import LABEL_NAMES, TEXT_NAMES, Label, is_text, sample_of, values_of
from modelselect.probe.frames import plain_table
from modelselect.probe.huggingface import HuggingFaceRows, rows_of
from modelselect.probe.images import has_image_suffix
from modelselect.probe.listing import Listings, some
from modelselect.probe.paths import Origin, may_be_paths
from modelselect.probe.rows import IMAGE, Rows
from modelselect.probe.splits import TEST, TRAIN, WHOLE, kind_of_split, test_refused
from modelselect.utils.json_stream import fault_of_rows

FORMATS: Mapping[str, str] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
    ".arrow": "arrow",
}
"""Suffixes of files that are tables, and the format of each, by the name that `datasets` has for it."""

_OTHER_FILES: Mapping[str, str] = {
    ".zip": "Unpack the archive, and give the folder",
    ".tar": "Unpack the archive, and give the folder",
    ".tgz": "Unpack the archive, and give the folder",
    ".gz": "Unpack the file, and give the table or the folder in it",
    ".bz2": "Unpack the file, and give the table or the folder in it",
    ".xz": "Unpack the file, and give the table or the folder in it",
    ".7z": "Unpack the archive, and give the folder",
    ".rar": "Unpack the archive, and give the folder",
    ".xlsx": "Read the sheet with pandas.read_excel(), and give the DataFrame",
    ".xls": "Read the sheet with pandas.read_excel(), and give the DataFrame",
    ".feather": "Read the file with pandas.read_feather(), and give the DataFrame",
    ".npy": "Read the array with numpy.load(), and give (inputs, labels)",
    ".npz": "Read the arrays with numpy.load(), and give (inputs, labels)",
    ".pkl": "Read the file where you trust it, and give what is in it",
    ".txt": "Make a table of the texts with a column of labels, such as a CSV file with the columns text and label",
}

_METADATA = "metadata"
"""Name of the tables that say the labels of the image files next to them."""

_SPLIT_COLUMNS = frozenset({"split", "set", "subset", "partition", "dataset_split", "usage"})
"""Columns that say splits, even if some of their values are no names of splits."""
_FLAG = re.compile(r"(is|in)[ _]")
_YES, _NO = frozenset({"1", "1.0", "true", "yes"}), frozenset({"0", "0.0", "false", "no"})
_NO_SPLIT = "no split"
"""The split of rows of which the column of splits says none."""
_SEPARATORS = (",", ";", "\t", "|")
_SHARD = re.compile(r"-\d{5}-of-\d{5}(-[0-9a-f]+)?$")
_WHOLE_NUMBER = r"^-?(0|[1-9][0-9]{0,17})$"
_NUMBER = r"^-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$"
_NO_VALUE = ("", "NA", "N/A", "NaN", "nan")
"""What stands for a missing value in a column of numbers. In a column of texts these are texts."""

Openers = dict[str, Callable[[], Rows]]


def open_dataset(dataset: Any, *, remarks: Sequence[str] = (), **arguments: Any) -> Openers:
    """Functions that open the rows of each split of a table without splits: one, or those that its own column says."""
    parts = _by_split(dataset, arguments.get("label"))
    if parts is None:
        return {WHOLE: partial(_rows, dataset, remarks, arguments)}
    by, datasets = parts
    said = (
        f"The rows are split by {by} ({', '.join(f'{name}: {len(part)}' for name, part in sorted(datasets.items()))})."
    )
    return {name: partial(_rows, part, (*remarks, said), arguments) for name, part in datasets.items()}


def open_table(path: Path, *, input: Any, label: Label) -> Openers:
    """Functions that open the rows of each split of a file that is a table. Paths in it may name any image file.

    Raises:
        DatasetError: the file is no table, is damaged, or is the test split of a dataset.
    """
    suffix = path.suffix.lower()
    if _format(path) is None:
        advice = _OTHER_FILES.get(suffix, "Give its folder, or a table")
        raise DatasetError(
            f"{path} is a file that is not read here; expected a folder, or a table ({', '.join(FORMATS)}). {advice}."
        )
    _refuse_test_table(path)
    return open_dataset(_read([path]), input=input, label=label, origin=Origin.user(path.parent))


def open_tables(root: Path, *, input: Any, label: Label) -> Openers | None:
    """Functions that open the rows of each split of a folder of tables; None for a folder without tables.

    Images that the tables name must lie in the folder, since the folder may come from somebody else.

    Raises:
        DatasetError: the folder holds several datasets, is damaged, or names files outside itself.
    """
    tables, images = _listing(root)
    if not tables:
        return None
    if images or any(_is_metadata(table) for table in tables):
        return _tables_of_images(root, tables, images, input=input, label=label)
    return _tables_of_datasets(root, tables, input=input, label=label)


def has_class_folders(root: Path, listings: Listings) -> bool:
    """True for a folder with two or more class folders of images, in itself or in the folder of a split."""
    path = os.path.realpath(root)
    splits = [name for name in listings[path].folders if kind_of_split(name)]
    classes = [name for name in listings.filled(path) if name not in splits]
    groups = [classes, *(listings.filled(os.path.join(path, split)) for split in splits)]
    return any(len(group) >= 2 for group in groups)


def remark_on_tables(root: Path) -> tuple[str, ...]:
    """The remark that tables next to class folders are not read; none if there are no tables.

    Raises:
        DatasetError: a table says other classes of the images than the class folders.
    """
    places = [root, *(entry for entry in root.iterdir() if entry.is_dir() and kind_of_split(entry.name))]
    files = [path for folder in places for path in folder.iterdir()]
    tables = [path for path in files if (_format(path) == "csv" or _is_metadata(path)) and path.is_file()]
    for table in sorted(tables):
        if _says_other_classes(table, root):
            raise DatasetError(
                f"{root} holds class folders, and {table.relative_to(root)} says other classes of the same images. To "
                f"read its labels, give the table itself ({str(table)!r}). To take the folders' names as the classes, "
                "move the table out of the folder."
            )
    if not tables:
        return ()
    names = _names(sorted(tables), root)
    return (f"The class folders say the classes; tables in the folder are not read ({names}).",)


def table_name(path: Path) -> str:
    """The dataset's name: the file's, or that of its folder if the file is named after a split."""
    path = Path(os.path.abspath(path))
    stem = _SHARD.sub("", path.name.split(".")[0])
    if kind_of_split(stem) is None and stem != _METADATA:
        return stem
    return next((p.name for p in path.parents if p.name not in ("data", "") and not kind_of_split(p.name)), stem)


def _rows(dataset: Any, remarks: Sequence[str], arguments: Mapping[str, Any]) -> Rows:
    rows = rows_of(dataset, **arguments)
    rows.remarks = (*rows.remarks, *remarks)
    return rows


def _by_split(dataset: Any, label: Label) -> tuple[str, dict[str, Any]] | None:
    """The rows of each split, and what says the split: a column, or the first folder of paths."""
    import numpy as np

    for column in [name for name in dataset.features if name != label and name.lower() not in LABEL_NAMES]:
        found = _splits_said(dataset, column)
        if found is None:
            continue
        what, said = found
        array = np.array(said, object)
        return what, {name: dataset.select(np.flatnonzero(array == name)) for name in sorted(set(said))}
    return None


def _splits_said(dataset: Any, column: str) -> tuple[str, list[str]] | None:
    """What says the splits, and the split of each row; None for a column that says none."""
    what, name = f"the column {column!r}", column.lower()
    if flag := _FLAG.match(name):
        return _splits_flagged(dataset, column, kind_of_split(name[flag.end() :]))
    if not is_text(dataset.features[column]):
        return None
    sample = sample_of(dataset, column)
    known = name in _SPLIT_COLUMNS
    of_paths = may_be_paths(sample) and all(kind_of_split(_first_folder(path)) for path in sample)
    if not (of_paths or known or all(value and kind_of_split(value) for value in sample)):
        return None
    said = values_of(dataset, column).to_pylist()
    if of_paths:
        what, said = f"the folders in the column {column!r}", [_first_folder(path) for path in said]
    kinds = {value: kind_of_split(value) if value else None for value in set(said)}
    found = set(kinds.values()) - {None}
    only_splits = None not in kinds.values()
    if known and found and (len(kinds) > 1 or TEST in found):
        return what, [value or _NO_SPLIT for value in said]
    if of_paths and only_splits and (len(kinds) > 1 or TEST in found):
        return what, said
    return (what, said) if only_splits and TRAIN in found and len(found) > 1 else None


def _splits_flagged(dataset: Any, column: str, kind: str | None) -> tuple[str, list[str]] | None:
    """The splits that a column such as `is_test` says with 0 and 1."""
    if kind not in (TRAIN, TEST):
        return None
    said = [str(value).lower() for value in values_of(dataset, column).to_pylist()]
    if not set(said) <= _YES | _NO or len(set(said)) < 2:
        return None
    other = TRAIN if kind == TEST else TEST
    return f"the column {column!r}", [kind if value in _YES else other for value in said]


def _first_folder(path: str | None) -> str:
    """The folder that a relative path begins with; an empty text for other paths."""
    first, slash, _ = (path or "").replace(os.sep, "/").removeprefix("./").partition("/")
    return first if slash else ""


# --- files -----------------------------------------------------------------------------------------------------------


def _format(path: Path) -> str | None:
    """The format of a file that is a table; None for other files."""
    name = path.name.lower().removesuffix(".gz")
    return FORMATS.get(os.path.splitext(name)[1])


def _read(files: Sequence[Path], separator: str | None = None) -> Any:
    """Tables of one format, one below the other, as a `datasets.Dataset`."""
    import datasets

    kind = _format(files[0])
    try:
        for file in files:
            if not stat.S_ISREG(file.stat().st_mode):
                raise DatasetError(f"the table {file} is a folder, a pipe or a device; expected a file.")
        if kind == "csv":
            parts = [datasets.Dataset(_read_csv(file, separator)) for file in files]
            return parts[0] if len(parts) == 1 else datasets.concatenate_datasets(parts)
        if kind == "json":
            for file in files:
                _check_json(file)
        names = [re.sub(r"([*?\[])", r"[\1]", str(file)) for file in files]  # datasets takes a name for a pattern
        loaded = datasets.load_dataset(kind, data_files={"train": names}, split="train")
        return datasets.Dataset(plain_table(loaded.data.table)) if _has_views(loaded) else loaded
    except DatasetError:
        raise
    except Exception as error:
        raise DatasetError(
            f"the table {files[0]} cannot be read ({_cause(error)}). Repair the file, or read it yourself and give the "
            "DataFrame."
        ) from error


def _check_json(path: Path) -> None:
    """Raises DatasetError for JSON on which the parser of Arrow would end this process."""
    opened: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with opened(path, "rb") as file:
        if (fault := fault_of_rows(file)) is not None:
            raise DatasetError(
                f"the table {path} {fault}; expected an object for each row, with values for its columns."
            )


def _has_views(dataset: Any) -> bool:
    return any(getattr(feature, "dtype", None) == "string_view" for feature in dataset.features.values())


def _read_csv(path: Path, separator: str | None) -> Any:
    """A CSV or TSV file as a table of Arrow.

    Columns of numbers become numbers, but only if writing them as numbers loses nothing: `007` stays a text. An empty
    field is missing. `NA` is missing among numbers; among texts it is a text, since it may be a class.
    """
    import pyarrow as pa

    opened = gzip.open if path.suffix.lower() == ".gz" else open
    with opened(path, "rb") as file:
        start = file.read(4)
    encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    if encoding == "utf-8" and b"\0" in start:
        raise _not_unicode(path)
    try:
        with opened(path, "rt", encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="") as file:
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
    names = [name.strip() or f"column {place}" for place, name in enumerate(names)]
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
        table = _parsed(path, layout, quotes=False)
    _refuse_without_header(path, names, table)
    _refuse_second_header(path, names, table)
    columns = zip(names, table.columns, strict=True)
    return pa.table([column if name.lower() in TEXT_NAMES else _typed(column) for name, column in columns], names)


@dataclass(frozen=True)
class _Layout:
    """Attributes: `above` is the number of lines above the line that holds the names of the columns."""

    names: list[str]
    separator: str
    encoding: str
    above: int


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


def _typed(column: Any) -> Any:
    """A column of texts as whole numbers or numbers, if all of it is such."""
    import pyarrow as pa
    import pyarrow.compute as pc

    trimmed = pc.utf8_trim_whitespace(column)
    missing = pc.is_in(trimmed, pa.array(_NO_VALUE))
    numbers = pc.if_else(missing, pa.scalar(None, pa.string()), trimmed)
    if numbers.null_count == len(numbers):
        return column
    for pattern, kind in ((_WHOLE_NUMBER, pa.int64()), (_NUMBER, pa.float64())):
        if pc.all(pc.match_substring_regex(numbers, pattern)).as_py():
            return numbers.cast(kind)
    return column


def _refuse_test_table(path: Path) -> None:
    """Raises for a table that is the test split next to a table of training rows."""

    def kind(file: Path) -> str | None:
        return kind_of_split(_SHARD.sub("", file.name.split(".")[0]))

    if kind(path) == TEST and any(
        _format(p) and kind(p) == TRAIN for p in Path(os.path.abspath(path)).parent.iterdir()
    ):
        raise DatasetError(test_refused(str(path), "its folder has training rows, too"))


# --- folders ---------------------------------------------------------------------------------------------------------


def _listing(root: Path) -> tuple[list[Path], int]:
    """The tables in a folder and its sub-folders, and the number of its image files."""
    tables, images = [], 0
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
        for name in sorted(files):
            path = Path(folder, name)
            if name.startswith("."):
                continue
            if _format(path):
                tables.append(path)
            images += has_image_suffix(name)
    return tables, images


def _is_metadata(path: Path) -> bool:
    return path.name.split(".")[0].lower() == _METADATA and _format(path) is not None


def _tables_of_images(root: Path, tables: Sequence[Path], images: int, *, input: Any, label: Label) -> Openers:
    """Tables next to the images that they name: `metadata.csv`, or any other table of paths and labels."""
    chosen = [table for table in tables if _is_metadata(table)] or list(tables)
    by_name: dict[str, list[Path]] = defaultdict(list)
    for table in chosen:
        by_name[_split_of(table, root)].append(table)
    if any(len(files) > 1 for files in by_name.values()):
        several = next(files for files in by_name.values() if len(files) > 1)
        raise DatasetError(
            f"{root} holds several tables for one split ({_names(several, root)}); expected one. Give the table "
            f"itself, such as {str(several[0])!r}."
        )
    arguments = {"input": input, "label": label}
    if len(chosen) == 1 and kind_of_split(next(iter(by_name))) is None:
        dataset = _read(chosen)
        left = images - len(dataset)
        said = [f"The folder holds {images} images, and {chosen[0].name} has {len(dataset)} rows."] if left > 0 else []
        return open_dataset(dataset, remarks=said, origin=Origin.folder(root, chosen[0].parent), **arguments)
    return {
        name: partial(
            _loaded_rows, partial(_read, files), (), arguments | {"origin": Origin.folder(root, files[0].parent)}
        )
        for name, files in sorted(by_name.items())
    }


def _split_of(table: Path, root: Path) -> str:
    """The name of a table's split: its own name or its folder's, if that is a split's; else its own name."""
    stem = _SHARD.sub("", table.name.split(".")[0])
    for name in (stem, *(folder.name for folder in table.relative_to(root).parents)):
        if kind_of_split(name):
            return name
    return WHOLE if stem.lower() == _METADATA else stem


def _tables_of_datasets(root: Path, tables: Sequence[Path], *, input: Any, label: Label) -> Openers:
    """A folder as `hf download --repo-type dataset` leaves it; `datasets` says which table is of which split."""
    import datasets

    try:
        builder = datasets.load_dataset_builder(str(root))
    except Exception as error:
        raise _not_read(root, tables[0], error) from error
    files = {str(split): [str(file) for file in names] for split, names in builder.config.data_files.items()}
    inside = os.path.abspath(root) + os.sep
    for name in [name for names in files.values() for name in names]:
        if not os.path.abspath(name).startswith(inside) or "::" in name:
            raise DatasetError(
                f"the dataset in {root} names a file outside that folder ({name}), so it was not opened. Give the "
                "tables of each split, or a copy of the dataset with all files in its folder."
            )
    read = {os.path.abspath(name) for names in files.values() for name in names}
    unread = [table for table in tables if os.path.abspath(table) not in read]
    remarks = (
        [f"{len(unread)} of the {len(tables)} tables in the folder are not read ({_names(unread, root)})."]
        if unread
        else []
    )
    arguments = {"input": input, "label": label, "origin": Origin.folder(root)}
    if all(_format(Path(name)) == "csv" for name in read) and builder.info.features is None:
        separator = getattr(builder.config, "sep", ",")
        separator = None if separator == "," else separator
        loaded = {split: partial(_read, [Path(n) for n in names], separator) for split, names in files.items()}
    else:
        try:
            builder.download_and_prepare(verification_mode="no_checks")
            made = builder.as_dataset()
        except Exception as error:
            raise _not_read(root, tables[0], error) from error
        loaded = {str(split): partial(made.__getitem__, split) for split in made}
    if len(loaded) == 1:
        name, load = next(iter(loaded.items()))
        opened = open_dataset(load(), remarks=remarks, **arguments)
        return {name: opened[WHOLE]} if set(opened) == {WHOLE} else opened
    return {split: partial(_loaded_rows, load, remarks, arguments) for split, load in loaded.items()}


def _loaded_rows(load: Callable[[], Any], remarks: Sequence[str], arguments: Mapping[str, Any]) -> Rows:
    return _rows(load(), remarks, arguments)


def _not_read(root: Path, table: Path, error: Exception) -> DatasetError:
    """The error for a folder of tables, one of which is `table`, that `datasets` cannot read."""
    if "scripts are no longer supported" in str(error):
        advice = "Code of a dataset is not run here. Give its tables by split"
    elif "Config name is missing" in str(error):
        advice = "The folder holds several datasets. Give the folder of one of them, or its tables by split"
    else:
        advice = "Give the tables by split"
    return DatasetError(
        f"the tables in the folder {root} cannot be read ({_cause(error)}). {advice}, such as "
        f"{{'train': {str(table)!r}}}."
    )


def _cause(error: Exception) -> str:
    """What lies behind an error of `datasets`, on one line."""
    return " ".join(str(error.__cause__ or error).split())[:300].rstrip(".")


def _names(files: Iterable[Path], root: Path) -> str:
    return some(str(file.relative_to(root)) for file in files)


def _says_other_classes(table: Path, root: Path) -> bool:
    """True if a table names images in the class folders, and labels that do not go together with the folders."""
    try:
        rows = HuggingFaceRows(_read([table]), input=None, label=None, origin=Origin.folder(root, table.parent))
        classes = rows.labels.indices.tolist()
    except DatasetError:
        return False  # the table says no classes of images
    if rows.modality != IMAGE:
        return False
    folders = [os.path.basename(os.path.dirname(path or "")) for path in rows.paths()]
    said = set(zip(folders, classes, strict=True))
    return len({folder for folder, _ in said}) < len(said) or len({label for _, label in said}) < len(said)
