"""Tables: files such as CSV and Parquet, and folders that hold such files."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from modelselect.errors import DatasetError
from modelselect.probe.columns import Label
from modelselect.probe.csv_files import read_csv
from modelselect.probe.dataset_folders import check_cards, check_files, check_json, outside
from modelselect.probe.huggingface import HuggingFaceRows, rows_of
from modelselect.probe.images import LFS_POINTER, has_image_suffix
from modelselect.probe.listing import Listings, some
from modelselect.probe.paths import Origin
from modelselect.probe.rows import IMAGE, Rows, Splits
from modelselect.probe.sizes import check_parquet
from modelselect.probe.splits import TEST, TRAIN, WHOLE, kind_of_split, test_refused
from modelselect.probe.table_splits import by_split
from modelselect.utils.shared import SharedChange
from modelselect.utils.text import counted

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

_AT_ONCE = 10_000
"""Rows of Parquet that `datasets` reads at once. By itself it takes the size of the first group of rows, maybe 0."""

_SHARD = re.compile(r"-\d{5}-of-\d{5}(-[0-9a-f]+)?$")


def open_dataset(dataset: Any, *, remarks: Sequence[str] = (), **arguments: Any) -> Splits:
    """Functions that open the rows of each split of a table without splits: one, or those that its own column says."""
    parts = by_split(dataset, arguments.get("label"))
    if parts is None:
        return {WHOLE: partial(_rows, dataset, remarks, arguments)}
    by, datasets = parts
    said = (
        f"The rows are split by {by} ({', '.join(f'{name}: {len(part)}' for name, part in sorted(datasets.items()))})."
    )
    return {name: partial(_rows, part, (*remarks, said), arguments) for name, part in datasets.items()}


def open_table(path: Path, *, input: Any, label: Label) -> Splits:
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


def open_tables(root: Path, *, input: Any, label: Label) -> Splits | None:
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
            with file.open("rb") as opened:
                start = opened.read(len(LFS_POINTER))
            if start == LFS_POINTER:
                raise DatasetError(
                    f"the table {file} is a pointer of Git LFS, not the table itself. Get it with `git lfs pull`."
                )
            if not start:
                raise DatasetError(f"the table {file} is an empty file; expected at least two rows, of two classes.")
        if kind == "csv":
            parts = [datasets.Dataset(read_csv(file, separator)) for file in files]
            return parts[0] if len(parts) == 1 else datasets.concatenate_datasets(parts)
        if kind == "json":
            for file in files:
                check_json(file)
        names = [re.sub(r"([*?\[])", r"[\1]", str(file)) for file in files]  # datasets takes a name for a pattern
        at_once = {"batch_size": _AT_ONCE} if kind == "parquet" else {}
        builder = datasets.load_dataset_builder(str(kind), data_files={"train": names}, **at_once)
        return _prepared(builder, files)["train"]
    except DatasetError:
        raise
    except Exception as error:
        if "corresponds to no data" in str(error):
            raise DatasetError(f"the table {files[0]} has no rows; expected at least two, of two classes.") from None
        raise DatasetError(
            f"the table {files[0]} cannot be read ({_cause(error)}). Repair the file, or read it yourself and give the "
            "DataFrame."
        ) from error


def _prepared(builder: Any, files: Iterable[str | Path]) -> Any:
    """The splits of a builder of `datasets`, which decodes files into its cache, if they fit there and in memory."""
    packed = [file for file in files if Path(file).suffix.lower() == ".parquet"]
    if packed:
        check_parquet(packed, builder)
    with _WITHOUT_LOG.made():
        builder.download_and_prepare(verification_mode="no_checks")
    return builder.as_dataset()


def _read_verbosity() -> int:
    from datasets.utils import logging

    return int(logging.get_verbosity())


def _set_verbosity(level: int) -> None:
    from datasets.utils import logging

    logging.set_verbosity(level)


_WITHOUT_LOG = SharedChange(_read_verbosity, _set_verbosity, lambda _: logging.CRITICAL)
"""`datasets` writes nothing about an error that it raises, too."""


def _refuse_test_table(path: Path) -> None:
    """Raises for a table that is the test split next to a table of training rows."""

    def kind(file: Path) -> str | None:
        return kind_of_split(_SHARD.sub("", file.name.split(".")[0]))

    if kind(path) == TEST and any(
        _format(p) and kind(p) == TRAIN for p in Path(os.path.abspath(path)).parent.iterdir()
    ):
        raise DatasetError(test_refused(str(path), "its folder has training rows, too"))


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


def _tables_of_images(root: Path, tables: Sequence[Path], images: int, *, input: Any, label: Label) -> Splits:
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
        said = (
            [f"The folder holds {images:,} images, and {chosen[0].name} has {counted(len(dataset), 'row')}."]
            if left > 0
            else []
        )
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


def _tables_of_datasets(root: Path, tables: Sequence[Path], *, input: Any, label: Label) -> Splits:
    """A folder as `hf download --repo-type dataset` leaves it; `datasets` says which table is of which split."""
    import datasets

    try:
        check_files(root)
        check_cards(root)
        builder = datasets.load_dataset_builder(str(root))
    except DatasetError:
        raise
    except Exception as error:
        raise _not_read(root, tables[0], error) from error
    files = {str(split): [str(file) for file in names] for split, names in builder.config.data_files.items()}
    inside = os.path.abspath(root) + os.sep
    for name in [name for names in files.values() for name in names]:
        if not os.path.abspath(name).startswith(inside) or "::" in name:
            raise outside(root, name)
    if not all(files.values()):
        raise _not_read(root, tables[0], ValueError("no file has a name as its description says"))
    read = {os.path.abspath(name) for names in files.values() for name in names}
    unread = [table for table in tables if os.path.abspath(table) not in read]
    remarks = (
        [f"Tables in the folder that are not read: {len(unread)} of {len(tables)} ({_names(unread, root)})."]
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
            made = _prepared(builder, sorted(read))
        except DatasetError:
            raise
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
