"""Rows from a map-style `torch.utils.data.Dataset` of (image, label) pairs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import DatasetError
from modelselect.probe.images import UnreadableError
from modelselect.probe.labels import Labels
from modelselect.probe.memory import channels_first, is_tensor, modality_of
from modelselect.probe.rows import IMAGE, Check, Rows

if TYPE_CHECKING:
    from torch.utils.data import Dataset

_READ_TWICE = 8
"""Number of rows that are read a second time, to detect a random transform."""

_ONE_AT_A_TIME = threading.Lock()  # a dataset's __getitem__ need not be thread-safe


class TorchRows(Rows):
    """The rows of a map-style dataset. Labels are read from `targets` or `labels` if it has them, else row by row.

    Raises:
        DatasetError: the dataset yields no pairs, or is the test split of a torchvision dataset.
    """

    source = "torch.utils.data.Dataset"
    concurrent = False

    def __init__(self, dataset: Dataset[Any]) -> None:
        n_rows = len(dataset)  # type: ignore[arg-type]
        self._dataset = dataset
        self._read_twice = 0
        labels = Labels.of(_labels(dataset), n_rows, where="the dataset's labels", names=_class_names(dataset))
        super().__init__("", labels)
        self.modality = next((modality for row in range(n_rows) if (modality := self._modality(row))), IMAGE)
        self.notes = {"type": type(dataset).__qualname__}

    def raw(self, row: int) -> Any:
        with _ONE_AT_A_TIME:
            value, label = _pair(self._dataset[row])
        expected = self.labels.indices[row]
        if label is not None and expected >= 0 and _plain(label) != self.labels.originals[expected]:
            raise DatasetError(
                f"row {row} has the label {self.labels.originals[expected]!r} in the dataset's list of labels, but "
                f"yields {_plain(label)!r}. Give (inputs, labels), or a dataset whose `targets` are what it yields."
            )
        if is_tensor(value):
            value = value.numpy(force=True)
        if isinstance(value, np.ndarray):
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise UnreadableError("NaN or infinity")
            if self.modality == IMAGE and channels_first(value):
                value = np.moveaxis(value, 0, -1)
        return value

    def _check(self, row: int) -> Check:
        check = super()._check(row)
        if check.reason is None and self._read_twice < _READ_TWICE:
            self._read_twice += 1
            if self._digest(row) != check.digest:
                raise DatasetError(
                    f"the dataset gives different content each time row {row} is read, so it has a random transform. "
                    "Give the dataset without augmentation."
                )
        return check

    def _modality(self, row: int) -> str | None:
        try:
            value = _pair(self._dataset[row])[0]
        except DatasetError:
            raise
        except Exception:
            return None  # corrupt rows are counted when rows are checked
        return modality_of(value.numpy(force=True) if is_tensor(value) else value)


def _labels(dataset: Dataset[Any]) -> Any:
    from torch.utils.data import ConcatDataset, Subset, TensorDataset

    if isinstance(dataset, Subset):
        return _array(_labels(dataset.dataset))[list(dataset.indices)]
    if isinstance(dataset, ConcatDataset):
        return np.concatenate([_array(_labels(part)) for part in dataset.datasets])
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) == 2:
        return dataset.tensors[1]
    n_rows = len(dataset)  # type: ignore[arg-type]
    for name in ("targets", "labels"):
        values = getattr(dataset, name, None)
        if values is not None and hasattr(values, "__len__") and len(values) == n_rows:
            transform = getattr(dataset, "target_transform", None)
            return values if transform is None else [_plain(transform(_plain(value))) for value in values]
    return [_label_of_row(dataset, row) for row in range(n_rows)]


def _label_of_row(dataset: Dataset[Any], row: int) -> Any:
    try:
        label = _pair(dataset[row])[1]
    except DatasetError:
        raise
    except Exception:
        return None
    return None if label is None else _plain(label)


def _pair(value: Any) -> tuple[Any, Any]:
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return value[0], value[1]
    given = f"{len(value)} values" if isinstance(value, (tuple, list)) else type(value).__name__
    raise DatasetError(
        f"the dataset yields {given} for a row; expected an (image, label) pair. Wrap the dataset in one that does."
    )


def _plain(label: Any) -> Any:
    """The Python value of a label that may be a tensor or a NumPy number."""
    return label.item() if hasattr(label, "item") and getattr(label, "ndim", 0) == 0 else label


def _array(values: Any) -> NDArray[Any]:
    return values.numpy(force=True) if is_tensor(values) else np.asarray(values)


def _class_names(dataset: Dataset[Any]) -> list[Any] | None:
    from torch.utils.data import ConcatDataset, Subset

    if isinstance(dataset, (Subset, ConcatDataset)):
        return _class_names(dataset.dataset if isinstance(dataset, Subset) else dataset.datasets[0])
    names = getattr(dataset, "classes", None)
    transformed = getattr(dataset, "target_transform", None) is not None
    return list(names) if isinstance(names, (list, tuple)) and names and not transformed else None
