"""From the user's dataset argument to the rows of its splits."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from modelselect.errors import DatasetError
from modelselect.probe.boxes import box_pairs
from modelselect.probe.coco import has_coco, is_coco, open_coco
from modelselect.probe.columns import DOCUMENT_NAMES, Label
from modelselect.probe.folders import listings_for, open_folder, refuse_test_folder
from modelselect.probe.frames import frame_dataset
from modelselect.probe.huggingface import hub_id, is_saved, open_hub, open_saved, rows_of
from modelselect.probe.masks import has_masks, mask_pairs, open_masks
from modelselect.probe.memory import MemoryRows
from modelselect.probe.named import PREFIX, find_dataset
from modelselect.probe.retrieval import PairedRows, is_corpus, is_retrieval, open_corpus, open_retrieval
from modelselect.probe.rows import Rows
from modelselect.probe.splits import TRAIN, WHOLE, is_test, kind_of_split, test_refused
from modelselect.probe.tables import (
    has_class_folders,
    open_dataset,
    open_table,
    open_tables,
    remark_on_tables,
    table_name,
)
from modelselect.probe.tagged import conll_files, conll_rows, is_conll, tagged_lists
from modelselect.probe.torch_datasets import TorchRows
from modelselect.probe.voc import is_voc, open_voc
from modelselect.utils.containers import is_a, is_table
from modelselect.utils.target_kinds import RELEVANCE

_EXPECTED = (
    "expected a folder of class folders or of tables, a table (CSV, TSV, JSON, JSON lines, Parquet or Arrow), the id "
    "of a dataset on the Hub ('owner/name[:config]'), a datasets.Dataset or DatasetDict, a DataFrame, a "
    "torch.utils.data.Dataset, (inputs, labels), a list of (input, label), or a dict of these by split"
)

Input = str | Sequence[str] | None
"""The columns of inputs: a name; two names for pairs of texts; or None to find them."""

Splits = Mapping[str, Callable[[], Rows]]
"""Functions that open the rows of each split; only those of used splits are called."""


def open_splits(
    dataset: Any, *, input: Input, label: Label, split: str | None, kind: str | None = None
) -> tuple[str, Splits]:
    """The dataset's name, and its splits.

    Args:
        dataset: as for `Probe.of`, like the following arguments.
        input: columns of inputs.
        label: columns of labels.
        split: the split to draw from.
        kind: of the targets. For `relevance`, the rows are queries and documents.

    Raises:
        DatasetError: the dataset cannot be read, or is marked as a test split.
    """
    if kind != RELEVANCE:
        return _open(dataset, input=input, label=label, split=split)
    name, splits = _open(dataset, input=input, label=DOCUMENT_NAMES if label is None else label, split=split)
    return name, {each: partial(_paired, open_rows) for each, open_rows in splits.items()}


def _paired(open_rows: Callable[[], Rows]) -> Rows:
    return PairedRows.of(open_rows())


def _open(dataset: Any, *, input: Input, label: Label, split: str | None) -> tuple[str, Splits]:
    if isinstance(dataset, Mapping) and is_corpus(dataset):
        return "dataset", open_corpus(dataset)
    if isinstance(dataset, Mapping):
        return "dataset", {
            str(name): partial(_rows, rows, input=input, label=label, split=str(name)) for name, rows in dataset.items()
        }
    if isinstance(dataset, (str, os.PathLike)):
        return _open_path(dataset, input=input, label=label, split=split)
    name = "arrays" if isinstance(dataset, tuple | list) else type(dataset).__name__
    if is_a(dataset, "datasets", "Dataset"):
        name = dataset.info.dataset_name or "dataset"
    _refuse_what_is_marked_test(dataset, name)
    if is_table(dataset):
        return name, open_dataset(frame_dataset(dataset), input=input, label=label)
    if is_a(dataset, "datasets", "Dataset"):
        return name, open_dataset(dataset, input=input, label=label)
    return name, {WHOLE: partial(_rows, dataset, input=input, label=label)}


def _rows(dataset: Any, *, input: Input, label: Label, split: str | None = None) -> Rows:
    """The rows of a dataset that is one split; `split` is its name, if the user gave one."""
    if isinstance(dataset, (str, os.PathLike)):
        _, splits = _open_path(dataset, input=input, label=label, split=None)
        if set(splits) != {WHOLE}:
            raise DatasetError(
                f"split {split!r} was given as {str(dataset)!r}, which has splits of its own "
                f"({', '.join(sorted(splits))}). Give only that dataset, or a folder of class folders for each split."
            )
        return splits[WHOLE]()
    if isinstance(dataset, tuple) and len(dataset) == 2:
        return _pair(*dataset)
    if isinstance(dataset, list) and dataset and all(isinstance(row, tuple) and len(row) == 2 for row in dataset):
        inputs, labels = map(list, zip(*dataset, strict=True))
        return _pair(inputs, labels)
    if is_table(dataset):
        return rows_of(frame_dataset(dataset), input=input, label=label)
    if is_a(dataset, "datasets", "Dataset"):
        return rows_of(dataset, input=input, label=label)
    if is_a(dataset, "datasets", "IterableDataset") or is_a(dataset, "torch.utils.data", "IterableDataset"):
        raise DatasetError(
            "the dataset is an IterableDataset, which cannot be sampled or read twice; expected a map-style dataset. "
            "Load it without streaming, or take some of its rows and give (inputs, labels)."
        )
    if is_a(dataset, "torch.utils.data", "DataLoader"):
        raise DatasetError(
            "the dataset is a DataLoader, which gives batches; expected the rows one by one. Give loader.dataset."
        )
    if is_a(dataset, "torch.utils.data", "Dataset"):
        return TorchRows(dataset)
    raise DatasetError(f"the dataset is {type(dataset).__name__}; {_EXPECTED}.")


def _pair(inputs: Any, labels: Any) -> Rows:
    """Words with tags, images with masks or boxes, or any other inputs with labels."""
    found = tagged_lists(inputs, labels) or mask_pairs(inputs, labels) or box_pairs(inputs, labels)
    return found or MemoryRows(inputs, labels)


def _refuse_what_is_marked_test(dataset: Any, name: str) -> None:
    """Raises for a `datasets.Dataset` of split `test`, and for a dataset that torchvision made as a test set."""
    while hasattr(dataset, "dataset") and hasattr(dataset, "indices"):  # torch.utils.data.Subset
        dataset = dataset.dataset
    if is_a(dataset, "torch.utils.data", "ConcatDataset"):
        for part in dataset.datasets:
            _refuse_what_is_marked_test(part, name)
    if getattr(dataset, "train", None) is False or is_test(str(getattr(dataset, "split", None))):
        raise DatasetError(test_refused(name, "this dataset was made as one"))


def _open_path(given: str | os.PathLike[str], *, input: Input, label: Label, split: str | None) -> tuple[str, Splits]:
    if isinstance(given, str) and given.startswith(PREFIX):
        return _open_named(given, input=input, label=label, split=split)
    if not os.fspath(given):  # as a path, an empty text would be the working directory
        raise DatasetError(f"the dataset is an empty text; {_EXPECTED}.")
    try:
        path = Path(given).expanduser()
        is_folder = path.is_dir()
    except (OSError, RuntimeError) as error:  # the name is too long, or the home folder is unknown
        raise DatasetError(f"{str(given)[:200]!r} is not a path ({error}); {_EXPECTED}.") from None
    if is_folder:
        refuse_test_folder(path)
        if is_saved(path):
            return _folder_name(path), open_saved(path, input=input, label=label)
        return _folder_name(path), _open_folder(path, split, input=input, label=label)
    if path.exists() and not path.is_file():
        raise DatasetError(
            f"{str(given)!r} is a pipe or a device, which may never end; write its content to a file, and give the file"
        )
    if path.exists() and is_conll(path):
        return table_name(path), {WHOLE: partial(conll_rows, path)}
    if is_coco(path):
        return table_name(path), _without_columns(path, "images and boxes", input, label, open_coco)
    if path.exists():
        return table_name(path), open_table(path, input=input, label=label)
    near = _near(path)
    if isinstance(given, str) and not near and (found := hub_id(given)) is not None:
        return given, open_hub(*found, split, input=input, label=label)
    hint = f" Did you mean {str(near[0])!r}?" if near else ""
    raise DatasetError(f"there is no folder or file {str(given)!r}.{hint} Give {_EXPECTED.removeprefix('expected ')}.")


def _open_named(expression: str, *, input: Input, label: Label, split: str | None) -> tuple[str, Splits]:
    """The splits of a dataset that is known by name. Its columns and its split count where the user names none."""
    named = find_dataset(expression)
    if named.folder is not None:
        _, splits = _open_path(named.place, input=input, label=label, split=split)
    else:
        _, splits = _open_path(named.place, input=input or named.input, label=label or named.label, split=split)
    if split is None and named.split is not None and named.split in splits:
        splits = {named.split: splits[named.split]}
    return named.name, splits


def _open_folder(path: Path, split: str | None, *, input: Input, label: Label) -> Splits:
    if is_voc(path):
        if input is not None:
            raise DatasetError(
                f"input={input!r} names a column, and the images of {path} are in a folder of the layout of PASCAL "
                "VOC. Leave out input= (--input)."
            )
        return open_voc(path, label)
    if is_retrieval(path):
        return open_retrieval(path)
    if has_coco(path):
        return _without_columns(path, "images and boxes", input, label, open_coco)
    if has_masks(path):
        return _without_columns(path, "images and masks", input, label, open_masks)
    listings = listings_for(path)
    if not has_class_folders(path, listings):
        if files := conll_files(path):
            return {name: partial(conll_rows, file) for name, file in files.items()}
        tables = open_tables(path, input=input, label=label)
        return open_folder(path, split, listings) if tables is None else tables
    remarks = remark_on_tables(path)

    def saying(open_rows: Callable[[], Rows]) -> Rows:
        rows = open_rows()
        rows.remarks = (*rows.remarks, *remarks)
        return rows

    return {name: partial(saying, open_rows) for name, open_rows in open_folder(path, split, listings).items()}


def _without_columns(path: Path, what: str, input: Input, label: Label, open_path: Callable[[Path], Splits]) -> Splits:
    if input is not None or label is not None:
        raise DatasetError(
            f"input= (--input) and label= (--label) name columns, and {path} holds {what}. Leave both out."
        )
    return open_path(path)


def _folder_name(path: Path) -> str:
    """The dataset's name: its folder's, or that of the folder above `train`, whose own name says nothing."""
    path = path.resolve()
    return path.parent.name or path.name if kind_of_split(path.name) == TRAIN else path.name


def _near(path: Path) -> list[Path]:
    """Existing folders and files whose paths differ in one name from the missing one."""
    missing = next((p for p in [*reversed(path.parents), path] if not p.exists()), path)
    names = [entry.name for entry in missing.parent.iterdir()] if missing.parent.is_dir() else []
    close = difflib.get_close_matches(missing.name, names, n=3, cutoff=0.6)
    return [near for name in close if (near := missing.parent / name / path.relative_to(missing)).exists()]
