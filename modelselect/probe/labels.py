"""Labels as users give them to class indices, with the map back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import DatasetError
from modelselect.utils.class_labels import UNLABELLED, LabelReader

SEVERAL = "To rank for several classes of one row, give task='multi-label' (--task multi-label). "
REGRESSION = (
    "To rank for numbers, give task='regression' (--task regression). To rank for classes, give the bin of each "
    "number, such as np.digitize(labels, np.quantile(labels, [0.25, 0.5, 0.75]))."
)


@dataclass(frozen=True, slots=True)
class GivenLabels:
    """The labels of a dataset as it holds them. Whether they are classes, numbers or sets of labels is not decided.

    Attributes:
        values: one for each row, in any container that `opened` knows; or a table with a column for each target.
        n_rows: the expected number of rows.
        where: what to call the values in messages.
        names: of the classes 0, 1, ..., if the dataset has names.
        name: of the column, for a target without a name of its own.
    """

    values: Any
    n_rows: int
    where: str
    names: Sequence[Any] | None = None
    name: str = "target"

    def classes(self) -> Labels:
        """The labels as classes.

        Raises:
            DatasetError: they have another length, kind or shape.
        """
        return Labels.of(self.values, self.n_rows, where=self.where, names=self.names)


@dataclass(frozen=True, slots=True)
class Labels:
    """The class of each row.

    Attributes:
        indices: (N,) int64 into `names`; -1 is unlabelled.
        names: of the classes, in order of their labels; every class has at least one row.
        originals: the dataset's own label of each class: an integer, a string or a boolean.
        remarks: sentences for the user on labels that were read in a special way.
    """

    indices: NDArray[np.int64]
    names: tuple[str, ...]
    originals: tuple[int | str | bool, ...]
    remarks: tuple[str, ...] = ()

    @classmethod
    def none(cls, n_rows: int) -> Labels:
        return cls(np.full(n_rows, UNLABELLED, np.int64), (), ())

    @classmethod
    def of(cls, values: Any, n_rows: int, *, where: str, names: Sequence[Any] | None = None) -> Labels:
        """Labels from one value for each row.

        Args:
            values: N labels, in any form and container that `LabelReader.read` knows.
            n_rows: the expected number of labels.
            where: what to call the values in messages.
            names: of the classes 0, 1, ..., if the dataset has names.

        Raises:
            DatasetError: the values have another length, kind or shape.
        """
        read = LabelReader(where, DatasetError, REGRESSION, SEVERAL).read(values)
        if len(read.labelled) != n_rows:
            raise DatasetError(
                f"there are {len(read.labelled)} {where} for {n_rows} inputs; give one label for each input."
            )
        found, inverse = np.unique(read.values, return_inverse=True)
        indices = np.full(n_rows, UNLABELLED, np.int64)
        indices[read.labelled] = inverse
        originals = tuple(found.tolist())
        return cls(indices, _class_names(originals, names), originals, read.remarks)

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
            self.remarks,
        )

    def as_classes_of(self, other: Labels) -> tuple[NDArray[np.int64], list[str]]:
        """(N,) indices into `other.names`, by name, and the names that `other` lacks (their rows get -1)."""
        index = {name: i for i, name in enumerate(other.names)}
        translated = np.array([index.get(name, UNLABELLED) for name in self.names] + [UNLABELLED], np.int64)
        return translated[self.indices], [name for name in self.names if name not in index]


def in_utf8(name: str) -> str:
    """The name in valid UTF-8, so that every report can contain it; file names and JSON may hold anything."""
    return name.encode("utf-8", "backslashreplace").decode()


def one_name(given: Any) -> str:
    """The name of a class that may be given as a sequence of synonyms, as torchvision's ImageNet gives it."""
    return ", ".join(map(str, given)) if isinstance(given, list | tuple) else str(given)


def _class_names(originals: tuple[Any, ...], names: Sequence[Any] | None) -> tuple[str, ...]:
    def name(original: Any) -> str:
        if names is None or not isinstance(original, int) or original >= len(names):
            return str(original)
        return one_name(names[original])

    chosen = [in_utf8(name(original)) for original in originals]
    times = Counter(chosen)
    return tuple(n if times[n] == 1 else f"{n} ({o})" for n, o in zip(chosen, originals, strict=True))
