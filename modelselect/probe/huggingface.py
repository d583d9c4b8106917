"""Rows from `datasets`: a `Dataset`, a folder that `save_to_disk` made, or the id of a dataset on the Hub."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from modelselect.errors import DatasetError, did_you_mean
from modelselect.probe.images import Reading, UnreadableError
from modelselect.probe.labels import Labels
from modelselect.probe.rows import IMAGE, TEXT, Rows
from modelselect.probe.splits import WHOLE

_HUB_ID = re.compile(r"(?P<path>[\w.-]+/[\w.-]+)(:(?P<config>[^/:\s]+))?", re.ASCII)

_LABEL_NAMES = ("label", "labels", "class", "target", "category", "fine_label", "y")
_INPUT_NAMES = ("image", "img", "text", "sentence", "content")
"""Names of columns to look for, best first, if the types leave a choice."""


class HuggingFaceRows(Rows):
    """The rows of a `datasets.Dataset`; its format and its transforms are ignored.

    Args:
        dataset: map-style.
        input: name of the column of images or texts; None finds it.
        label: name of the column of labels; None finds it.
        roots: folders that every image's path must lie in, for a dataset from somebody else; None: anywhere.

    Raises:
        DatasetError: a column is missing, is ambiguous, or is of an unsupported kind.
    """

    source = "datasets.Dataset"
    has_columns = True

    def __init__(
        self, dataset: Any, *, input: str | None, label: str | None, roots: Iterable[str] | None = None
    ) -> None:
        import datasets

        features = dataset.features
        label = _label_column(features, label)
        input = _input_column(features, input, label)
        super().__init__(IMAGE if _is_image(features[input]) else TEXT, _labels(dataset, label))
        dataset = dataset.with_format(None).select_columns([input])
        if self.modality == IMAGE:
            self.reading = Reading(upright=True, mode=features[input].mode)
            dataset = dataset.cast_column(input, datasets.Image(decode=False))
        self._dataset, self._column = dataset, input
        self._roots = None if roots is None else tuple(os.path.realpath(root) for root in roots)
        self.notes = {"input": input, "label": label, "datasets": datasets.__version__}

    def raw(self, row: int) -> Any:
        value = self._dataset[row][self._column]
        if value is None:
            raise UnreadableError("missing")
        if self.modality == TEXT:
            return value
        if value["bytes"] is not None:
            return value["bytes"]
        if not value["path"]:
            raise UnreadableError("missing")
        path = os.path.realpath(value["path"])
        if self._roots is not None and not any(path.startswith(root + os.sep) for root in self._roots):
            raise UnreadableError("the image's path leaves the dataset's folder")
        with open(path, "rb") as file:
            return file.read()


def is_saved(folder: Path) -> bool:
    """True for a folder written by `save_to_disk`."""
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def open_saved(folder: Path, *, input: str | None, label: str | None) -> dict[str, Callable[[], Rows]]:
    """Functions that open the rows of each split of a folder written by `save_to_disk`.

    Raises:
        DatasetError: the folder is damaged, or names files outside itself.
    """
    import datasets

    try:
        _check_saved_paths(folder)
        saved = datasets.load_from_disk(str(folder))
    except DatasetError:
        raise
    except Exception as error:
        raise DatasetError(
            f"the folder {folder} was made by datasets.save_to_disk but cannot be read ({_first_line(error)}). "
            "Save the dataset again."
        ) from error
    return _open(saved, input=input, label=label, roots=[str(folder)])


def hub_id(text: str) -> tuple[str, str | None] | None:
    """`(owner/name, config)` of a text that has the form of a dataset's id on the Hub.

    >>> hub_id("uoft-cs/cifar10:plain_text")
    ('uoft-cs/cifar10', 'plain_text')
    """
    match = _HUB_ID.fullmatch(text)
    return (match["path"], match["config"]) if match and not text.startswith(".") else None


def open_hub(
    path: str, config: str | None, split: str | None, *, input: str | None, label: str | None
) -> dict[str, Callable[[], Rows]]:
    """Functions that open the rows of each split of a dataset on the Hub; only of `split` if that is an expression.

    Raises:
        DatasetError: the dataset or configuration does not exist, or there is no network.
    """
    import datasets
    import huggingface_hub

    expression = split if split is not None and re.search(r"[\[+]", split) else None
    try:
        loaded = datasets.load_dataset(path, config, split=expression)
    except Exception as error:
        raise DatasetError(
            f"{path + (f':{config}' if config else '')!r} is not a folder here, and loading it from the Hub failed: "
            f"{type(error).__name__}: {_first_line(error)}. {_advice(path, error)}"
        ) from error
    if expression is not None:
        loaded = {expression: loaded}
    caches = [
        str(datasets.config.HF_DATASETS_CACHE),
        str(datasets.config.DOWNLOADED_DATASETS_PATH),
        str(huggingface_hub.constants.HF_HUB_CACHE),
    ]
    return _open(loaded, input=input, label=label, roots=caches)


def _advice(path: str, error: Exception) -> str:
    """What to do if the Hub did not give a dataset."""
    import datasets
    import huggingface_hub

    page = f"{huggingface_hub.constants.ENDPOINT}/datasets/{path}"
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
    return (
        "Check the spelling (a folder's path, or 'owner/name[:config]' on the Hub). Without a network, download the "
        "dataset on another machine, save it with datasets' save_to_disk(), and give that folder."
    )


def _open(loaded: Any, **arguments: Any) -> dict[str, Callable[[], Rows]]:
    if not isinstance(loaded, dict):
        name = WHOLE if loaded.split is None else str(loaded.split)
        loaded = {name: loaded}
    return {name: partial(HuggingFaceRows, dataset, **arguments) for name, dataset in loaded.items()}


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
                raise DatasetError(
                    f"the dataset in {folder} names a file outside that folder ({name}), so it was not opened. Save "
                    "the dataset again, with all files in its folder."
                )


def _labels(dataset: Any, column: str) -> Labels:
    import datasets

    feature = dataset.features[column]
    dtype = str(getattr(feature, "dtype", ""))
    if not isinstance(feature, (datasets.ClassLabel, datasets.Value)):
        raise DatasetError(
            f"the label column {column!r} holds {_kind(feature)}; expected one class for each row. Name another column "
            "with label=."
        )
    values = dataset.select_columns([column]).with_format("arrow")[:][column]
    if dtype.startswith(("int", "uint")):
        array = values.fill_null(-1).to_numpy()
    elif dtype.startswith("float"):
        array = values.to_numpy()
    else:
        array = _objects(values.to_pylist())
    names = feature.names if isinstance(feature, datasets.ClassLabel) else None
    return Labels.of(array, len(dataset), where=f"the labels in column {column!r}", names=names)


def _objects(values: list[Any]) -> Any:
    import numpy as np

    array = np.empty(len(values), object)
    array[:] = values
    return array


def _label_column(features: Mapping[str, Any], wanted: str | None) -> str:
    import datasets

    if wanted is not None:
        return _present(features, wanted, "label")
    of_type = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    if len(of_type) == 1:
        return of_type[0]
    found = _best_named(of_type or features, _LABEL_NAMES)
    if found is None:
        raise DatasetError(
            f"no label column found among {_listed(features)}; expected one ClassLabel column, or one with the name "
            f"{', '.join(_LABEL_NAMES)}. Name the column with label=. (To use unlabelled rows, give (inputs, None).)"
        )
    return found


def _input_column(features: Mapping[str, Any], wanted: str | None, label: str) -> str:
    if wanted is not None:
        if not (_is_image(features[_present(features, wanted, "input")]) or _is_text(features[wanted])):
            raise DatasetError(
                f"the input column {wanted!r} holds {_kind(features[wanted])}; expected images (the feature "
                "datasets.Image) or strings. Cast it with dataset.cast_column(), or give (inputs, labels)."
            )
        return wanted
    others = [name for name in features if name != label]
    for of_type in ([n for n in others if _is_image(features[n])], [n for n in others if _is_text(features[n])]):
        if len(of_type) == 1:
            return of_type[0]
        if (found := _best_named(of_type, _INPUT_NAMES)) is not None:
            return found
        if of_type:
            break
    raise DatasetError(
        f"no input column found among {_listed(features)}; expected one of images or of strings. Name the column with "
        "input=."
    )


def _present(features: Mapping[str, Any], name: str, argument: str) -> str:
    if name not in features:
        raise DatasetError(
            f"{argument}={name!r} is not a column.{did_you_mean(name, features)} Columns: {_listed(features)}."
        )
    return name


def _best_named(columns: Iterable[str], names: Iterable[str]) -> str | None:
    by_name = {column.lower(): column for column in columns}
    return next((by_name[name] for name in names if name in by_name), None)


def _is_image(feature: Any) -> bool:
    import datasets

    return isinstance(feature, datasets.Image)


def _is_text(feature: Any) -> bool:
    return getattr(feature, "dtype", None) in ("string", "large_string")


def _listed(features: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} ({_kind(feature)})" for name, feature in features.items()) or "no columns"


def _kind(feature: Any) -> str:
    dtype = getattr(feature, "dtype", None)
    return dtype if type(feature).__name__ == "Value" and isinstance(dtype, str) else type(feature).__name__


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0].rstrip(".")
