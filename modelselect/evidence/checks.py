"""Arrays as evidence needs them: checked, in the host's memory, read-only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelselect.errors import EvidenceError

_CHUNK_ROWS = 4096  # rows checked for NaN at a time, so that a memory-mapped file stays on disk


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
        finite = np.isfinite(array[start : start + _CHUNK_ROWS])
        if not finite.all():
            rows = np.flatnonzero(~finite.all(axis=1)) + start
            raise EvidenceError(
                f"{name} holds NaN or infinity, first in row {rows[0]} ({len(rows)} such rows among the first "
                f"{min(start + _CHUNK_ROWS, len(array))}). Scores of such features are meaningless: find out which "
                "layer overflows, or leave these rows out."
            )
    return _read_only(array)


def checked_labels(name: str, given: ArrayLike) -> NDArray[Any]:
    array = _array(name, given)
    if array.ndim == 2 and array.dtype.kind in "fiub":
        return _read_only(checked_matrix(name, array))
    if array.ndim != 1:
        raise EvidenceError(f"{name} has shape {array.shape}; expected (N,) class labels or (N, T) targets")
    if array.dtype == object:  # as pandas keeps names, and numbers from a mixed column
        kinds = {str if isinstance(value, str) else type(value) for value in array.tolist()}
        array = array.astype(kinds.pop()) if kinds in ({str}, {int}, {bool}) else array
    if array.dtype.kind in "US":
        array = np.unique(array, return_inverse=True)[1]
    elif array.dtype.kind == "f":
        rounded = np.rint(array)
        if not np.array_equal(rounded, array):
            raise EvidenceError(
                f"{name} holds numbers that are not whole, such as {array[rounded != array][0]}; expected class "
                "labels. For regression, give the targets as an (N, 1) array."
            )
        array = rounded
    elif array.dtype.kind not in "biu":
        raise EvidenceError(f"{name} has dtype {array.dtype}; expected integers or strings")
    array = array.astype(np.int64)
    if len(array) and array.min() < -1:
        raise EvidenceError(f"{name} holds {array.min()}; expected 0, 1, 2, ..., or -1 for unlabelled rows")
    return _read_only(array)


def _array(name: str, given: Any) -> NDArray[Any]:
    try:
        return np.asarray(_on_host(given))  # stays a view of a memory-mapped file
    except ValueError:  # NumPy makes no array of lists of different lengths
        raise EvidenceError(f"{name} are lists of different lengths; expected one row for each sample") from None


def _on_host(given: Any) -> Any:
    """A torch tensor as an array; anything else unchanged."""
    if not _is_tensor(given):
        return given
    tensor = given.detach().cpu()
    return (tensor.float() if "bfloat16" in str(tensor.dtype) else tensor).numpy()  # NumPy has no bfloat16


def tensor_device(given: Any) -> str:
    return str(given.device) if _is_tensor(given) else "cpu"


def _is_tensor(given: Any) -> bool:
    return hasattr(given, "detach") and hasattr(given, "device")


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
