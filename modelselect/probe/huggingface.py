"""Rows from `datasets`: a `Dataset`, a folder that `save_to_disk` made, or the id of a dataset on the Hub."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from modelselect.errors import DatasetError
from modelselect.probe.boxes import box_columns, box_table
from modelselect.probe.columns import (
    TEXT_NAMES,
    Columns,
    Input,
    Label,
    in_order,
    is_image,
    is_sound,
    is_whole,
    kind,
    sample_of,
    values_of,
)
from modelselect.probe.dataset_folders import check_files, outside
from modelselect.probe.hub_files import check_description, fetch_files
from modelselect.probe.images import SIGNATURES, Reading, UnreadableError
from modelselect.probe.labels import GivenLabels
from modelselect.probe.masks import mask_columns, mask_table
from modelselect.probe.paths import Origin, may_be_paths, name_of_path_row, origin_of_paths
from modelselect.probe.rows import AUDIO, IMAGE, TEXT, Rows, Splits
from modelselect.probe.sizes import check_rows
from modelselect.probe.sounds import are_sounds
from modelselect.probe.splits import WHOLE
from modelselect.probe.tagged import tagged_columns
from modelselect.probe.texts import blank_remark
from modelselect.utils.downloads import answer_within
from modelselect.utils.http_errors import is_transport, status_of

_MANY_NUMBERS = re.compile(r"[\[(]?\s*\d+(\.\d*)?(\s*[\s,;]\s*\d+(\.\d*)?){8,}\s*[\])]?")
_IDENTIFIER = re.compile(r"[0-9a-f]{8,}(-[0-9a-f]+)*|[A-Za-z]{0,20}([-_.]?\d+)+")
"""What names a file and is no text: `train_0012`, `3f786850e387550f`."""
_HUB_ID = re.compile(r"(?P<path>[\w.-]+/[\w.-]+)(:(?P<config>[^/:\s]+))?", re.ASCII)

LISTING_SECONDS = 300.0
"""Seconds within which the Hub lists the files of a dataset. `datasets` itself would wait without end."""


class HuggingFaceRows(Rows):
    """The rows of a `datasets.Dataset`; its format and its transforms are ignored.

    A column of paths of image files is a column of images.

    Args:
        dataset: map-style.
        input: name of the column of images or texts, or two names for pairs of texts; None finds them.
        label: name of the column of labels, or several names; None finds it.
        origin: where the dataset comes from, which decides which files its rows may name. None: it is the user's own.

    Raises:
        DatasetError: a column is missing, is ambiguous, or is of an unsupported kind.
    """

    source = "datasets.Dataset"
    has_columns = True

    def __init__(self, dataset: Any, *, input: Input, label: Label, origin: Origin | None = None) -> None:
        import datasets

        origin = origin or Origin.user()
        dataset = _with_images(dataset)
        columns = Columns.of(dataset, input, label)
        first = columns.inputs[0]
        if of_numbers := is_whole(dataset.features[first]):
            of_labels = [columns.label] if isinstance(columns.label, str) else list(columns.label or ())
            kept = dataset.select_columns(list(dict.fromkeys((*columns.inputs, *of_labels))))
            dataset = _as_texts(kept, [first], "string")
        self._origin: Origin | None = origin
        if not is_image(dataset.features[first]):
            self._origin = None
            if len(columns.inputs) == 1:
                self._origin = origin_of_paths(
                    sample_of(dataset, first),
                    lambda: values_of(dataset, first).to_pylist(),
                    origin,
                    where=f"the values of column {first!r}",
                    named=input is not None,
                )
        if self._origin is None and not is_image(dataset.features[first]) and len(columns.inputs) == 1:
            chosen = input is not None or first.lower() in TEXT_NAMES
            _refuse_what_is_no_text(sample_of(dataset, first), first, of_numbers, chosen=chosen)
        feature = dataset.features[first]
        of_sounds = is_sound(feature) or (not is_image(feature) and are_sounds(sample_of(dataset, first)))
        super().__init__(
            TEXT if self._origin is None else AUDIO if of_sounds else IMAGE, _labels(dataset, columns.label)
        )
        self.remarks = columns.remarks
        if self._origin is not None and not set(self._origin.folders) <= set(origin.folders):
            place = os.path.relpath(self._origin.folders[0], origin.searched[0])
            self.remarks += (f"The images that column {first!r} names are in the folder {place}.",)
        if self.modality == TEXT:
            self.remarks += blank_remark(_blank(dataset, columns.inputs))
        dataset = dataset.with_format(None).select_columns(list(columns.inputs))
        if self.modality == IMAGE:
            self.reading = Reading(upright=True)
        if is_sound(feature := dataset.features[first]):
            dataset = dataset.cast_column(first, datasets.Audio(decode=False))
        elif is_image(feature):
            self.reading = Reading(upright=True, mode=feature.mode)
            dataset = dataset.cast_column(first, datasets.Image(decode=False))
        self._dataset, self._columns = dataset, columns.inputs
        named = first if len(columns.inputs) == 1 else list(columns.inputs)
        label_columns = columns.label if isinstance(columns.label, str) else list(columns.label)
        self.notes = {"input": named, "label": label_columns, "datasets": datasets.__version__}

    def raw(self, row: int) -> Any:
        found = self._dataset[row]
        values = [found[column] for column in self._columns]
        if None in values:
            raise UnreadableError("missing")
        if self._origin is None:
            return values[0] if len(values) == 1 else tuple(values)
        path = values[0]
        if not isinstance(path, str):
            if path["bytes"] is not None:
                return path["bytes"]
            path = path["path"]
        if not path:
            raise UnreadableError("missing")
        return self._origin.read(path)

    def row_name(self, row: int) -> str:
        value = None if self._origin is None else self._dataset[row][self._columns[0]]
        return name_of_path_row(row, value) if isinstance(value, str) else super().row_name(row)

    def paths(self) -> list[str | None]:
        """The path of each row's image file, as the dataset says it; None for a row without one."""
        values = self._dataset[:][self._columns[0]]
        return [value["path"] if isinstance(value, dict) else value for value in values]


