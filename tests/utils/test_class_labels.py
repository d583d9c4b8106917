"""Labels in any form are read as classes, or refused with advice that works when it is typed."""

from __future__ import annotations

import datetime
import enum
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modelselect.errors import DatasetError
from modelselect.probe.labels import Labels
from modelselect.utils.class_labels import one_hot


def read(labels: Any, n_rows: int | None = None) -> Labels:
    return Labels.of(labels, len(labels) if n_rows is None else n_rows, where="labels")


def typed(advice: str, labels: Any) -> Labels:
    """What the advice gives when the user types it, with `labels` as the user's variable."""
    return read(eval(advice, {"labels": labels, "np": np}))


class Animal(enum.Enum):
    CAT = 1
    DOG = 2


class Text(enum.StrEnum):
    CAT = "cat"
    DOG = "dog"


class Number(enum.IntEnum):
    CAT = 3
    DOG = 5


# --- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "originals", "expected"),
    [
        (pd.Series([0, 1, None], dtype="Int64", index=[7, 7, 9]), (0, 1), [0, 1, -1]),
        (pd.Series([True, None, False], dtype="boolean"), (False, True), [1, -1, 0]),
        (pd.Series(["a", None, "b"], dtype="string"), ("a", "b"), [0, -1, 1]),
        (pd.Series(["b", None, "a"], dtype="category"), ("a", "b"), [1, -1, 0]),
        (pd.Categorical([3, 1, 3]), (1, 3), [1, 0, 1]),
        (pd.Series([1.0, None, 2.0]), (1, 2), [0, -1, 1]),
        (pd.Series([1, None, 2], dtype="Float64"), (1, 2), [0, -1, 1]),
        (pd.DataFrame({"kind": ["b", "a", "b"]}), ("a", "b"), [1, 0, 1]),
        (pd.get_dummies(pd.Series(["dog", "cat", "dog"])), ("cat", "dog"), [1, 0, 1]),
        (pd.Index(["b", "a", "b"]), ("a", "b"), [1, 0, 1]),
        (torch.tensor([2, 0, 2]), (0, 2), [1, 0, 1]),
        (torch.tensor([True, False, True]), (False, True), [1, 0, 1]),
        (torch.tensor([[2], [0], [2]]), (0, 2), [1, 0, 1]),
        ([torch.tensor(2), torch.tensor([0]), np.int64(2)], (0, 2), [1, 0, 1]),
        (np.array([[2], [0], [2]]), (0, 2), [1, 0, 1]),
        (np.array([[2, 0, 2]]), (0, 2), [1, 0, 1]),
        ([["b"], ["a"], ["b"]], ("a", "b"), [1, 0, 1]),
        (np.array([["b"], ["a"], ["b"]], object), ("a", "b"), [1, 0, 1]),
        (np.array([[True], [False], [True]]), (False, True), [1, 0, 1]),
        (np.eye(3)[[2, 0, 2]], (0, 2), [1, 0, 1]),
        ([[0, 1], [1, 0], [0, 1]], (0, 1), [1, 0, 1]),
        ([1.0, float("nan"), 2.0], (1, 2), [0, -1, 1]),
        ([Decimal(2), Decimal("1.0"), Fraction(4, 2)], (1, 2), [1, 0, 1]),
        ([b"dog", b"cat", b"dog"], ("cat", "dog"), [1, 0, 1]),
        (np.array([b"dog", b"cat", b"dog"]), ("cat", "dog"), [1, 0, 1]),
        (np.array(["b", "a", "b"], np.dtypes.StringDType()), ("a", "b"), [1, 0, 1]),
        ([Animal.DOG, Animal.CAT, Animal.DOG], ("CAT", "DOG"), [1, 0, 1]),
        ([Text.DOG, Text.CAT, Text.DOG], ("cat", "dog"), [1, 0, 1]),
        ([Number.DOG, Number.CAT, Number.DOG], (3, 5), [1, 0, 1]),
        ([None, 1, 0], (0, 1), [-1, 1, 0]),
        ([pd.NA, 1, 0], (0, 1), [-1, 1, 0]),
        ([pd.NaT, "b", "a"], ("a", "b"), [-1, 1, 0]),
        ([np.datetime64("NaT"), "b", "a"], ("a", "b"), [-1, 1, 0]),
        (np.ma.array([2, 5, 1], mask=[False, True, False]), (1, 2), [1, -1, 0]),
        (np.array([2**64 - 1, 0, 2**64 - 1], np.uint64), (0, 2**64 - 1), [1, 0, 1]),
        ([2**63, -1, 0], (0, 2**63), [1, -1, 0]),
        ([2**70, 1, 2**70], (1, 2**70), [1, 0, 1]),
        (["01", "1", "001"], ("001", "01", "1"), [1, 2, 0]),
        (["🐶", "🐱", "🐶"], ("🐱", "🐶"), [1, 0, 1]),
        (range(2), (0, 1), [0, 1]),
    ],
)
def test_labels_are_read_as_they_are_meant(labels: Any, originals: tuple[Any, ...], expected: list[int]) -> None:
    found = read(labels, len(expected))
    assert found.indices.tolist() == expected
    assert found.originals == originals
    assert [type(each) for each in found.originals] == [type(each) for each in originals]


