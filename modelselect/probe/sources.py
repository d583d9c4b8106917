"""From the user's dataset argument to the rows of its splits."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from modelselect.errors import DatasetError
from modelselect.probe.boxes import box_pairs
from modelselect.probe.columns import DOCUMENT_NAMES, Asked
from modelselect.probe.folders import refuse_test_folder
from modelselect.probe.frames import frame_dataset
from modelselect.probe.huggingface import hub_id, open_hub, rows_of
from modelselect.probe.layouts import open_place
from modelselect.probe.masks import mask_pairs
from modelselect.probe.memory import MemoryRows
from modelselect.probe.named import PREFIX, find_dataset
from modelselect.probe.retrieval import PairedRows, is_corpus, open_corpus
from modelselect.probe.rows import Rows, Splits
from modelselect.probe.splits import TRAIN, WHOLE, is_test, kind_of_split, test_refused
from modelselect.probe.tables import open_dataset, table_name
from modelselect.probe.tagged import tagged_lists
from modelselect.probe.torch_datasets import TorchRows
from modelselect.utils.containers import is_a, is_table
from modelselect.utils.paths import expanded
from modelselect.utils.target_kinds import RELEVANCE

_EXPECTED = (
    "expected a folder of class folders or of tables, a table (CSV, TSV, JSON, JSON lines, Parquet or Arrow), the id "
    "of a dataset on the Hub ('owner/name[:config]'), a datasets.Dataset or DatasetDict, a DataFrame, a "
    "torch.utils.data.Dataset, (inputs, labels), a list of (input, label), or a dict of these by split"
)


def open_splits(dataset: Any, asked: Asked, kind: str | None = None) -> tuple[str, Splits]:
    """The dataset's name, and its splits.

    Args:
        dataset: as for `Probe.of`.
        asked: the columns and the split that the user names.
        kind: of the targets. For `relevance`, the rows are queries and documents.

    Raises:
        DatasetError: the dataset cannot be read, or is marked as a test split.
    """
    if kind != RELEVANCE:
        return _open(dataset, asked)
    name, splits = _open(dataset, replace(asked, label=DOCUMENT_NAMES) if asked.label is None else asked)
    return name, {each: partial(_paired, open_rows) for each, open_rows in splits.items()}


def _paired(open_rows: Callable[[], Rows]) -> Rows:
    return PairedRows.of(open_rows())


def _open(dataset: Any, asked: Asked) -> tuple[str, Splits]:
    if isinstance(dataset, (str, os.PathLike)):
        return _open_text(dataset, asked)
    if isinstance(dataset, Mapping):
        return "dataset", open_corpus(dataset) if is_corpus(dataset) else _open_mapping(dataset, asked)
    name = _name_of(dataset)
    _refuse_what_is_marked_test(dataset, name)
    if (table := _as_table(dataset)) is not None:
        return name, open_dataset(table, input=asked.input, label=asked.label)
    return name, {WHOLE: partial(_rows, dataset, asked)}


# --- what is in memory -----------------------------------------------------------------------------------------------


def _open_mapping(dataset: Mapping[Any, Any], asked: Asked) -> Splits:
    return {str(name): partial(_split, part, asked, str(name)) for name, part in dataset.items()}


def _split(part: Any, asked: Asked, name: str) -> Rows:
    """The rows of a split, which may be given as a path."""
    if not isinstance(part, (str, os.PathLike)):
        return _rows(part, asked)
    _, splits = _open_text(part, replace(asked, split=None))
    if set(splits) != {WHOLE}:
        raise DatasetError(
            f"split {name!r} was given as {str(part)!r}, which has splits of its own "
            f"({', '.join(sorted(splits))}). Give only that dataset, or a folder of class folders for each split."
        )
    return splits[WHOLE]()


def _rows(dataset: Any, asked: Asked) -> Rows:
    """The rows of a dataset without splits."""
    for reader in IN_MEMORY:
        if (rows := reader(dataset, asked)) is not None:
            return rows
    raise DatasetError(f"the dataset is {type(dataset).__name__}; {_EXPECTED}.")


def _of_pair(dataset: Any, asked: Asked) -> Rows | None:
    """Inputs and labels: words with tags, images with masks or with boxes, or any others."""
    pair = _as_pair(dataset)
    return pair and (tagged_lists(*pair) or mask_pairs(*pair) or box_pairs(*pair) or MemoryRows(*pair))


def _of_table(dataset: Any, asked: Asked) -> Rows | None:
    table = _as_table(dataset)
    return None if table is None else rows_of(table, input=asked.input, label=asked.label)


def _of_torch(dataset: Any, asked: Asked) -> Rows | None:
    if is_a(dataset, "datasets", "IterableDataset") or is_a(dataset, "torch.utils.data", "IterableDataset"):
        raise DatasetError(
            "the dataset is an IterableDataset, which cannot be sampled or read twice; expected a map-style dataset. "
            "Load it without streaming, or take some of its rows and give (inputs, labels)."
        )
    if is_a(dataset, "torch.utils.data", "DataLoader"):
        raise DatasetError(
            "the dataset is a DataLoader, which gives batches; expected the rows one by one. Give loader.dataset."
        )
    return TorchRows(dataset) if is_a(dataset, "torch.utils.data", "Dataset") else None


IN_MEMORY: Sequence[Callable[[Any, Asked], Rows | None]] = (_of_pair, _of_table, _of_torch)
"""The readers of datasets in memory. Each gives None for a dataset that it does not know."""


def _as_pair(dataset: Any) -> tuple[Any, Any] | None:
    """(inputs, labels), also from a list of (input, label)."""
    if isinstance(dataset, tuple) and len(dataset) == 2:
        inputs, labels = map(_indexable, dataset)
        return inputs, labels
    if isinstance(dataset, list) and dataset and all(isinstance(row, tuple) and len(row) == 2 for row in dataset):
        inputs, labels = map(list, zip(*dataset, strict=True))
        return inputs, labels
    return None


def _indexable(values: Any) -> Any:
    """The values; as an array, if they give one and have no items themselves."""
    gives_array = hasattr(values, "__array__") and not hasattr(values, "__getitem__")
    return np.asarray(values) if gives_array and not isinstance(values, type) else values


def _as_table(dataset: Any) -> Any:
    """The `datasets.Dataset` of a data frame, a table of Arrow or such a dataset; None of anything else."""
    if is_table(dataset):
        return frame_dataset(dataset)
    return dataset if is_a(dataset, "datasets", "Dataset") else None


def _name_of(dataset: Any) -> str:
    if is_a(dataset, "datasets", "Dataset"):
        return dataset.info.dataset_name or "dataset"
    return "arrays" if isinstance(dataset, tuple | list) else type(dataset).__name__


def _refuse_what_is_marked_test(dataset: Any, name: str) -> None:
    """Raises for a `datasets.Dataset` of split `test`, and for a dataset that torchvision made as a test set."""
    while hasattr(dataset, "dataset") and hasattr(dataset, "indices"):  # torch.utils.data.Subset
        dataset = dataset.dataset
    if is_a(dataset, "torch.utils.data", "ConcatDataset"):
        for part in dataset.datasets:
            _refuse_what_is_marked_test(part, name)
    if getattr(dataset, "train", None) is False or is_test(str(getattr(dataset, "split", None))):
        raise DatasetError(test_refused(name, "this dataset was made as one"))


# --- what a text names -----------------------------------------------------------------------------------------------


def _open_text(given: str | os.PathLike[str], asked: Asked) -> tuple[str, Splits]:
    """The dataset that a path, a name such as `data:cifar10`, or an id on the Hub stands for."""
    if isinstance(given, str) and given.startswith(PREFIX):
        return _open_named(given, asked)
    if not os.fspath(given):  # as a path, an empty text would be the working directory
        raise DatasetError(f"the dataset is an empty text; {_EXPECTED}.")
    try:
        path = expanded(given)
        is_folder = path.is_dir()
    except (OSError, RuntimeError) as error:  # the name is too long, or the home folder is unknown
        raise DatasetError(f"{str(given)[:200]!r} is not a path ({error}); {_EXPECTED}.") from None
    if is_folder:
        refuse_test_folder(path)
        return _folder_name(path), open_place(path, asked)
    if path.is_file():
        return table_name(path), open_place(path, asked)
    if path.exists():
        raise DatasetError(
            f"{str(given)!r} is a pipe or a device, which may never end; write its content to a file, and give the file"
        )
    near = _near(path)
    if isinstance(given, str) and not near and (found := hub_id(given)) is not None:
        return given, open_hub(*found, asked.split, input=asked.input, label=asked.label)
    hint = f" Did you mean {str(near[0])!r}?" if near else ""
    raise DatasetError(f"there is no folder or file {str(given)!r}.{hint} Give {_EXPECTED.removeprefix('expected ')}.")


def _open_named(expression: str, asked: Asked) -> tuple[str, Splits]:
    """The splits of a dataset that is known by name. Its columns and its split count where the user names none."""
    named = find_dataset(expression)
    if named.folder is None:
        asked = replace(asked, input=asked.input or named.input, label=asked.label or named.label)
    _, splits = _open_text(named.place, asked)
    if asked.split is None and named.split is not None and named.split in splits:
        splits = {named.split: splits[named.split]}
    return named.name, splits


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
