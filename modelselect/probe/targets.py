"""Targets that are no classes: numbers, and sets of labels; how they are read and stratified."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import DatasetError
from modelselect.probe.labels import GivenLabels, Labels, in_utf8, one_name
from modelselect.probe.sampling import rarest
from modelselect.utils.class_labels import UNLABELLED
from modelselect.utils.containers import columns_of, is_sequence, opened
from modelselect.utils.target_kinds import CLASSES, LABEL_SETS, NUMBERS, RELEVANCE, TARGET_KINDS

BINS = 10
"""Number of strata of numbers: equally many rows in each."""

_DIGITS = re.compile(r"\s*-?(0|[1-9][0-9]{0,99})\s*", re.ASCII)
"""Whole numbers, which tables hold as texts where they have 19 digits or more, since they may be ids."""

_LARGEST = 1e100
"""Numbers above this have no square, and no mean error."""


@dataclass(frozen=True, slots=True)
class Targets:
    """What is to be predicted for each row, if that is no class.

    Attributes:
        kind: `numbers`, `label_sets` or `relevance`.
        values: (N, T) float64. Numbers are all there. Of label sets, 1 says that a row has the label, 0 that it has
            not, and NaN that this is not known. Relevance is as `modelselect.utils.relevance` writes it.
        names: of the T columns; of relevance, one name.
        remarks: sentences for the user on how the targets were read.
    """

    kind: str
    values: NDArray[np.float64]
    names: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    def take(self, rows: NDArray[np.integer[Any]]) -> Targets:
        """The targets of these rows."""
        return Targets(self.kind, self.values[rows], self.names, self.remarks)

    @property
    def indices(self) -> NDArray[np.int64]:
        """(N,) the stratum of each row, from 0; -1 for a row without a known target.

        Queries are 0, and documents are 1.
        """
        if self.kind == RELEVANCE:
            return (~np.isnan(self.values[:, 0])).astype(np.int64)
        return number_strata(self.values) if self.kind == NUMBERS else label_strata(self.values)

    def in_columns_of(self, other: Targets) -> tuple[Targets, list[str]]:
        """The same targets in the columns of another split, and the names of columns that it lacks."""
        if self.names == other.names:
            return self, []
        if self.kind == NUMBERS:
            return self, [] if len(self.names) == len(other.names) else list(self.names)
        place = {name: column for column, name in enumerate(self.names)}
        values = np.zeros((len(self.values), len(other.names)))
        for column, name in enumerate(other.names):
            if name in place:
                values[:, column] = self.values[:, place[name]]
        return Targets(self.kind, values, other.names, self.remarks), [n for n in self.names if n not in other.names]


def read_targets(given: GivenLabels | Labels, kind: str | None) -> Labels | Targets:
    """The labels of a dataset as targets of a kind.

    Args:
        given: the labels as the dataset holds them, or classes that are known already.
        kind: one of `TARGET_KINDS`. With None they are classes if they can be read as classes, then numbers if some
            of them are not whole, then sets of labels.

    Raises:
        DatasetError: the labels are no targets of that kind.

    >>> read_targets(GivenLabels([0.5, 2.0, 1.0], 3, "labels"), None).kind
    'numbers'
    >>> read_targets(GivenLabels([["a", "b"], [], ["b"]], 3, "labels"), None).values.tolist()
    [[1.0, 1.0], [0.0, 0.0], [0.0, 1.0]]
    """
    if isinstance(given, Labels):
        if kind in (None, CLASSES):
            return given
        assert kind is not None
        if not (given.indices >= 0).any():
            raise DatasetError(
                f"the rows have no labels, and the task needs {TARGET_KINDS[kind]}. Give (inputs, targets), or leave "
                "out task= (--task)."
            )
        raise DatasetError(
            f"the dataset has classes, and the task needs {TARGET_KINDS[kind]}. Give a table with a column of them and "
            "name it with label= (--label), or leave out task= (--task)."
        )
    given = _with_lists(given)
    if kind == CLASSES:
        return given.classes()
    if kind is not None:
        return _read_numbers(given) if kind == NUMBERS else _read_label_sets(given)
    try:
        return given.classes()
    except DatasetError:
        if (values := _vector(given.values)) is not None and values.dtype.kind == "f" and _some_not_whole(values):
            return _read_numbers(given, chosen=False)
        if _may_be_label_sets(given.values):
            return _read_label_sets(given, chosen=False)
        raise


def _with_lists(given: GivenLabels) -> GivenLabels:
    """The labels with lists in place of Python's sets."""
    values = None if columns_of(given.values) is not None else opened(given.values)
    if not isinstance(values, list) or not any(isinstance(value, (set, frozenset)) for value in values):
        return given
    return replace(given, values=[sorted(v, key=str) if isinstance(v, (set, frozenset)) else v for v in values])


