"""Values of any library, one for each row, as a NumPy array or a list: torch, pandas, polars, PyArrow, JAX, ..."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TABLES = (("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "Table"), ("pyarrow", "RecordBatch"))


def is_a(value: Any, module: str, *names: str) -> bool:
    """isinstance, without importing the library: a value can only be from an imported one."""
    kinds = (getattr(sys.modules.get(module), name, None) for name in names)
    return any(kind is not None and isinstance(value, kind) for kind in kinds)


def is_table(value: Any) -> bool:
    """True for a data frame of pandas or polars, and for a table of Arrow."""
    return any(is_a(value, module, name) for module, name in _TABLES)


def is_tensor(value: Any) -> bool:
    """True for a torch tensor."""
    return is_a(value, "torch", "Tensor")


def array_of_tensor(tensor: Any) -> NDArray[Any]:
    """A torch tensor on any device as an array; bfloat16, which NumPy lacks, as float32."""
    tensor = tensor.detach().cpu()
    array: NDArray[Any] = (tensor.float() if "bfloat16" in str(tensor.dtype) else tensor).numpy(force=True)
    return array


def columns_of(table: Any) -> Mapping[str, Any] | None:
    """The columns of a table of pandas, polars or PyArrow by name; None for anything else.

    Of columns with one name, each but the first gets its number, as `pandas.read_csv` names them.

    >>> import pandas as pd
    >>> list(columns_of(pd.DataFrame([[1, 2, 3]], columns=["a", "a", 1])))
    ['a', 'a.1', '1']
    """
    if not is_table(table):
        return None
    of_arrow = is_a(table, "pyarrow", "Table", "RecordBatch")
    names = list(map(str, table.column_names if of_arrow else table.columns))
    taken = set(names)
    named: dict[str, Any] = {}
    for place, name in enumerate(names):
        if (own := name) in named:
            own = next(other for number in itertools.count(1) if (other := f"{name}.{number}") not in taken)
            taken.add(own)
        named[own] = table.iloc[:, place] if is_a(table, "pandas", "DataFrame") else table[place if of_arrow else name]
    return named


def is_sequence(value: Any) -> bool:
    """True for a container of values in an order, which a text and a mapping are not."""
    if isinstance(value, (str, bytes, Mapping)):
        return False
    if getattr(value, "ndim", 1) == 0 or hasattr(value, "toarray"):
        return False  # a number, or a sparse matrix: neither has a length
    return hasattr(value, "__len__") and (hasattr(value, "__getitem__") or hasattr(value, "__array__"))


def opened(values: Any) -> NDArray[Any] | list[Any] | None:
    """An array of numbers, or a list of other values; None for what is no container of values in an order.

    Missing values are None, NaN, `pandas.NA` or `pandas.NaT` in a list, and NaN in an array.

    >>> opened(np.ma.array([1, 2], mask=[False, True]))
    [1, None]
    >>> opened(np.array(["a", "b"]))
    ['a', 'b']
    """
    if is_tensor(values):
        return array_of_tensor(values)
    if isinstance(values, np.ma.MaskedArray):
        values = values.tolist() if np.ma.is_masked(values) else values.data
    elif is_a(values, "pandas", "Series", "Index") or is_a(values, "pandas.api.extensions", "ExtensionArray"):
        values = (
            np.asarray(values)
            if getattr(values.dtype, "kind", "") in "biuf" and not _nullable(values)
            else list(values)
        )
    elif is_a(values, "polars", "Series"):
        values = values.to_numpy() if _holds_numbers(values.dtype) and not values.null_count() else values.to_list()
    elif is_a(values, "pyarrow", "Array", "ChunkedArray"):
        values = np.asarray(values) if _holds_numbers(values.type) and not values.null_count else values.to_pylist()
    elif not isinstance(values, (np.ndarray, list)):
        if not is_sequence(values):
            return None
        values = np.asarray(values) if hasattr(values, "__array__") else list(values)
    if isinstance(values, list):
        return values
    array = np.asarray(values)  # not a matrix, whose rows are matrices
    if array.ndim == 0 or array.dtype.kind in "biufc":
        return array
    return list(array) if array.dtype.kind in "Mm" else _listed(array)


def _holds_numbers(kind: Any) -> bool:
    """True for a type of polars or Arrow whose values an array of NumPy holds unchanged: no texts, no decimals."""
    return re.fullmatch(r"u?int(8|16|32|64)|(half)?float(32|64)?|double|bool(ean)?", str(kind).lower()) is not None


def _nullable(values: Any) -> bool:
    return not isinstance(values.dtype, np.dtype)


def _listed(array: NDArray[Any]) -> list[Any]:
    """The values of an array of texts, bytes or objects, which may themselves be arrays."""
    if array.dtype.kind != "O":
        listed: list[Any] = array.tolist()
        return listed
    return [value if array.ndim == 1 else _listed(value) for value in array]