def rows_of(dataset: Any, *, input: Input, label: Label, origin: Origin | None = None) -> Rows:
    """The rows of a `datasets.Dataset`: words of sentences with tags, pixels of images with masks, boxes in images, or
    its inputs.

    Raises:
        DatasetError: see `HuggingFaceRows` and `tagged_columns`.
    """
    check_rows("the dataset", len(dataset))
    dataset = _with_images(_without_views(dataset))
    if (tagged := tagged_columns(dataset, input, label)) is not None:
        return tagged
    if (columns := mask_columns(dataset, input, label)) is not None:
        return mask_table(dataset, columns, (origin or Origin.user()).read)
    if (columns := box_columns(dataset, input, label)) is not None:
        return box_table(dataset, columns, origin or Origin.user())
    return HuggingFaceRows(dataset, input=input, label=label, origin=origin)


def is_saved(folder: Path) -> bool:
    """True for a folder written by `save_to_disk`."""
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def open_saved(folder: Path, *, input: Input, label: Label) -> Splits:
    """Functions that open the rows of each split of a folder written by `save_to_disk`.

    Raises:
        DatasetError: the folder is damaged, or names files outside itself.
    """
    import datasets

    try:
        check_files(folder)
        _check_saved_paths(folder)
        saved = datasets.load_from_disk(str(folder))
    except DatasetError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {_first_line(error)}"
        raise DatasetError(
            f"the folder {folder} was made by datasets.save_to_disk but cannot be read ({reason}). Save the dataset "
            "again."
        ) from error
    return _open(saved, input=input, label=label, origin=Origin.folder(folder))


def hub_id(text: str) -> tuple[str, str | None] | None:
    """`(owner/name, config)` of a text that has the form of a dataset's id on the Hub.

    >>> hub_id("uoft-cs/cifar10:plain_text")
    ('uoft-cs/cifar10', 'plain_text')
    """
    match = _HUB_ID.fullmatch(text)
    return (match["path"], match["config"]) if match and not text.startswith(".") else None


