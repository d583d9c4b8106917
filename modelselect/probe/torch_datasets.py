"""Rows from a map-style `torch.utils.data.Dataset` of (image, label) pairs."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import DatasetError
from modelselect.probe.images import UnreadableError
from modelselect.probe.labels import REGRESSION, SEVERAL, GivenLabels, one_name
from modelselect.probe.memory import as_torch_takes, channels_first, modality_of
from modelselect.probe.paths import Origin, origin_of_paths
from modelselect.probe.rows import ARRAY, IMAGE, TEXT, Check, Rows
from modelselect.utils.class_labels import LabelReader, one_hot
from modelselect.utils.containers import array_of_tensor, is_a, is_tensor, opened

if TYPE_CHECKING:
    from torch.utils.data import Dataset

_READ_TWICE = 8
"""Number of rows that are read a second time, to detect a random transform."""

_LOOKED_AT = 16
"""Number of rows that tell whether texts are paths."""

_LISTS = ("targets", "labels")
_OTHER_LISTS = ("_labels", "_targets", "y", "samples", "_samples", "imgs")
"""Attributes that may list the labels, or (file, label) pairs; they are used only if some rows yield the same."""

_INPUT_KEYS = ("image", "img", "pixel_values", "text", "sentence", "input", "inputs", "data", "x")
_LABEL_KEYS = ("label", "labels", "target", "class", "y")
"""Keys of a row that is a dict."""

_ONE_AT_A_TIME = threading.Lock()  # a dataset's __getitem__ need not be thread-safe


class TorchRows(Rows):
    """The rows of a map-style dataset. Labels are read from a list of the dataset if it has one, else row by row.

    The parts of a concatenated dataset whose lists of classes differ are joined by the names of the classes.

    Raises:
        DatasetError: the dataset yields no pairs, its parts cannot be joined, or it is the test split of a torchvision
            dataset.
    """

    source = "torch.utils.data.Dataset"
    concurrent = False

    def __init__(self, dataset: Dataset[Any]) -> None:
        n_rows = len(dataset)  # type: ignore[arg-type]
        self._dataset = dataset
        self._read_twice = 0
        targets = _targets(dataset)
        self._yielded = targets.values
        super().__init__("", targets.labels())
        self.modality = next((modality for row in range(n_rows) if (modality := self._modality(row))), IMAGE)
        self._origin = self._origin_of_paths() if self.modality == TEXT else None
        if self._origin is not None:
            self.modality = IMAGE
        self.notes = {"type": type(dataset).__qualname__}
        self.remarks = (*targets.remarks(), *self._remarks_on_inputs())

    def raw(self, row: int) -> Any:
        with _ONE_AT_A_TIME:
            value, label = _pair(self._dataset[row])
        listed = self._yielded[row]
        if label is not None and _one_class(listed) not in (None, _one_class(label)):
            raise DatasetError(
                f"row {row} has the label {_one_class(listed)!r} in the dataset's list of labels, but yields "
                f"{_one_class(label)!r}. Give (inputs, labels), or a dataset whose `targets` are what it yields."
            )
        value = _array_if_tensor(value)
        if value is None or (isinstance(value, tuple) and any(part is None for part in value)):
            raise UnreadableError("missing")
        if self._origin is not None and isinstance(value, str):
            return self._origin.read(value)
        if (found := _kind_of(value)) != self.modality:
            raise UnreadableError(f"no {self.modality}, but {found}")
        if isinstance(value, np.ndarray):
            value = as_torch_takes(value)
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise UnreadableError("NaN or infinity")
            if self.modality == IMAGE and channels_first(value):
                value = np.moveaxis(value, 0, -1)
        return str(value) if isinstance(value, str) else value

    def _origin_of_paths(self) -> Origin | None:
        """Where the files are, if the dataset yields paths of image files; None if it yields texts."""
        texts = []
        for row in np.unique(np.linspace(0, len(self) - 1, _LOOKED_AT).astype(int)).tolist():
            try:
                value = _pair(self._dataset[row])[0]
            except Exception:
                continue  # corrupt rows are counted when rows are checked
            texts.append(value)
        return origin_of_paths(texts, lambda: texts, Origin.user(), where="the dataset's inputs")

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
        return None if value is None else modality_of(_array_if_tensor(value))

    def _remarks_on_inputs(self) -> list[str]:
        """Whether float arrays look like images that a transform has scaled."""
        if self.modality != ARRAY:
            return []
        for row in range(len(self)):
            try:
                value = _array_if_tensor(_pair(self._dataset[row])[0])
            except Exception:  # corrupt; such rows are counted when they are checked
                continue
            if value.dtype.kind == "f" and value.ndim == 3 and 3 in (value.shape[0], value.shape[2]):
                return [
                    f"The inputs are float arrays of shape {value.shape}, with values from {value.min():.2g} to "
                    f"{value.max():.2g} in row {row}; each model is given them unchanged, without its own resizing and "
                    "normalization. If they are images, give the dataset without ToTensor and Normalize."
                ]
            break
        return []


@dataclass(frozen=True, slots=True)
class _Targets:
    """The labels of N rows as a dataset yields them.

    Attributes:
        values: (N,) objects.
        part: (N,) which of the joined datasets each row is from.
        names: of the classes 0, 1, ... of each joined dataset; None: it has no names.
    """

    values: NDArray[np.object_]
    part: NDArray[np.int64]
    names: tuple[tuple[Any, ...] | None, ...]

    def take(self, rows: Sequence[int]) -> _Targets:
        chosen = np.asarray(rows, np.int64)
        return _Targets(self.values[chosen], self.part[chosen], self.names)

    def labels(self) -> GivenLabels:
        given = self._lists()
        if not self._by_name:
            return GivenLabels(list(self.values), len(self.values), "the dataset's labels", next(iter(given), None))
        values = self.values.copy()
        for part in np.unique(self.part).tolist():
            self._name(values, part)
        return GivenLabels(list(values), len(values), "the dataset's labels")

    def remarks(self) -> list[str]:
        lists = self._lists()
        if len(lists) > 1:
            return [
                f"The joined datasets have different lists of classes, such as {_shown(lists[0])} and "
                f"{_shown(lists[1])}; classes of the same name are one."
            ]
        used = np.unique(self.part)
        nameless = [part for part in used.tolist() if self.names[part] is None]
        if lists and nameless and not self._by_name:
            return [
                f"{len(nameless)} of the {len(used)} joined datasets have no names of classes; their class numbers are "
                "read as in the others."
            ]
        return []

    @property
    def _by_name(self) -> bool:
        """True if class numbers mean different classes in different parts, or some parts yield names."""
        lists = self._lists()
        return len(lists) > 1 or (bool(lists) and any(isinstance(value, str) for value in self.values))

    def _lists(self) -> list[tuple[Any, ...]]:
        """The different lists of names of the parts that have rows."""
        return list(dict.fromkeys(names for part in np.unique(self.part) if (names := self.names[part]) is not None))

    def _name(self, values: NDArray[np.object_], part: int) -> None:
        """Puts names in place of the class numbers of one part."""
        rows = np.flatnonzero(self.part == part)
        where = f"the labels of dataset {part} of the {len(self.names)} joined ones"
        read = LabelReader(where, DatasetError, REGRESSION, SEVERAL).read(list(self.values[rows]))
        names = self.names[part]
        if names is None and len(read.values) and read.values.dtype != object:
            raise DatasetError(
                f"{where} are numbers without names of classes, and the other datasets have names of their own, so it "
                "is not known which classes the numbers are. Give that dataset an attribute `classes`, the list of the "
                "names of its classes 0, 1, ..."
            )
        if names is not None and len(set(map(one_name, names))) < len(names):
            raise DatasetError(
                f"{where} have one name for two classes, so they cannot be joined by name with the classes of the "
                "other datasets. Give different names in its attribute `classes`."
            )
        values[rows] = None
        labelled = rows[read.labelled]
        for row, value in zip(labelled.tolist(), read.values.tolist(), strict=True):
            if names is None or isinstance(value, str):
                values[row] = value
            elif value < len(names):
                values[row] = one_name(names[value])
            else:
                raise DatasetError(
                    f"{where} hold the class number {value}, but it has names for {len(names)} classes only."
                )


def _targets(dataset: Dataset[Any]) -> _Targets:
    from torch.utils.data import ConcatDataset, Subset

    if isinstance(dataset, Subset):
        return _targets(dataset.dataset).take(list(dataset.indices))
    if isinstance(dataset, ConcatDataset):
        parts = [_targets(part) for part in dataset.datasets]
        first = np.cumsum([0, *(len(part.names) for part in parts)])
        return _Targets(
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.part + offset for part, offset in zip(parts, first[:-1], strict=True)]),
            tuple(names for part in parts for names in part.names),
        )
    values = _objects(_listed_labels(dataset))
    return _Targets(values, np.zeros(len(values), np.int64), (_class_names(dataset),))


def _listed_labels(dataset: Dataset[Any]) -> Sequence[Any]:
    """One label for each row, as the dataset yields it; None where a row cannot be read."""
    from torch.utils.data import TensorDataset

    if isinstance(dataset, TensorDataset) and len(dataset.tensors) == 2:
        return _by_row(array_of_tensor(dataset.tensors[1]))
    if is_a(dataset, "datasets", "Dataset") and (key := _key(dataset.column_names, _LABEL_KEYS)):  # type: ignore[attr-defined]
        return list(dataset.with_format(None)[key])  # type: ignore[attr-defined]
    n_rows = len(dataset)  # type: ignore[arg-type]
    for name in (*_LISTS, *_OTHER_LISTS):
        listed = _as_list(getattr(dataset, name, None), n_rows)
        if listed is None:
            continue
        transform = getattr(dataset, "target_transform", None)
        if transform is not None:
            listed = [transform(_plain(value)) for value in listed]
        if name in _LISTS or _yields(dataset, listed):
            return listed
    return [_label_of_row(dataset, row) for row in range(n_rows)]


def _as_list(values: Any, n_rows: int) -> list[Any] | None:
    """The labels of an attribute, which may list (file, label) pairs; None if it does not hold one for each row."""
    if values is None or isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__len__"):
        return None
    listed = opened(values)
    if listed is None or len(listed) != n_rows:
        return None
    if isinstance(listed, list) and all(isinstance(each, tuple) and len(each) == 2 for each in listed):
        return [each[1] for each in listed]
    return _by_row(listed)


def _by_row(listed: NDArray[Any] | list[Any]) -> list[Any]:
    """A number for each row, or an array if a row has several."""
    one_each = isinstance(listed, np.ndarray) and listed.ndim == 1
    values: list[Any] = listed.tolist() if one_each else list(listed)  # type: ignore[union-attr]
    return values


def _yields(dataset: Dataset[Any], listed: Sequence[Any]) -> bool:
    """True if some rows, spread over all, yield the labels that are listed."""
    rows = np.unique(np.linspace(0, len(listed) - 1, _READ_TWICE).astype(int)).tolist() if len(listed) else []
    found = [(label, listed[row]) for row in rows if (label := _label_of_row(dataset, row)) is not None]
    return bool(found) and all(_one_class(label) == _one_class(expected) for label, expected in found)


def _label_of_row(dataset: Dataset[Any], row: int) -> Any:
    try:
        return _plain(_pair(dataset[row])[1])
    except DatasetError:
        raise
    except Exception:
        return None


def _pair(value: Any) -> tuple[Any, Any]:
    if isinstance(value, Mapping):
        input, label = _key(value, _INPUT_KEYS), _key(value, _LABEL_KEYS)
        if input is not None and label is not None:
            return value[input], value[label]
        keys = ", ".join(map(repr, value))
        first = next((key for key in value if key != label), "image") if input is None else input
        second = next((key for key in value if key != first), "label") if label is None else label
        raise DatasetError(
            f"the dataset yields dict rows with the keys {keys}; expected one input ({', '.join(_INPUT_KEYS)}) "
            f"and one label ({', '.join(_LABEL_KEYS)}), or an (image, label) pair. "
            + _advice(f"[{first!r}]", f"[{second!r}]")
        )
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return value[0], value[1]
    if isinstance(value, (tuple, list)) and len(value) > 2:
        given, advice = f"{len(value)} values", _advice("[0]", "[1]")
    else:
        given = f"{len(value)} values" if isinstance(value, (tuple, list)) else type(value).__name__
        first = "[0]" if isinstance(value, (tuple, list)) else ""
        advice = f"If there are no labels, give ([dataset[row]{first} for row in range(len(dataset))], None)."
    raise DatasetError(f"the dataset yields {given} for a row; expected an (image, label) pair. {advice}")


def _advice(input: str, label: str) -> str:
    rows = "for row in range(len(dataset))]"
    return f"Say which is which: give ([dataset[row]{input} {rows}, [dataset[row]{label} {rows})."


def _kind_of(value: Any) -> str:
    """The modality of an input, or the name of its type if it has none."""
    try:
        return modality_of(value)
    except DatasetError:
        if isinstance(value, np.ndarray):
            raise
        return type(value).__name__


def _key(keys: Any, wanted: Sequence[str]) -> str | None:
    """The only one of the wanted keys that is there."""
    found = [key for key in keys if isinstance(key, str) and key.lower() in wanted]
    return found[0] if len(found) == 1 else None


def _plain(label: Any) -> Any:
    """The Python value of a label that may be a tensor or a NumPy number; an array of several."""
    label = _array_if_tensor(label)
    return label.item() if isinstance(label, (np.ndarray, np.generic)) and label.size == 1 else label


def _one_class(label: Any) -> Any:
    """What a label says, in a form that can be compared: the same for 3, tensor([3]) and a one-hot row."""
    value = _plain(label)
    if isinstance(value, (list, tuple, np.ndarray)) and np.size(value) > 1:
        classes = one_hot(np.asarray(value)[None])
        return None if classes is None else int(classes[0])
    if isinstance(value, float) and np.isfinite(value) and not value.is_integer():
        with np.errstate(over="ignore"):
            return float(np.float32(value))  # as a tensor holds the number of a list
    try:
        read = LabelReader("labels", DatasetError, REGRESSION, SEVERAL).read([value])
    except DatasetError:
        return f"a {type(value).__name__}"
    return read.values.tolist()[0] if len(read.values) else None


def _array_if_tensor(value: Any) -> Any:
    return array_of_tensor(value) if is_tensor(value) else value


def _objects(values: Sequence[Any]) -> NDArray[np.object_]:
    array = np.empty(len(values), object)
    if set(map(type, values)) <= {int, str, bool}:
        array[:] = values
    else:
        for row, value in enumerate(values):  # NumPy would join values that are arrays
            array[row] = _plain(value)
    return array


def _class_names(dataset: Dataset[Any]) -> tuple[Any, ...] | None:
    """The names of the classes 0, 1, ..., if the dataset has them and yields these numbers."""
    if is_a(dataset, "datasets", "Dataset"):
        features = dataset.features  # type: ignore[attr-defined]
        key = _key(features, _LABEL_KEYS)
        names = getattr(features[key], "names", None) if key is not None else None
    else:
        given = (getattr(dataset, name, None) for name in ("classes", "categories"))
        lists = (opened(value) for value in given if isinstance(value, (list, tuple, np.ndarray)))
        names = next((list(value) for value in lists if value is not None and len(value)), None)
    if getattr(dataset, "target_transform", None) is not None or not isinstance(names, (list, tuple)) or not names:
        return None
    return tuple(tuple(name) if isinstance(name, list) else name for name in names)


def _shown(names: Sequence[Any]) -> str:
    return "(" + ", ".join(one_name(name) for name in names[:4]) + (", ...)" if len(names) > 4 else ")")