def test_what_gives_an_array_is_read_as_one() -> None:
    class Foreign:
        """As the arrays of JAX and TensorFlow are."""

        def __init__(self, values: Any) -> None:
            self._values = np.asarray(values)

        def __len__(self) -> int:
            return len(self._values)

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return self._values

    assert read(Foreign([2, 0, 2])).originals == (0, 2)
    assert read(Foreign(np.array([b"b", b"a"], object))).originals == ("a", "b")
    assert read([Foreign(1), Foreign(0)], 2).originals == (0, 1)


def test_arrow_is_read_with_its_dictionaries_and_chunks() -> None:
    pa = pytest.importorskip("pyarrow")
    for labels in (
        pa.array(["b", None, "a"]),
        pa.chunked_array([["b"], [None, "a"]]),
        pa.array(["b", None, "a"]).dictionary_encode(),
        pa.table({"label": ["b", None, "a"]}),
    ):
        assert read(labels, 3).indices.tolist() == [1, -1, 0]


def test_polars_is_read() -> None:
    pl = pytest.importorskip("polars")
    for labels in (
        pl.Series(["b", None, "a"]),
        pl.Series(["b", None, "a"], dtype=pl.Categorical),
        pl.DataFrame({"label": ["b", None, "a"]}),
    ):
        assert read(labels, 3).indices.tolist() == [1, -1, 0]


# --- what is said ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "names", "remark"),
    [
        (["cat", " cat", "dog"], ("cat", "dog"), "'cat' and ' cat'"),
        (["caf\u00e9", "cafe\u0301", "x"], ("caf\u00e9", "x"), r"'caf\\xe9' and 'cafe\\u0301'"),
        (["a", "", "b", "  "], ("a", "b"), "without a label: 2 of 4, the first is row 1"),
        ([1, -100, 0, -100], ("0", "1"), "the label -100, which PyTorch and transformers leave out: 2 of 4"),
        (
            [-1, 0, 1, 1],
            ("0", "1"),
            r"the label -1: 1 of 4; .* If -1 is a class, give .* such as \[label \+ 1 for label",
        ),
        ([1, None, 0], ("0", "1"), "without a label: 1 of 3, the first is row 1"),
        (["a", "nan", "b"], ("a", "b", "nan"), "A class has the name 'nan'"),
        (["Cat", "cat"], ("Cat", "cat"), "differ only in case are read as different: 'Cat' and 'cat'"),
        (np.eye(3), ("0", "1", "2"), "Labels are one-hot: the class of a row is the column, of 3"),
    ],
)
def test_a_special_reading_is_one_remark(labels: Any, names: tuple[str, ...], remark: str) -> None:
    found = read(labels)
    assert found.names == names
    assert len(found.remarks) == 1
    with pytest.raises(ValueError, match=remark):
        raise ValueError(found.remarks[0])
    assert found.take(np.arange(len(labels))).remarks == found.remarks


