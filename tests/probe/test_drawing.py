"""Too few rows for the classes is said, with what to do; a usual dataset gets no remark."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.probe.probe import Probe
from tests.probe.material import folder_of


def of_labels(labels: Any, **settings: Any) -> Probe:
    labels = np.asarray(labels)
    return Probe.of((np.random.default_rng(0).normal(size=(len(labels), 2)).astype(np.float32), labels), **settings)


@pytest.mark.parametrize(
    "labels",
    [
        np.repeat([0, 1], 50),
        np.repeat(np.arange(100), 20),
        np.repeat(np.arange(10), 2),
        np.repeat([0, 1, 2], [5000, 40, 30]),
    ],
)
def test_a_usual_dataset_gets_no_remark(labels: Any) -> None:
    assert of_labels(labels).remarks == ()


@pytest.mark.parametrize(
    "labels", [np.arange(300), [f"IMG_{i:04}.jpg" for i in range(40)], np.random.default_rng(0).permutation(10_000)]
)
def test_labels_that_are_row_numbers_or_names_are_said(labels: Any) -> None:
    (remark,) = of_labels(labels).remarks
    assert re.match(r"Each of the [\d,]+ labels belongs to one row only, as if the labels were row numbers", remark)


def test_fewer_than_two_rows_for_a_class_is_said() -> None:
    (remark,) = of_labels([*range(60), *range(30)]).remarks
    assert remark.startswith("The 90 labelled rows have 60 classes: fewer than two rows for a class.")
    assert of_labels([*range(60), *range(60)]).remarks == ()


@pytest.mark.parametrize(
    ("classes", "each", "size", "said"),
    [
        (
            300,
            20,
            100,
            "100 labelled rows for 300 classes: fewer than two for a class, and none at all for 200 of them",
        ),
        (300, 20, 400, "400 labelled rows for 300 classes: fewer than two for a class. Draw more"),
        (300, 3, 400, "400 labelled rows for 300 classes: fewer than two for a class. Draw more"),
    ],
)
def test_a_probe_that_is_too_small_for_its_classes_says_which_size_is_enough(
    classes: int, each: int, size: int, said: str
) -> None:
    labels = np.repeat(np.arange(classes), each)
    (remark,) = of_labels(labels, size=size).remarks
    assert said in remark
    advised, typed = re.search(r"probe_size=(\w+) \(on the command line: --probe-size (\w+)\)", remark).groups()  # type: ignore[union-attr]
    assert of_labels(labels, size=None if advised == "None" else int(advised)).remarks == ()
    assert typed == {"None": "all"}.get(advised, advised)


def test_a_class_of_one_row_is_named() -> None:
    (remark,) = of_labels(["cat"] * 500 + ["dog"] * 400 + ["owl"]).remarks
    assert remark.startswith("One class has one row only (owl).")
    (remark,) = of_labels([*["cat"] * 500, *"abcdefg"]).remarks
    assert remark.startswith("7 of the 8 classes have one row only (a, b, c, d, e and 2 more).")


def test_a_class_of_which_the_probe_has_one_row_is_named_and_a_larger_probe_mends_it() -> None:
    labels = np.repeat([0, 1], [5000, 5])
    (remark,) = of_labels(labels, size=500).remarks
    assert remark.endswith("draw more rows with a larger probe_size.")
    assert of_labels(labels, size=None).remarks == ()


def test_the_remark_stands_on_the_board(tmp_path: Path) -> None:
    root = folder_of(tmp_path, {"cat": 8, "dog": 8, "owl": 1})
    board = ms.select(root, "embedded:plain*", estimators="logme", progress=False)
    assert "One class has one row only (owl)" in board.provenance["dataset"]["remarks"][0]


def few(*counts: int) -> tuple[Any, list[int]]:
    """Images of as many classes as there are counts."""
    labels = np.repeat(np.arange(len(counts)), counts)
    rows = np.arange(len(labels), dtype=np.uint8)
    return np.broadcast_to(rows[:, None, None], (len(rows), 8, 8)).copy(), labels.tolist()


def test_rows_that_can_be_spared_are_held_out_before_the_sample_is_drawn() -> None:
    dataset = few(30, 20)
    needed = Probe.of(dataset, holdout=0.2)
    spared = Probe.of(dataset, holdout=0.2, may_keep_all=True)
    assert (spared.fingerprint, len(spared)) == (needed.fingerprint, 40)
    assert spared.holdout is not None
    assert needed.holdout is not None
    assert spared.holdout.fingerprint == needed.holdout.fingerprint


def test_a_sample_of_enough_rows_loses_none_to_the_holdout() -> None:
    assert len(Probe.of(few(60, 40), size=80, holdout=0.2, may_keep_all=True)) == 80


@pytest.mark.parametrize(
    "dataset",
    [few(1, 1, 1), few(2, 2), few(4, 4, 4), few(40, 1), (few(9)[0], None)],
    ids=["one row each", "two rows each", "four rows each", "one class has one row", "no labels"],
)
def test_a_dataset_that_can_spare_no_rows_keeps_them_all(dataset: Any) -> None:
    probe = Probe.of(dataset, holdout=0.2, may_keep_all=True)
    assert probe.holdout is None
    assert probe.fingerprint == Probe.of(dataset).fingerprint


def test_a_dataset_with_a_validation_split_keeps_all_training_rows() -> None:
    dataset = {"train": few(30, 20), "validation": few(7, 7)}
    probe = Probe.of(dataset, holdout=0.2, may_keep_all=True)
    assert probe.holdout is None  # the split is not read
    assert probe.fingerprint == Probe.of(dataset, holdout=0.2).fingerprint
