"""Arrays as evidence needs them: checked, in the host's memory, read-only."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelselect.errors import EvidenceError, ScoreWarning
from modelselect.utils.class_labels import UNLABELLED, LabelReader, one_hot
from modelselect.utils.containers import array_of_tensor, is_tensor
from modelselect.utils.relevance import WIDTH
from modelselect.utils.target_kinds import CLASSES, LABEL_SETS, NUMBERS, RELEVANCE

Value = TypeVar("Value")

_CHUNK_ROWS = 4096  # rows checked for NaN at a time, so that a memory-mapped file stays on disk
_LARGEST = np.iinfo(np.int64).max

_LARGEST_FEATURE = 1e100
"""Numbers above this have no square and no variance."""

_REGRESSION = "For regression, give the targets as an (N, 1) array: np.reshape(labels, (-1, 1))."


def checked_matrix(name: str, given: ArrayLike) -> NDArray[np.floating[Any]]:
    array = _array(name, given)
    if array.ndim != 2:
        raise EvidenceError(f"{name} has shape {array.shape}; expected two dimensions, with one row for each sample")
    if 0 in array.shape:
        raise EvidenceError(f"{name} has shape {array.shape}, so it is empty; expected at least one row and column")
    if array.dtype.kind in "biu":
        array = array.astype(np.float64)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    elif array.dtype.kind != "f":
        raise EvidenceError(f"{name} has dtype {array.dtype}; expected numbers")
    for start in range(0, len(array), _CHUNK_ROWS):
        chunk = array[start : start + _CHUNK_ROWS]
        finite = np.isfinite(chunk)
        if not finite.all():
            rows = np.flatnonzero(~finite.all(axis=1)) + start
            raise EvidenceError(
                f"{name} holds NaN or infinity, first in row {rows[0]} ({len(rows)} such rows among the first "
                f"{min(start + _CHUNK_ROWS, len(array))}). Scores of such features are meaningless: find out which "
                "layer overflows, or leave these rows out."
            )
        if name == "features" and array.dtype.itemsize > 4 and max(-chunk.min(), chunk.max()) > _LARGEST_FEATURE:
            row = start + int((np.abs(chunk) > _LARGEST_FEATURE).any(axis=1).argmax())
            raise EvidenceError(
                f"{name} holds a number above {_LARGEST_FEATURE:g}, first in row {row}. Scores of such features are "
                "meaningless, since their squares overflow: find out which layer overflows, or divide them all."
            )
    return _read_only(array)


def checked_labels(name: str, given: Any) -> NDArray[Any]:
    """(N,) int64 classes, in any form that `LabelReader.read` knows; or (N, T) targets of floats.

    Integers stay as they are; names are numbered in their order. Targets are floats of shape (N, 1), and numbers of
    shape (N, T), unless they are one-hot.
    """
    is_plain = type(given) is np.ndarray and given.dtype == np.int64 and given.ndim == 1 and len(given) > 0
    if is_plain and given.min() >= 0 and given.max() <= _LARGEST:  # as a probe holds them
        return _read_only(given.copy())
    matrix = _matrix(given)
    if matrix is not None and (matrix.dtype.kind == "f" or 1 not in matrix.shape):
        classes = one_hot(matrix)
        if classes is None:
            return _read_only(checked_matrix(name, matrix))
        given = classes
    read = LabelReader(name, EvidenceError, _REGRESSION).read(given)
    for remark in read.remarks:
        warnings.warn(remark, ScoreWarning, stacklevel=4)
    if read.values.dtype.kind in "iub" and read.values.max(initial=0) <= _LARGEST:
        classes = read.values.astype(np.int64)
    else:
        classes = np.unique(read.values, return_inverse=True)[1]
    labels = np.full(len(read.labelled), UNLABELLED, np.int64)
    labels[read.labelled] = classes
    return _read_only(labels)


def checked_targets(name: str, given: Any, kind: str) -> NDArray[np.floating[Any]]:
    """(N, T) numbers, sets of labels as 0 and 1 with NaN for what is not known, or relevance."""
    if kind == NUMBERS:
        array = _array(name, given)
        return checked_matrix(name, array[:, None] if array.ndim == 1 else array)
    array = _array(name, given)
    if kind == RELEVANCE:
        if array.ndim != 2 or array.shape[1] != WIDTH or array.dtype.kind != "f":
            raise EvidenceError(
                f"{name} has shape {array.shape} and dtype {array.dtype}; expected (N, {WIDTH}) floats, as "
                "modelselect.utils.relevance.relevance_values makes them"
            )
        return _read_only(array.astype(np.float64))
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise EvidenceError(f"{name} has shape {array.shape}; expected (N, C) of 0 and 1, NaN for what is not known")
    sets = array.astype(np.float64)
    if not (np.isnan(sets) | (sets == 0) | (sets == 1)).all():
        raise EvidenceError(f"{name} are sets of labels; expected only 0, 1, and NaN for what is not known")
    return _read_only(sets)


def checked_groups(given: Any) -> NDArray[np.int64]:
    """(N,) the sentence or image of each row."""
    array = array_of_tensor(given) if is_tensor(given) else np.asarray(given)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise EvidenceError(
            f"groups has shape {array.shape} and dtype {array.dtype}; expected (N,) integers, the number of the "
            "sentence or image of each row"
        )
    return _read_only(array.astype(np.int64, copy=False))


def kind_of(labels: NDArray[Any] | None) -> str:
    """What checked labels are."""
    if labels is None or labels.ndim == 1:
        return CLASSES
    return LABEL_SETS if ((labels == 0) | (labels == 1)).all() else NUMBERS


def _matrix(given: Any) -> NDArray[Any] | None:
    """The labels as a matrix of numbers, NaN where masked; None if they are none."""
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given) and 1 not in given.shape:
        given = np.where(np.ma.getmaskarray(given), np.nan, given.data) if given.dtype.kind in "biuf" else given
    try:
        array = np.asarray(_on_host(given))
    except Exception:  # NumPy makes no array of lists of different lengths, of tensors on a GPU, ...
        return None
    return array if array.ndim == 2 and array.dtype.kind in "fiub" else None


def _array(name: str, given: Any) -> NDArray[Any]:
    try:
        return np.asarray(_on_host(given))  # stays a view of a memory-mapped file
    except ValueError:  # NumPy makes no array of lists of different lengths
        raise EvidenceError(f"{name} are lists of different lengths; expected one row for each sample") from None


def _on_host(given: Any) -> Any:
    """A torch tensor as an array; anything else unchanged."""
    return array_of_tensor(given) if is_tensor(given) else given


def tensor_device(given: Any) -> str:
    return str(given.device) if is_tensor(given) else "cpu"


def shared(compute: Callable[[Any], Value]) -> cached_property[Value]:
    """A property that is computed once, and whose arrays are read-only, because all estimators get the same ones."""

    @functools.wraps(compute)
    def computed(self: Any) -> Value:
        value = compute(self)
        freeze(value)
        return value

    return cached_property(computed)


def freeze(value: Any) -> None:
    """Makes an array read-only, or those in a tuple."""
    for each in value if isinstance(value, tuple) else (value,):
        if isinstance(each, np.ndarray):
            each.flags.writeable = False


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