@pytest.mark.parametrize("labels", [[0, 1, 2], ["a", "b"], [True, False], [None, None], [[1], [0]], [1.0, 2.0]])
def test_a_plain_reading_needs_no_remark(labels: Any) -> None:
    assert read(labels).remarks == ()


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "message", "advice"),
    [
        ([[0, 1], [1, 1]], "row 1 has 2 ones", "np.asarray(labels)[:, 0]"),
        (np.array([[0, 1], [0, 0], [1, 0]]), "row 1 has 0 ones", "labels[:, 0]"),
        (pd.DataFrame({"x": [0, 1], "y": [1, 1]}), "row 1 has 2 ones", "np.asarray(labels)[:, 0]"),
        ([[0.2, 0.8], [0.7, 0.3]], r"shape \(2, 2\)", "np.asarray(labels).argmax(1)"),
        (torch.tensor([[0.2, 0.8], [0.7, 0.3]]), r"shape \(2, 2\)", "labels.argmax(1)"),
        (np.array([[0.2, 0.8], [0.7, 0.3]]), r"shape \(2, 2\)", "labels.argmax(1)"),
        (pd.DataFrame([[0.2, 0.8], [0.7, 0.3]]), r"shape \(2, 2\)", "np.asarray(labels).argmax(1)"),
        ([[3, 4], [5, 6]], r"shape \(2, 2\)", "np.asarray(labels)[:, 0]"),
        (
            [["a"], ["a", "b"], []],
            r"2 values in row 1",
            "[label[0] if len(label) else None for label in labels]",
        ),
        ([[1, 2], [3]], r"2 values in row 0", "[label[0] if len(label) else None for label in labels]"),
        ([0.0, 1.5, 2.5], "1.5 in row 1", "np.digitize(labels, np.quantile(labels, [0.25, 0.5, 0.75]))"),
        (np.array([[0.5], [1.5]]), "0.5 in row 0", "np.digitize(labels, np.quantile(labels, [0.25, 0.5, 0.75]))"),
        (["a", 1, None], "kind integer and string, 1 in row 1 and 'a' in row 0", "[str(label) for label in labels]"),
        ([0, True], "kind boolean and integer", "[str(label) for label in labels]"),
        ([0, -2, 1], "hold -2 in row 1", "[str(label) for label in labels]"),
        (np.array([0, -2, 1]), "hold -2 in row 1", "[str(label) for label in labels]"),
        ([b"\xe9t\xe9", b"a"], "in row 0", '[label.decode("latin-1") for label in labels]'),
        (
            [datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)],
            "hold date in row 0",
            "[str(label) for label in labels]",
        ),
        (np.array(["2020-01-01", "2020-01-02"], "M8[D]"), "datetime64 in row 0", "[str(label) for label in labels]"),
        (np.array([1, 2], "m8[ns]"), "timedelta64 in row 0", "[str(label) for label in labels]"),
        (
            pd.Series(pd.to_datetime(["2020-01-01", "2021-01-01"])),
            "Timestamp in row 0",
            "[str(label) for label in labels]",
        ),
        (pd.cut(pd.Series([1, 2, 9]), 2), "Interval in row 0", "[str(label) for label in labels]"),
        ([1j, 0j], "complex in row 0", "[str(label) for label in labels]"),
        (pd.DataFrame({"a": ["x", "y"], "b": [1, 2]}), "the columns a, b", "labels['a']"),
        ({"first": "a", "second": "b"}, "labels are dict", "list(labels.values())"),
        ({"first": "a", "second": "b"}.values(), "labels are dict_values", "list(labels)"),
        ((each for each in "ab"), "labels are generator", "list(labels)"),
    ],
)
def test_what_is_no_class_is_refused_with_its_row_and_the_advice_works(labels: Any, message: str, advice: str) -> None:
    with pytest.raises(DatasetError, match=message) as refused:
        read(labels, len(labels) if hasattr(labels, "__len__") else 2)
    assert f" {advice}" in str(refused.value)
    assert len(typed(advice, labels).names) >= 1


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"a", "b"}, "A set has no order: give a list"),
        ("ab", "labels are str"),
        (3, "labels are int"),
        (np.array(3), "labels are ndarray"),
        ([float("inf"), 1.0], "inf in row 0"),
        (np.zeros((2, 3, 4)), r"shape \(2, 3, 4\)"),
        ([object(), object()], "object in row 0"),
    ],
)
def test_what_no_advice_can_mend_is_named(labels: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read(labels, 2)


def test_a_column_is_never_called_one_hot() -> None:
    for column in (np.array([[0.5], [1.5]]), np.array([[0], [-2]])):
        with pytest.raises(DatasetError) as refused:
            read(column)
        assert "argmax" not in str(refused.value)
    assert one_hot(np.ones((3, 1))) is None
    assert one_hot(np.array([[1, 1], [0, 1]])) is None
    assert one_hot(np.array([[2, 0], [0, 2]])) is None


# --- the same in every container -------------------------------------------------------------------------------------


def _containers(names: list[str]) -> dict[str, Any]:
    pa = pytest.importorskip("pyarrow")
    return {
        "tuple": tuple(names),
        "array": np.array(names, object),
        "strings": np.array(names, np.dtypes.StringDType()),
        "column": np.array(names, object)[:, None],
        "lists": [[name] for name in names],
        "series": pd.Series(names, index=range(5, 5 + len(names))),
        "string": pd.Series(names, dtype="string"),
        "category": pd.Series(names, dtype="category"),
        "index": pd.Index(names),
        "frame": pd.DataFrame({"label": names}),
        "arrow": pa.array(names, pa.string()),
        "dictionary": pa.array(names, pa.string()).dictionary_encode(),
        "bytes": [name.encode() for name in names],
    }


_NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, max_size=8)


