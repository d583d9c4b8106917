"""The class of each row, in whatever form and container a user has it: integers, names, booleans, one-hot rows, ..."""

from __future__ import annotations

import datetime
import enum
import numbers
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from modelselect.utils.containers import array_of_tensor, columns_of, is_tensor, opened

UNLABELLED = -1
IGNORED = -100
"""The class number of rows that PyTorch's losses and transformers leave out."""

_KINDS = {int: "integer", bool: "boolean", str: "string", float: "number"}
_LIKE_MISSING = ("nan", "none", "null", "<na>", "nat")


@dataclass(frozen=True, slots=True)
class ClassValues:
    """The classes of N rows; M of them have one.

    Attributes:
        values: (M,) integers, booleans, or an object array of strings in Unicode's form NFC without spaces around.
        labelled: (N,) True for the rows that have a class.
        remarks: sentences on labels that were read in a special way.
    """

    values: NDArray[Any]
    labelled: NDArray[np.bool_]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelReader:
    """Reads labels, and refuses what are no classes.

    Attributes:
        where: what to call the labels in messages.
        error: the exception to raise.
        regression: what to do with numbers that are not whole: a sentence.
        several: what to do with several classes of one row: a sentence, or nothing.
    """

    where: str
    error: type[Exception]
    regression: str
    several: str = ""

    def read(self, given: Any) -> ClassValues:
        """The classes of labels in any container.

        Without a class are None, NaN, the missing values of pandas, masked values, blank names, -1 and -100.

        Args:
            given: N integers, numbers that are whole, strings, bytes in UTF-8, booleans or members of an `Enum`, of
                shape (N,) or (N, 1), or one-hot of shape (N, C); a list, or any container that `opened` knows.

        Raises:
            error: the labels are no classes; the message names the first such row.

        >>> read = LabelReader("labels", ValueError, "").read([" cat", "dog", None, "cat"])
        >>> read.values.tolist(), read.labelled.tolist()
        (['cat', 'dog', 'cat'], [True, True, False, True])
        """
        columns = columns_of(given)
        if columns is not None and len(columns) == 1:
            given = next(iter(columns.values()))
        elif columns is not None:
            return self._of_columns(columns)
        values = opened(given)
        if values is None:
            self._refuse_container(given)
        if isinstance(values, list):
            values = self._array_of(values)
        if values.ndim == 0:
            self._refuse_container(given)
        if values.ndim > 1 and max(values.shape) == values.size:
            values = values.reshape(-1)
        if values.ndim > 1:
            is_array = isinstance(given, np.ndarray) or is_tensor(given)
            return self._of_matrix(values, None, "labels" if is_array else "np.asarray(labels)")
        return self._of_objects(values) if values.dtype == object else self._of_numbers(values)

    def _of_columns(self, columns: Any) -> ClassValues:
        arrays = [opened(column) for column in columns.values()]
        if not all(isinstance(array, np.ndarray) for array in arrays):
            first = next(iter(columns))
            raise self.error(
                f"{self.where} are a table with the columns {', '.join(columns)}; expected one class for each row. "
                f"Give one column, such as labels[{first!r}]."
            )
        return self._of_matrix(np.stack(arrays, 1), list(columns), "np.asarray(labels)")  # type: ignore[arg-type]

    def _of_matrix(self, matrix: NDArray[Any], names: Sequence[str] | None, typed: str) -> ClassValues:
        """`typed` is how a user writes the matrix as an array."""
        classes = one_hot(matrix)
        if classes is None:
            self._refuse_matrix(matrix, typed)
        labels = self._of_numbers(classes) if names is None else self._of_objects(np.array(names, object)[classes])
        remark = (
            f"{self._subject} are one-hot: the class of a row is the column, of {matrix.shape[1]}, that holds its 1."
        )
        return ClassValues(labels.values, labels.labelled, (remark, *labels.remarks))

    def _array_of(self, values: list[Any]) -> NDArray[Any]:
        """An array of numbers or booleans, a matrix, or an object array of plain values."""
        if set(map(type, values)) in ({int}, {bool}, {float}):
            array = np.asarray(values)
            if array.dtype.kind == np.asarray(values[:1]).dtype.kind:  # others are integers of more than 64 bits
                return array
        plain = [self._plain(value, row) for row, value in enumerate(values)]
        several = next((row for row, value in enumerate(plain) if isinstance(value, np.ndarray)), None)
        if several is None:
            return _objects(plain)
        other = next((row for row, value in enumerate(plain) if np.size(value) != len(plain[several])), None)
        if other is not None:
            self._refuse_several(
                len(plain[several]),
                several,
                f" and {np.size(plain[other])} in row {other}, so they are lists of different lengths",
            )
        return np.stack(plain)

    def _plain(self, value: Any, row: int) -> Any:
        """None, an integer, a boolean, a string or a number that is not whole; a vector for several values."""
        if value is None or type(value) in (int, bool, str):
            return value
        if type(value).__name__ in ("NAType", "NaTType") or value is np.ma.masked:
            return None
        if isinstance(value, enum.Enum) and not isinstance(value, (int, str)):
            return value.name
        if isinstance(value, (bytes, bytearray)):
            return self._decoded(bytes(value), row)
        if isinstance(value, str):
            return str.__str__(value)  # the text of a member of an Enum of texts
        if isinstance(value, (bool, np.bool_)):
            return bool(value)
        if isinstance(value, (datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64)):
            return None if value != value else self._refuse_value(value, row)  # NaT differs from itself
        if isinstance(value, (numbers.Real, Decimal)):
            return _whole(value)
        if is_tensor(value):
            value = array_of_tensor(value)
        elif not isinstance(value, (np.ndarray, np.generic, list, tuple)) and hasattr(value, "__array__"):
            value = np.asarray(value)
        if isinstance(value, (list, tuple, np.ndarray)):
            return self._plain_of_several(value, row)
        return self._refuse_value(value, row)

    def _plain_of_several(self, value: Any, row: int) -> Any:
        array = _objects(value) if isinstance(value, (list, tuple)) else value
        if array.size == 1:
            return self._plain(array.reshape(-1)[0], row)
        vector = np.asarray([self._plain(each, row) for each in array.reshape(-1)])
        if vector.dtype.kind not in "biuf" or not vector.size:
            self._refuse_several(array.size, row)
        return vector

    def _decoded(self, value: bytes, row: int) -> str:
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise self.error(
                f"{self.where} hold bytes that are no text in UTF-8: {value!r} in row {row}. Decode them first, such "
                'as [label.decode("latin-1") for label in labels].'
            ) from None

    def _of_objects(self, values: NDArray[Any]) -> ClassValues:
        """From integers, booleans, strings, numbers and None."""
        plain = [self._plain(value, row) for row, value in enumerate(values.tolist())]
        first: dict[str, int] = {}
        for row, value in enumerate(plain):
            if value is not None:
                first.setdefault(_KINDS[type(value)], row)
        if "number" in first:
            self._refuse_number(plain[first["number"]], first["number"])
        if len(first) > 1:
            given = " and ".join(f"{plain[row]!r} in row {row}" for _, row in sorted(first.items()))
            raise self.error(
                f"{self.where} hold values of kind {' and '.join(sorted(first))}, {given}; expected one kind. Give, "
                "for example, [str(label) for label in labels]."
            )
        if "string" in first:
            return self._of_names(plain)
        labelled = np.array([value is not None for value in plain], np.bool_)
        present = np.array([value for value in plain if value is not None], None if first else np.int64)
        if present.dtype.kind == "f":  # NumPy has no integer type for both 2**63 and -1
            present = _objects([value for value in plain if value is not None])
        return self._without_unlabelled(present, labelled, int((~labelled).sum()))

    def _of_numbers(self, values: NDArray[Any]) -> ClassValues:
        if values.dtype.kind not in "biuf":
            self._refuse_value(values[0] if len(values) else values.dtype, 0)
        labelled = np.ones(len(values), np.bool_)
        if values.dtype.kind == "f":
            labelled = ~np.isnan(values)
            not_whole = labelled & (np.rint(values) != values) | np.isinf(values)
            if not_whole.any():
                row = int(not_whole.argmax())
                self._refuse_number(values[row].item(), row)
            present = values[labelled]
            small = not len(present) or float(np.abs(present).max()) < 2.0**63
            values = present.astype(np.int64) if small else _objects([int(value) for value in present.tolist()])
        return self._without_unlabelled(values, labelled, int((~labelled).sum()))

    def _without_unlabelled(self, present: NDArray[Any], labelled: NDArray[np.bool_], missing: int) -> ClassValues:
        """`present` are the values of the labelled rows; the numbers -1 and -100 are taken out."""
        ignored = unlabelled = 0
        if present.dtype.kind != "b" and len(present):
            known, ignore = present >= 0, present == IGNORED
            wrong = ~known & ~ignore & (present != UNLABELLED)
            if wrong.any():
                at = int(wrong.argmax())
                raise self.error(
                    f"{self.where} hold {present[at]} in row {np.flatnonzero(labelled)[at]}; expected class numbers "
                    "from 0, or -1 for rows without a label. If negative numbers are classes, give them as names: "
                    "[str(label) for label in labels]."
                )
            labelled, ignored = labelled.copy(), int(ignore.sum())
            labelled[labelled] = known
            unlabelled = int((present == UNLABELLED).sum())
            present = present[known]
        remarks = self._missing(missing, labelled)
        if unlabelled and len(present):
            remarks.append(
                f"Rows with the label {UNLABELLED}: {unlabelled} of {len(labelled)}; they count as unlabelled. If "
                f"{UNLABELLED} is a class, give names, or numbers from 0, such as [label + 1 for label in labels]."
            )
        if ignored and len(present):
            remarks.append(
                f"Rows with the label {IGNORED}, which PyTorch and transformers leave out: {ignored} of "
                f"{len(labelled)}; they count as unlabelled."
            )
        return ClassValues(present, labelled, tuple(remarks))

    def _of_names(self, values: list[str | None]) -> ClassValues:
        clean = {text: unicodedata.normalize("NFC", text.strip()) for text in dict.fromkeys(values) if text is not None}
        names = [None if text is None else clean[text] or None for text in values]
        labelled = np.array([name is not None for name in names], np.bool_)
        spellings: dict[str, list[str]] = {}
        for text, name in clean.items():
            spellings.setdefault(name, []).append(text)
        spellings.pop("", None)
        remarks = self._missing(int((~labelled).sum()), labelled)
        merged = [" and ".join(map(ascii, texts)) for texts in spellings.values() if len(texts) > 1]
        if merged:
            remarks.append(
                f"{self._subject} that differ only in spaces around them or in their Unicode form are one class: "
                f"{_some(merged)}."
            )
        remarks += self._doubtful(spellings)
        return ClassValues(_objects([name for name in names if name is not None]), labelled, tuple(remarks))

    def _doubtful(self, names: Iterable[str]) -> list[str]:
        by_letters: dict[str, list[str]] = {}
        for name in names:
            by_letters.setdefault(name.casefold(), []).append(name)
        cases = [" and ".join(map(repr, alike)) for alike in by_letters.values() if len(alike) > 1]
        remarks = [f"Classes whose names differ only in case are read as different: {_some(cases)}."] if cases else []
        like_missing = [repr(name) for key in _LIKE_MISSING for name in by_letters.get(key, ())]
        if like_missing and len(by_letters) > len(like_missing):
            remarks.append(
                f"A class has the name {_some(like_missing)}. If these rows have no label, give None in its place."
            )
        return remarks

    def _missing(self, missing: int, labelled: NDArray[np.bool_]) -> list[str]:
        if not missing or not labelled.any():
            return []
        first = int((~labelled).argmax())
        return [f"Rows without a label: {missing} of {len(labelled)}, the first is row {first}."]

    def _refuse_matrix(self, matrix: NDArray[Any], typed: str) -> NoReturn:
        given = f"{self.where} have shape {matrix.shape}"
        expected = f"expected one class for each row, shape ({len(matrix)},)"
        if matrix.ndim != 2 or matrix.dtype.kind not in "biuf":
            raise self.error(f"{given}; {expected}.")
        if ((matrix == 0) | (matrix == 1)).all():
            ones = np.count_nonzero(matrix, axis=1)
            row = int((ones != 1).argmax())
            raise self.error(
                f"{given} of 0 and 1, but row {row} has {ones[row]} ones, so they are not one-hot; {expected}. "
                f"{self.several}To rank for one class, choose its column, such as {typed}[:, 0]."
            )
        raise self.error(
            f"{given}; {expected}. If each row holds the probabilities or scores of the classes, give "
            f"{typed}.argmax(1); if each row holds several labels, choose one column, such as {typed}[:, 0]. "
            f"{self.regression}"
        )

    def _refuse_number(self, value: Any, row: int) -> NoReturn:
        raise self.error(
            f"{self.where} hold {value} in row {row}; expected classes, and class numbers are whole. {self.regression}"
        )

    def _refuse_value(self, value: Any, row: int) -> NoReturn:
        raise self.error(
            f"{self.where} hold {type(value).__name__} in row {row}; expected integers, strings or booleans. If equal "
            "values are one class, give [str(label) for label in labels]."
        )

    def _refuse_container(self, given: Any) -> NoReturn:
        if isinstance(given, Mapping):
            advice = "Give list(labels.values()), in the order of the inputs."
        elif isinstance(given, (set, frozenset)):
            advice = "A set has no order: give a list."
        else:
            several = hasattr(given, "__iter__") and not isinstance(given, (str, bytes))
            advice = "Give list(labels)." if several else "Give one label for each input."
        raise self.error(
            f"{self.where} are {type(given).__name__}; expected an array or a list with one class for each row. "
            + advice
        )

    def _refuse_several(self, count: int, row: int, others: str = "") -> NoReturn:
        raise self.error(
            f"{self.where} hold {count} values in row {row}{others}; expected one class for each row. "
            f"{self.several}If rows are lists of classes, choose one for each, such as "
            "[label[0] if len(label) else None for label in labels]."
        )

    @property
    def _subject(self) -> str:
        return self.where[0].upper() + self.where[1:]


def one_hot(matrix: NDArray[Any]) -> NDArray[np.int64] | None:
    """(N,) the column that holds the 1 of each row; None unless each row of (N, C) is one 1 among zeros, and C > 1."""
    if matrix.ndim != 2 or matrix.shape[1] < 2 or matrix.dtype.kind not in "biuf":
        return None
    if not ((matrix == 0) | (matrix == 1)).all() or not (np.count_nonzero(matrix, axis=1) == 1).all():
        return None
    classes: NDArray[np.int64] = matrix.argmax(1).astype(np.int64)
    return classes


def _whole(value: Any) -> Any:
    """A real number as None (NaN), an integer, or a float that is not whole."""
    if isinstance(value, numbers.Integral):
        return int(value)
    if value != value:
        return None
    number = float(value)
    return int(value) if np.isfinite(number) and value == int(value) else number


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    array = np.empty(len(values), object)
    for place, value in enumerate(values):  # NumPy would join values that are arrays
        array[place] = value
    return array


def _some(texts: Sequence[str]) -> str:
    return "; ".join(texts[:3]) + (f"; and {len(texts) - 3} more" if len(texts) > 3 else "")