def number_strata(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """(N,) bins of equally many rows, by the number or, of several numbers, by the sum of their standard scores.

    >>> number_strata(np.array([[5.0], [1.0], [9.0], [3.0]])).tolist()
    [5, 0, 7, 2]
    """
    deviation = values.std(axis=0)
    scores: NDArray[np.float64] = ((values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)).sum(axis=1)
    order = np.argsort(scores, kind="stable")
    strata = np.empty(len(values), np.int64)
    strata[order] = np.arange(len(values)) * BINS // max(len(values), 1)
    return strata


def label_strata(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """(N,) the rarest label of each row; the number of labels if it has none, and -1 if nothing is known of it.

    >>> label_strata(np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0], [np.nan, np.nan]])).tolist()
    [1, 0, 2, -1]
    """
    strata = rarest(values == 1)
    strata[strata < 0] = values.shape[1]
    strata[np.isnan(values).all(axis=1)] = UNLABELLED
    return strata


# --- numbers ---------------------------------------------------------------------------------------------------------


def _read_numbers(given: GivenLabels, *, chosen: bool = True) -> Targets:
    """Numbers: one or several for each row, finite, and not all the same."""
    columns = columns_of(given.values)
    if columns is not None:
        names = tuple(in_utf8(name) for name in columns)
        values = np.stack([_numbers(column, f"{given.where}, {name!r},") for name, column in columns.items()], axis=1)
    else:
        values = _numbers(given.values, given.where)
        values = values[:, None] if values.ndim == 1 else values
        names = (given.name,) if values.shape[1] == 1 else tuple(f"{given.name} {i}" for i in range(values.shape[1]))
    _check_count(len(values), given)
    constant = np.flatnonzero(values.min(axis=0, initial=np.inf) == values.max(axis=0, initial=-np.inf))
    if len(constant):
        at = int(constant[0])
        which = f", {names[at]!r}," if len(names) > 1 else ""
        raise DatasetError(
            f"{given.where}{which} are {values[0, at]:g} in all {len(values)} rows; expected numbers that differ. "
            "Check that you named the right column with label= (--label)."
        )
    said = f"{_subject(given.where)} are read as numbers (regression). If they are classes, give texts: str(label)."
    return Targets(NUMBERS, values, names, () if chosen else (said,))


def _numbers(given: Any, where: str) -> NDArray[np.float64]:
    """(N,) or (N, T) finite numbers."""
    values = opened(given)
    if isinstance(values, list):
        if all(isinstance(value, str) and _DIGITS.fullmatch(value) for value in values):
            values = [float(value) for value in values]
        missing = next((row for row, value in enumerate(values) if _is_missing(value)), None)
        if missing is not None:
            raise _no_number(where, "no number", missing)
        wrong = next((row for row, value in enumerate(values) if not _is_number(value)), None)
        if wrong is not None:
            raise _no_number(where, ascii(values[wrong])[:60], wrong)
        try:
            values = np.array([np.asarray(value, np.float64).reshape(-1) for value in values])
        except (ValueError, OverflowError):
            raise DatasetError(
                f"{where} hold lists of different lengths; expected equally many numbers in each row."
            ) from None
        values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if values is None or values.dtype.kind not in "iuf" or values.ndim not in (1, 2) or 0 in values.shape[1:]:
        raise DatasetError(f"{where} are no numbers; expected one number for each row, or (N, T) for several.")
    numbers = values.astype(np.float64)
    wrong_rows = ~(np.abs(numbers) <= _LARGEST)
    if wrong_rows.any():
        row = int(np.flatnonzero(wrong_rows.reshape(len(numbers), -1).any(axis=1))[0])
        raise _no_number(where, "NaN" if np.isnan(numbers[row]).any() else "infinity, or a number too large,", row)
    return numbers


def _no_number(where: str, found: str, row: int) -> DatasetError:
    return DatasetError(
        f"{where} hold {found} in row {row}; expected a finite number in every row. Leave out such rows, or, for "
        "classes, give task='classification' (--task classification)."
    )


def _is_missing(value: Any) -> bool:
    return value is None or value is np.ma.masked or type(value).__name__ in ("NAType", "NaTType")


def _is_number(value: Any) -> bool:
    """True for a number that is no truth value, and for a list or an array of numbers."""
    if isinstance(value, (bool, np.bool_)):
        return False
    if isinstance(value, (Real, np.integer, np.floating)) or type(value).__name__ == "Decimal":
        return True
    return is_sequence(value) and len(value) > 0 and all(_is_number(each) for each in value)


def _vector(given: Any) -> NDArray[Any] | None:
    """(N,) numbers, NaN where missing; None for anything else."""
    if (columns := columns_of(given)) is not None:
        given = next(iter(columns.values())) if len(columns) == 1 else None
    values = None if given is None else opened(given)
    if isinstance(values, list):
        if not all(_is_missing(value) or (_is_number(value) and not is_sequence(value)) for value in values):
            return None
        return np.array([np.nan if _is_missing(value) else float(value) for value in values], np.float64)
    if values is not None and values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    return values if values is not None and values.ndim == 1 and values.dtype.kind in "iuf" else None


def _some_not_whole(values: NDArray[Any]) -> bool:
    known = values[np.isfinite(values)]
    return bool((np.rint(known) != known).any())


# --- sets of labels --------------------------------------------------------------------------------------------------


def _read_label_sets(given: GivenLabels, *, chosen: bool = True) -> Targets:
    """Sets of labels: 0 and 1 for each label, or a list of the labels that a row has."""
    columns = columns_of(given.values)
    values = None if columns is not None else opened(given.values)
    if columns is not None:
        names = tuple(in_utf8(name) for name in columns)
        matrix = np.stack([_zeros_and_ones(column, f"{given.where}, {name!r},") for name, column in columns.items()], 1)
    elif isinstance(values, np.ndarray) and values.ndim == 2:
        matrix = _zeros_and_ones(values, given.where)
        names = _names(range(matrix.shape[1]), given.names)
    elif isinstance(values, list) and values and all(value is None or is_sequence(value) for value in values):
        as_matrix = _as_matrix(values)
        if as_matrix is not None and given.names is None:
            matrix = _zeros_and_ones(as_matrix, given.where)
            names = _names(range(matrix.shape[1]), None)
        else:
            matrix, names = _of_lists(values, given)
    else:
        raise DatasetError(
            f"{given.where} are no sets of labels; expected a list of labels for each row, a column of 0 and 1 for "
            "each label, or an array (N, C) of 0 and 1. NaN, None and -1 stand for what is not known."
        )
    _check_count(len(matrix), given)
    known = ~np.isnan(matrix)
    alike = np.flatnonzero(((matrix == 1).sum(axis=0) == 0) | ((matrix == 0).sum(axis=0) == 0))
    if len(alike) == len(names):
        raise DatasetError(
            f"{given.where} hold no label that some rows have and others have not; expected one at least. Check that "
            "you named the right columns with label= (--label)."
        )
    remarks = []
    if not chosen:
        remarks.append(f"{_subject(given.where)} are read as sets of {len(names)} labels (multi-label).")
    if len(alike):
        shown = ", ".join(names[i] for i in alike[:5])
        remarks.append(f"Labels that all rows have, or none, cannot be judged: {shown}.")
    if missing := int((~known).sum()):
        remarks.append(f"Labels that are not known: {missing:,} of {matrix.size:,}.")
    return Targets(LABEL_SETS, matrix, names, tuple(remarks))


def _zeros_and_ones(given: Any, where: str) -> NDArray[np.float64]:
    """The same values as 0, 1 and NaN."""
    values = opened(given)
    if isinstance(values, list):
        values = np.array([np.nan if _is_missing(value) else value for value in values], dtype=object)
        try:
            values = values.astype(np.float64)
        except (TypeError, ValueError, OverflowError):
            raise DatasetError(f"{where} hold texts; expected 0 and 1, and -1 or None for what is not known.") from None
    if values is None or values.dtype.kind not in "biuf":
        raise DatasetError(f"{where} are no numbers; expected 0 and 1, and -1 or NaN for what is not known.")
    matrix = values.astype(np.float64)
    matrix[matrix == UNLABELLED] = np.nan
    wrong = ~(np.isnan(matrix) | (matrix == 0) | (matrix == 1))
    if wrong.any():
        place = tuple(int(each[0]) for each in np.nonzero(wrong))
        raise DatasetError(
            f"{where} hold {matrix[place]:g} in row {place[0]}; expected 0 and 1, and -1 or NaN for what is not "
            "known. To rank for numbers, give task='regression' (--task regression)."
        )
    return matrix


def _as_matrix(values: Sequence[Any]) -> NDArray[Any] | None:
    """Lists of equal length of 0, 1, -1 and NaN as a matrix; None for other lists."""
    if any(value is None for value in values):
        return None
    lengths = {len(value) for value in values}
    if len(lengths) != 1 or lengths.pop() < 2:
        return None
    flat = [each for value in values for each in value]
    if any(isinstance(each, str | complex | np.complexfloating) for each in flat):
        return None
    try:
        matrix = np.array([[np.nan if _is_missing(each) else float(each) for each in value] for value in values])
    except (TypeError, ValueError, OverflowError):
        return None
    return matrix if set(np.unique(matrix[~np.isnan(matrix)]).tolist()) <= {-1.0, 0.0, 1.0} else None


def _of_lists(values: Sequence[Any], given: GivenLabels) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """(N, C) from the list of labels of each row; None in place of a list says that the row is not labelled."""
    sets = [
        None if value is None else [_label(each, row, given.where) for each in value]
        for row, value in enumerate(values)
    ]
    present = {label for labels in sets if labels for label in labels}
    if len({type(label) for label in present}) > 1:
        raise DatasetError(f"{given.where} hold both numbers and texts; expected labels of one kind.")
    found: list[Any] = sorted(present, key=lambda label: (str(type(label)), label))
    if found and isinstance(found[0], int) and given.names is not None:
        found = list(range(max(len(given.names), found[-1] + 1)))
    if len(found) < 2:
        raise DatasetError(f"{given.where} hold {len(found)} different labels; expected two or more.")
    place = {label: column for column, label in enumerate(found)}
    matrix = np.zeros((len(values), len(found)))
    for row, labels in enumerate(sets):
        if labels is None:
            matrix[row] = np.nan
        else:
            matrix[row, [place[label] for label in labels]] = 1
    return matrix, _names(found, given.names)


def _label(value: Any, row: int, where: str) -> int | str:
    if isinstance(value, str):
        return in_utf8(value.strip())
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= 0:
        return int(value)
    raise DatasetError(f"{where} hold {ascii(value)[:60]} in row {row}; expected texts, or class numbers from 0.")


def _names(labels: Sequence[int | str] | range, names: Sequence[Any] | None) -> tuple[str, ...]:
    def name(label: int | str) -> str:
        known = names is not None and isinstance(label, int) and label < len(names)
        return in_utf8(one_name(names[label])) if known else str(label)  # type: ignore[index]

    return tuple(map(name, labels))


def _may_be_label_sets(given: Any) -> bool:
    """True for several columns of 0 and 1, a matrix of 0 and 1, and lists of labels."""
    if columns_of(given) is not None:
        return True
    values = opened(given)
    if isinstance(values, np.ndarray):
        known = values.ndim == 2 and values.dtype.kind in "biuf" and values.shape[1] > 1
        return known and set(np.unique(values[~np.isnan(values.astype(np.float64))]).tolist()) <= {-1, 0, 1}
    if not isinstance(values, list) or not all(value is None or is_sequence(value) for value in values):
        return False
    if _as_matrix(values) is not None:
        return True
    labels = [each for value in values if value is not None for each in value]
    return bool(labels) and (
        all(isinstance(each, str) for each in labels)
        or all(isinstance(each, (int, np.integer)) and not isinstance(each, bool) for each in labels)
    )


def _check_count(rows: int, given: GivenLabels) -> None:
    if rows != given.n_rows:
        raise DatasetError(f"there are {rows} {given.where} for {given.n_rows} inputs; give one for each input.")


def _subject(where: str) -> str:
    return where[0].upper() + where[1:]