@given(_NAMES)
@settings(max_examples=40)
def test_names_are_the_same_classes_in_every_container(names: list[str]) -> None:
    expected = read(names)
    for kind, container in _containers(names).items():
        found = read(container, len(names))
        assert found.indices.tolist() == expected.indices.tolist(), kind
        assert found.names == expected.names, kind


@given(st.lists(st.one_of(st.none(), st.integers(-1, 6)), min_size=1, max_size=8))
@settings(max_examples=40)
def test_numbers_are_the_same_classes_in_every_container(numbers: list[int | None]) -> None:
    pa = pytest.importorskip("pyarrow")
    if {number for number in numbers if number is not None} <= {-1, 1}:
        numbers = [0, *numbers]
    filled = [-1 if number is None else number for number in numbers]
    expected = read(filled)
    containers = {
        "none": numbers,
        "array": np.array(filled),
        "column": np.array(filled)[:, None],
        "int64": pd.Series(numbers, dtype="Int64"),
        "float": pd.Series(numbers, dtype="float64"),
        "masked": np.ma.array(filled, mask=[number is None for number in numbers]),
        "arrow": pa.array(numbers, pa.int64()),
        "tensor": torch.tensor(filled),
        "tensors": [torch.tensor(number) for number in filled],
        "decimals": [None if number is None else Decimal(number) for number in numbers],
    }
    for kind, container in containers.items():
        found = read(container, len(numbers))
        assert found.indices.tolist() == expected.indices.tolist(), kind
        assert found.originals == expected.originals, kind


@given(st.lists(st.integers(0, 4), min_size=2, max_size=8))
@settings(max_examples=40)
def test_one_hot_rows_are_the_classes_of_their_columns(numbers: list[int]) -> None:
    expected = read(numbers)
    for kind in (np.int64, np.float32, np.bool_):
        assert read(np.eye(5, dtype=kind)[numbers]).indices.tolist() == expected.indices.tolist()
    assert read(torch.eye(5)[torch.tensor(numbers)]).originals == expected.originals