def open_hub(path: str, config: str | None, split: str | None, *, input: Input, label: Label) -> Splits:
    """Functions that open the rows of each split of a dataset on the Hub; only of `split` if that is an expression.

    Raises:
        DatasetError: the dataset or configuration does not exist, or there is no network; or see `fetch_files`.
    """
    import datasets
    import huggingface_hub

    expression = split if split is not None and re.search(r"[\[+]", split) else None
    try:
        answer_within(LISTING_SECONDS, partial(check_description, path))
        builder = answer_within(LISTING_SECONDS, partial(datasets.load_dataset_builder, path, config))
        fetch_files(path, builder)
        builder.download_and_prepare()
        loaded = builder.as_dataset(expression)
    except DatasetError:
        raise
    except Exception as error:
        of_rows = isinstance(error, datasets.exceptions.DatasetGenerationError)  # whose own text says nothing
        shown = error.__cause__ if of_rows and error.__cause__ is not None else error
        raise DatasetError(
            f"{path + (f':{config}' if config else '')!r} is not a folder here, and loading it from the Hub failed: "
            f"{type(shown).__name__}: {_first_line(shown)}. {_advice(path, error)}"
        ) from error
    if expression is not None:
        loaded = {expression: loaded}
    caches = (
        datasets.config.HF_DATASETS_CACHE,
        datasets.config.DOWNLOADED_DATASETS_PATH,
        huggingface_hub.constants.HF_HUB_CACHE,
    )
    origin = Origin(roots=tuple(os.path.realpath(cache) for cache in caches))
    return _open(loaded, input=input, label=label, origin=origin)


def _advice(path: str, error: Exception) -> str:
    """What to do if the Hub did not give a dataset."""
    import datasets
    import huggingface_hub

    page = f"{huggingface_hub.constants.ENDPOINT}/datasets/{path}"
    status, causes = status_of(error), _causes(error)
    elsewhere = "download the dataset on another machine, save it with datasets' save_to_disk(), and give that folder."
    if isinstance(error, TimeoutError):
        return f"Run again later, or {elsewhere}"
    if "gated" in str(error):
        return f"Ask for access at {page}, then log in with `hf auth login`."
    if "scripts are no longer supported" in str(error):
        return (
            "The dataset is made by code, which is not run here. Look for a copy in Parquet, or make the dataset where "
            "you trust the code, save it with datasets' save_to_disk(), and give that folder."
        )
    if isinstance(error, datasets.exceptions.DatasetNotFoundError):
        return (
            f"Check the spelling (a folder's path, or 'owner/name[:config]' as at {page}); if the dataset is private "
            "and you have access, log in with `hf auth login`."
        )
    if "BuilderConfig" in str(error):
        return f"Check the name of the configuration at {page}."
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "The Hub limits the rate of requests: run again later, or log in with `hf auth login`."
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return f"The Hub fails: run again later (https://status.huggingface.co), or {elsewhere}"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"The Hub refuses access: see {page}, and log in with `hf auth login`."
    if any(isinstance(cause, ConnectionError) or is_transport(cause) for cause in causes):
        return f"The Hub cannot be reached: check the network and HF_ENDPOINT. Without a network, {elsewhere}"
    if isinstance(error, (json.JSONDecodeError, RecursionError)) or "Consistency check" in str(error):
        return "The Hub's answer is not what it should be: check HF_ENDPOINT and what lies between, or run again later."
    return (
        f"See {page} for what the dataset holds. If you can read it elsewhere, save it with datasets' save_to_disk(), "
        "and give that folder."
    )


def _causes(error: BaseException) -> list[BaseException]:
    """The error, and those that it was raised from."""
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in found:
        found.append(current)
        current = current.__cause__ or current.__context__
    return found


def _open(loaded: Any, **arguments: Any) -> Splits:
    if not isinstance(loaded, dict):
        name = WHOLE if loaded.split is None else str(loaded.split)
        loaded = {name: loaded}
    return {name: partial(rows_of, dataset, **arguments) for name, dataset in loaded.items()}


def _check_saved_paths(folder: Path) -> None:
    """Raises if the folder's own index names a file outside the folder."""
    parts = [folder]
    if (index := folder / "dataset_dict.json").is_file():
        parts = [folder / split for split in json.loads(index.read_text("utf-8"))["splits"]]
    root = os.path.realpath(folder)
    for part in parts:
        state = json.loads((part / "state.json").read_text("utf-8"))
        for name in [file["filename"] for file in state["_data_files"]]:
            if not os.path.realpath(part / name).startswith(root + os.sep):
                raise outside(folder, name)


def _with_images(dataset: Any) -> Any:
    """The dataset, where columns of encoded images that are not declared as images are declared so.

    Such a column holds bytes, or `{"bytes": ..., "path": ...}`, as the tables that other libraries write.
    """
    import datasets

    for column, feature in dataset.features.items():
        struct = isinstance(feature, dict) and set(feature) == {"bytes", "path"} and "binary" in kind(feature["bytes"])
        if struct or (kind(feature) in ("binary", "large_binary") and _holds_files(sample_of(dataset, column))):
            dataset = dataset.cast_column(column, datasets.Image())
    return dataset


