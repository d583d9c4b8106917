"""Values of any library become an array of numbers, or a list."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modelselect.utils.containers import columns_of, opened


def test_numbers_become_arrays_and_missing_values_stay_missing() -> None:
    import pandas as pd
    import pyarrow as pa
    import torch

    containers: list[tuple[Any, Any]] = [
        (torch.tensor([1, 2]), np.array([1, 2])),
        (torch.tensor([1.5], dtype=torch.bfloat16, requires_grad=True), np.array([1.5], np.float32)),
        (pd.Series([1, 2], index=[7, 8]), np.array([1, 2])),
        (pd.Series(["a", None]).astype("category"), ["a", None]),
        (pd.Series([1, None], dtype="Int64"), [1, pd.NA]),
        (pa.chunked_array([[1], [None]]), [1, None]),
        (np.ma.array([1, 2], mask=[True, False]), [None, 2]),
        (np.ma.array([1, 2]), np.array([1, 2])),
        (np.array([["a"], ["b"]]), [["a"], ["b"]]),
        (range(2), [0, 1]),
    ]
    for container, expected in containers:
        values = opened(container)
        assert isinstance(values, type(expected))
        if isinstance(expected, np.ndarray):
            assert values.dtype == expected.dtype  # type: ignore[union-attr]
            assert np.array_equal(values, expected)  # type: ignore[arg-type]
        else:
            assert [str(value).replace("nan", "None") for value in values or ()] == [str(value) for value in expected]


@pytest.mark.parametrize("value", ["text", b"text", 3, None, {1: 2}, {1, 2}, (i for i in range(3)), iter([1])])
def test_what_has_no_order_is_no_container(value: Any) -> None:
    assert opened(value) is None


def test_a_table_gives_its_columns() -> None:
    import pandas as pd
    import pyarrow as pa

    for table in (pd.DataFrame({"a": [1], "b": ["x"]}), pa.table({"a": [1], "b": ["x"]})):
        columns = columns_of(table)
        assert columns is not None
        assert list(columns) == ["a", "b"]
        assert list(opened(columns["b"]) or ()) == ["x"]
    assert columns_of({"a": [1]}) is None
