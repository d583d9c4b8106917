"""Labels of any kind become class indices."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest

from modelselect.errors import DatasetError
from modelselect.probe.probe import Probe

# --- labels, duplicates, arrays --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "names", "expected", "label_map"),
    [
        ([3, 7, 3, -1], ("3", "7"), [0, 1, 0, -1], {"3": 0, "7": 1}),
        (["dog", "cat", "dog", None], ("cat", "dog"), [1, 0, 1, -1], {"cat": 0, "dog": 1}),
        ([True, False, True, True], ("False", "True"), [1, 0, 1, 1], {"False": 0, "True": 1}),
        ([1, 0, None, 1], ("0", "1"), [1, 0, -1, 1], {"0": 0, "1": 1}),
        (["dog", float("nan"), "cat", None], ("cat", "dog"), [1, -1, 0, -1], {"cat": 0, "dog": 1}),
        (["a", "a\0", "a", "a\0"], ("a", "a\0"), [0, 1, 0, 1], {"a": 0, "a\0": 1}),
        (np.array([2, 0, 1, 2], np.uint8), ("0", "1", "2"), [2, 0, 1, 2], {"0": 0, "1": 1, "2": 2}),
    ],
)
def test_labels_of_any_kind_become_class_indices_and_the_map_is_kept(
    labels: Any, names: tuple[str, ...], expected: list[int], label_map: dict[str, int]
) -> None:
    probe = Probe.of((np.eye(4), labels))
    assert probe.labels is not None
    assert probe.labels.tolist() == expected
    assert probe.labels.dtype == np.int64
    assert not probe.labels.flags.writeable
    assert probe.class_names == names
    assert probe.n_classes == len(names)
    assert probe.provenance["label_map"] == label_map


def test_class_names_can_be_written_whatever_the_labels_are() -> None:
    assert Probe.of((np.eye(4), ["a", "b\ud800"] * 2)).class_names == ("a", "b\\ud800")


def test_unlabelled_rows_only_fill_what_labelled_ones_leave() -> None:
    labels = np.array([0, 1, -1, -1, -1] * 10)
    full = Probe.of((np.arange(100.0).reshape(50, 2), labels), size=30).labels
    part = Probe.of((np.arange(100.0).reshape(50, 2), labels), size=10).labels
    assert full is not None
    assert part is not None
    assert Counter(full.tolist()) == {0: 10, 1: 10, -1: 10}
    assert Counter(part.tolist()) == {0: 5, 1: 5}


def test_wholly_unlabelled_rows_have_no_labels_and_no_holdout() -> None:
    for labels in (None, [-1] * 6):
        probe = Probe.of((np.arange(12.0).reshape(6, 2), labels), size=4)
        assert probe.labels is None
        assert probe.n_classes == 0
        assert len(probe) == 4
        with pytest.raises(DatasetError, match="no labels"):
            Probe.of((np.eye(6), labels), holdout=0.5)


# --- what a probe refuses --------------------------------------------------------------------------------------------


def test_minus_one_and_one_are_two_classes_only_as_the_message_advises() -> None:
    labels = [-1, 1, -1, 1]
    with pytest.raises(DatasetError, match=r"one class, '1'.*unlabelled: 2 rows.*give \[label == 1 for label in"):
        Probe.of((np.eye(4), labels))
    assert Probe.of((np.eye(4), [label == 1 for label in labels])).class_names == ("False", "True")


def test_labels_of_shape_n_1_are_those_of_shape_n_and_their_argmax_is_explained() -> None:
    labels = np.array([[0], [2], [0], [2]])
    assert Probe.of((np.eye(4), labels)).fingerprint == Probe.of((np.eye(4), labels[:, 0])).fingerprint
    with pytest.raises(DatasetError, match=r"all 4 labels of arrays are 0.*argmax\(1\).*give the labels themselves"):
        Probe.of((np.eye(4), labels.argmax(1)))


def test_remarks_on_labels_are_remarks_of_the_probe_and_its_provenance() -> None:
    probe = Probe.of((np.eye(8), pd.Series([0, 1, None, 1, 0, 0, 1, 0], dtype="Int64")))
    assert probe.remarks == ("Rows without a label: 1 of 8, the first is row 2.",)
    assert probe.provenance["remarks"] == list(probe.remarks)