def _without_views(dataset: Any) -> Any:
    """The dataset with texts of the usual kind, since few functions of Arrow take views of texts."""
    views = [name for name, feature in dataset.features.items() if getattr(feature, "dtype", None) == "string_view"]
    return _as_texts(dataset, views, "large_string") if views else dataset


def _as_texts(dataset: Any, columns: Sequence[str], kind: str) -> Any:
    """The dataset with these columns as texts, in memory: by itself, `datasets` writes a file next to the user's."""
    import datasets

    return dataset.cast(
        datasets.Features(dataset.features | dict.fromkeys(columns, datasets.Value(kind))), keep_in_memory=True
    )


def _holds_files(sample: Sequence[Any]) -> bool:
    return any(isinstance(value, bytes) and value.startswith(SIGNATURES) for value in sample)


def _refuse_what_is_no_text(sample: Sequence[Any], column: str, of_numbers: bool, *, chosen: bool) -> None:
    """Raises for names of images that are not found, and for texts that are lists of numbers.

    Args:
        sample: values of the column.
        column: its name.
        of_numbers: the values were numbers.
        chosen: the user named the column, or its name says that it holds texts.
    """
    texts = [text for text in sample if isinstance(text, str) and text.strip()]
    if of_numbers:
        raise DatasetError(
            f"column {column!r} holds whole numbers, such as {', '.join(texts[:1])}, and no image files with these "
            "names are in the table's folder; expected images, names of image files, or texts. Name another column "
            "with input= (on the command line: --input NAME), or give (inputs, labels)."
        )
    if texts and not chosen and (may_be_paths(texts, spaces=True) or all(map(_IDENTIFIER.fullmatch, texts))):
        raise DatasetError(
            f"column {column!r} holds names of files, such as {texts[0]!r}, and no image files with these names are in "
            "the table's folder; expected images, names of image files, or texts. If they name images, put the table "
            "into the folder of the images, or give (paths, labels). If they are texts, name the column with input= "
            "(on the command line: --input NAME)."
        )
    if texts and all(_MANY_NUMBERS.fullmatch(text) for text in texts):
        raise DatasetError(
            f"the texts in column {column!r} are lists of numbers, such as {texts[0][:40]!r}; expected images or "
            "texts. If the numbers are pixels, give ([np.array(text.split(), np.uint8).reshape(HEIGHT, WIDTH) for text "
            "in texts], labels)."
        )


def _labels(dataset: Any, column: str | tuple[str, ...]) -> GivenLabels:
    import datasets

    if isinstance(column, tuple):
        table = dataset.with_format(None).select_columns(list(column)).to_pandas()
        return GivenLabels(table, len(dataset), f"the labels in the columns {', '.join(map(repr, column))}")
    feature = dataset.features[column]
    is_list = kind(feature) in ("List", "LargeList", "Sequence")
    feature = feature.feature if is_list else feature
    dtype = str(getattr(feature, "dtype", "")) if not is_list else ""
    if not isinstance(feature, (datasets.ClassLabel, datasets.Value)):
        raise DatasetError(
            f"the label column {column!r} holds {kind(feature)}; expected one class for each row. Name another column "
            "with label= (on the command line: --label NAME)."
        )
    values = values_of(dataset, column)
    if dtype.startswith("float") or (dtype.startswith(("int", "uint")) and not values.null_count):
        given = values.to_numpy()
    else:
        given = values.to_pylist()
    names = feature.names if isinstance(feature, datasets.ClassLabel) else None
    return GivenLabels(given, len(dataset), f"the labels in column {column!r}", names, column)


def _blank(dataset: Any, columns: Sequence[str]) -> int:
    """How many rows have a text that is empty or holds only spaces."""
    import numpy as np
    import pyarrow.compute as pc

    blank = np.zeros(len(dataset), np.bool_)
    for column in columns:
        lengths = pc.utf8_length(pc.utf8_trim_whitespace(dataset.data.column(column)))
        blank |= in_order(dataset, pc.equal(lengths, 0).fill_null(False)).to_numpy()
    return int(blank.sum())


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0].rstrip(".")
