"""Labels as users give them (integers, names, booleans, None) to class indices, with the map back."""

from __future__ import annotations

import numbers
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import DatasetError

UNLABELLED = -1


@dataclass(frozen=True, slots=True)
class Labels:
    """The class of each row.

    Attributes:
        indices: (N,) int64 into `names`; -1 is unlabelled.
        names: of the classes, in order of their labels; every class has at least one row.
        originals: the dataset's own label of each class: an integer, a string or a boolean.
    """

    indices: NDArray[np.int64]
    names: tuple[str, ...]
    originals: tuple[int | str | bool, ...]

    @classmethod
    def none(cls, n_rows: int) -> Labels:
        return cls(np.full(n_rows, UNLABELLED, np.int64), (), ())

    @classmethod
    def of(cls, values: Any, n_rows: int, *, where: str, names: Sequence[Any] | None = None) -> Labels:
        """Labels from one value for each row.

        Args:
            values: N integers (-1: unlabelled), strings, booleans, or None for unlabelled rows.
            n_rows: the expected number of labels.
            where: what to call the values in messages.
            names: of the classes 0, 1, ..., if the dataset has names.

        Raises:
            DatasetError: the values have another length, kind or shape.
        """
        array = _array(values, where)
        if array.ndim != 1:
            raise DatasetError(
                f"{where} have shape {array.shape}; expected one class for each row, shape ({n_rows},). "
                "If they are one-hot, give labels.argmax(1); several labels for one row are not supported."
            )
        if len(array) != n_rows:
            raise DatasetError(f"there are {len(array)} {where} for {n_rows} inputs; give one label for each input.")
        labelled = np.ones(n_rows, np.bool_)
        if array.dtype == object:
            labelled = np.array([not _is_missing(value) for value in array], np.bool_)
        present = _of_one_kind(array[labelled], where) if array.dtype == object else array
        if present.dtype.kind in "iu":
            if len(present) and int(present.min()) < UNLABELLED:
                raise DatasetError(
                    f"{where} hold {present.min()}; expected class numbers from 0, or -1 for rows without a label."
                )
            known = present >= 0
            labelled[labelled] = known
            present = present[known]
        elif present.dtype.kind not in "UbO" and len(present):
            raise DatasetError(
                f"{where} are {present.dtype}; expected integers, strings or booleans. If they are class numbers, give "
                "labels.astype(int); regression targets are not supported."
            )
        found, inverse = np.unique(present, return_inverse=True)
        indices = np.full(n_rows, UNLABELLED, np.int64)
        indices[labelled] = inverse
        originals = tuple(found.tolist())
        return cls(indices, _class_names(originals, names), originals)

    def take(self, rows: NDArray[np.int64]) -> Labels:
        """The labels of these rows; classes without a row among them are dropped."""
        used = np.unique(self.indices[rows])
        used = used[used >= 0]
        renumbered = np.full(len(self.names) + 1, UNLABELLED, np.int64)  # the last entry is for -1
        renumbered[used] = np.arange(len(used))
        return Labels(
            renumbered[self.indices[rows]],
            tuple(self.names[i] for i in used),
            tuple(self.originals[i] for i in used),
        )

    def as_classes_of(self, other: Labels) -> tuple[NDArray[np.int64], list[str]]:
        """(N,) indices into `other.names`, by name, and the names that `other` lacks (their rows get -1)."""
        index = {name: i for i, name in enumerate(other.names)}
        translated = np.array([index.get(name, UNLABELLED) for name in self.names] + [UNLABELLED], np.int64)
        return translated[self.indices], [name for name in self.names if name not in index]


def _array(values: Any, where: str) -> NDArray[Any]:
    try:
        array = values.numpy(force=True) if hasattr(values, "detach") else np.asarray(values)
    except ValueError:  # NumPy makes no array of lists of different lengths
        raise DatasetError(f"{where} are lists of different lengths; expected one class for each row.") from None
    if isinstance(values, list | tuple) and array.dtype.kind == "U" and array.ndim == 1:
        array = np.empty(len(values), dtype=object)  # NumPy made texts of other values: NaN would be a class "nan"
        array[:] = values
    return array


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and value != value)


def _of_one_kind(values: NDArray[np.object_], where: str) -> NDArray[Any]:
    """Python objects as an array of integers, booleans or floats; strings stay objects."""
    kinds = {_kind(value) for value in values}
    if len(kinds) > 1 or not kinds <= {"string", "boolean", "integer", "float"}:
        raise DatasetError(f"{where} hold values of kind {' and '.join(sorted(kinds))}; expected integers or strings.")
    return values if kinds == {"string"} else np.asarray(values.tolist(), None if kinds else np.int64)


def _kind(value: Any) -> str:
    kinds: dict[str, Any] = {
        "string": str,
        "boolean": (bool, np.bool_),
        "integer": numbers.Integral,
        "float": numbers.Real,
    }
    return next((name for name, kind in kinds.items() if isinstance(value, kind)), type(value).__name__)


def printable(name: str) -> str:
    """The name in valid UTF-8, so that every report can contain it; file names and JSON may hold anything."""
    return name.encode("utf-8", "backslashreplace").decode()


def _class_names(originals: tuple[Any, ...], names: Sequence[Any] | None) -> tuple[str, ...]:
    def name(original: Any) -> str:
        if names is None or not isinstance(original, int) or original >= len(names):
            return str(original)
        given = names[original]
        return given if isinstance(given, str) else ", ".join(map(str, given))  # torchvision's ImageNet has synonyms

    chosen = [printable(name(original)) for original in originals]
    times = Counter(chosen)
    return tuple(n if times[n] == 1 else f"{n} ({o})" for n, o in zip(chosen, originals, strict=True))
