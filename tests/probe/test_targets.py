"""Targets that are no classes: how they are read, refused and stratified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from modelselect.errors import DatasetError
from modelselect.probe.probe import Probe

RNG = np.random.default_rng(0)
TEXTS = [f"text number {row}" for row in range(40)]
NUMBERS = RNG.normal(size=40)
SETS = RNG.integers(0, 2, (40, 3))
LISTS = [[name for name, has in zip("abc", row, strict=True) if has] for row in SETS.tolist()]


@pytest.mark.parametrize(
    "labels",
    [NUMBERS, NUMBERS.tolist(), pd.Series(NUMBERS), NUMBERS[:, None], pd.DataFrame({"y": NUMBERS})],
    ids=["array", "list", "series", "column", "frame"],
)
def test_numbers_that_are_not_whole_are_numbers_in_every_container(labels: Any) -> None:
    probe = Probe.of((TEXTS, labels))
    assert probe.target_kind == "numbers"
    assert probe.labels is None
    assert probe.class_names == ()
    assert np.allclose(np.sort(np.asarray(probe.targets)[:, 0]), np.sort(NUMBERS))


def test_whole_numbers_are_classes_unless_the_task_says_numbers() -> None:
    counts = RNG.integers(0, 9, 40)
    assert Probe.of((TEXTS, counts)).target_kind == "classes"
    assert Probe.of((TEXTS, counts), targets="numbers").target_kind == "numbers"
    two = Probe.of((TEXTS, np.stack([NUMBERS, NUMBERS**2], 1)), targets="numbers")
    assert np.asarray(two.targets).shape == (40, 2)


@pytest.mark.parametrize(
    "labels",
    [SETS, SETS.astype(float), SETS.astype(bool), pd.DataFrame(SETS, columns=list("abc")), LISTS],
    ids=["ints", "floats", "truth", "frame", "lists"],
)
def test_sets_of_labels_are_read_from_every_form(labels: Any) -> None:
    probe = Probe.of((TEXTS, labels))
    assert probe.target_kind == "label_sets"
    found = np.asarray(probe.targets)
    assert found.sum() == SETS.sum()
    assert len(probe.target_names) == 3


def test_labels_may_be_missing_and_a_row_without_any_is_unlabelled() -> None:
    sets = SETS.astype(float)
    sets[0, 1] = -1
    sets[1] = np.nan
    probe = Probe.of((TEXTS, sets), targets="label_sets")
    assert np.isnan(np.asarray(probe.targets)).sum() == 4
    assert (probe.strata < 0).sum() == 1
    assert any("Labels that are not known: 4 of 120" in remark for remark in probe.remarks)


def test_a_list_of_class_labels_has_the_names_of_the_dataset() -> None:
    import datasets

    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "labels": datasets.Sequence(datasets.ClassLabel(names=["cat", "dog", "cow"])),
        }
    )
    rows = [[place for place, has in enumerate(row) if has] for row in SETS.tolist()]
    probe = Probe.of(datasets.Dataset.from_dict({"text": TEXTS, "labels": rows}, features=features))
    assert probe.target_names == ("cat", "dog", "cow")
    assert np.asarray(probe.targets).sum() == SETS.sum()


@pytest.mark.parametrize(
    ("labels", "kind", "message"),
    [
        ([*NUMBERS[:39], np.nan], "numbers", "hold NaN in row 39; expected a finite number"),
        ([*NUMBERS[:39].tolist(), None], "numbers", "hold no number in row 39"),
        ([*NUMBERS[:39].tolist(), "7"], "numbers", "hold '7' in row 39"),
        (np.full(40, 2.5), None, "are 2.5 in all 40 rows; expected numbers that differ"),
        ([*NUMBERS[:39], np.inf], "numbers", "hold infinity"),
        (["a", "b"] * 20, "numbers", "hold 'a' in row 0"),
        (SETS + 1, "label_sets", "expected 0 and 1"),
        (np.ones((40, 2)), "label_sets", "no label that some rows have and others have not"),
        (["a", "b"] * 20, "label_sets", "are no sets of labels"),
    ],
)
def test_bad_targets_are_one_error_that_says_the_row_and_what_to_do(
    labels: Any, kind: str | None, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        Probe.of((TEXTS, labels), targets=kind)


def test_complex_numbers_do_not_lose_a_part() -> None:
    with pytest.raises(DatasetError):
        Probe.of(([f"a text {row}" for row in range(12)], [np.array([1 + 1j, 0j])] * 6 + [np.array([0j, 1 + 0j])] * 6))


def test_a_sample_and_the_held_out_rows_are_spread_over_the_numbers() -> None:
    texts = [f"text {row}" for row in range(500)]
    skewed = np.exp(3 * np.random.default_rng(1).normal(size=500))
    probe = Probe.of((texts, skewed), size=50, holdout=0.2)
    assert probe.holdout is not None
    for part in (probe, probe.holdout):
        bins = np.searchsorted(np.quantile(skewed, np.linspace(0.1, 0.9, 9)), np.asarray(part.targets)[:, 0])
        counts = np.bincount(bins, minlength=10)
        assert counts.max() - counts.min() <= 2, "each tenth of the numbers has its share"


def test_a_rare_label_is_in_the_sample_and_in_the_held_out_rows() -> None:
    texts = [f"text {row}" for row in range(500)]
    sets = np.zeros((500, 3))
    sets[:, 0], sets[::2, 1], sets[::100, 2] = 1, 1, 1
    probe = Probe.of((texts, sets), size=40, holdout=0.2)
    assert probe.holdout is not None
    assert np.asarray(probe.targets)[:, 2].any()
    assert np.asarray(probe.holdout.targets)[:, 2].any()


def test_the_fingerprint_holds_the_targets_and_their_kind() -> None:
    counts = np.arange(40) % 4
    prints = [
        Probe.of((TEXTS, counts)).fingerprint,
        Probe.of((TEXTS, counts), targets="numbers").fingerprint,
        Probe.of((TEXTS, counts + 1), targets="numbers").fingerprint,
    ]
    assert len(set(prints)) == 3


def test_parts_of_a_probe_keep_their_targets_and_it_can_be_drawn_again() -> None:
    probe = Probe.of((TEXTS, NUMBERS), size=20, seed=3)
    some = probe.take(np.array([1, 5, 7]))
    assert np.array_equal(np.asarray(some.targets), np.asarray(probe.targets)[[1, 5, 7]])
    again = Probe.again((TEXTS, NUMBERS), probe.provenance)
    assert again.fingerprint == probe.fingerprint


def test_a_validation_split_is_read_by_the_names_of_the_labels() -> None:
    training = (TEXTS, LISTS)
    validation = ([f"held {row}" for row in range(20)], [["b"], ["a", "b"]] * 10)
    probe = Probe.of({"train": training, "validation": validation}, holdout=0.2)
    assert probe.holdout is not None
    assert np.asarray(probe.holdout.targets).sum(axis=0).tolist() == [10, 20, 0]


def test_rows_without_labels_are_not_said_to_have_classes() -> None:
    with pytest.raises(DatasetError, match=r"the rows have no labels, and the task needs one number.*Give \(inputs"):
        Probe.of((TEXTS, None), targets="numbers")


def test_several_columns_of_numbers_name_the_task_that_takes_them() -> None:
    table = pd.DataFrame({"text": TEXTS, "x": NUMBERS, "y": NUMBERS**2})
    with pytest.raises(DatasetError, match=r"expected 0 and 1.*To rank for numbers, give task='regression'"):
        Probe.of(table, label="x,y")
    assert Probe.of(table, label="x,y", targets="numbers").target_names == ("x", "y")


def test_too_few_numbers_to_hold_some_out_are_not_called_classes() -> None:
    with pytest.raises(DatasetError, match=r"the 4 rows of arrays are too few for them\. Give more rows") as raised:
        Probe.of((TEXTS[:4], NUMBERS[:4]), holdout=0.2)
    assert "class" not in str(raised.value)


def test_rows_of_several_classes_name_the_task_that_takes_them() -> None:
    with pytest.raises(DatasetError, match=r"not one-hot.*give task='multi-label' \(--task multi-label\)"):
        Probe.of((TEXTS, np.ones((40, 3))), targets="classes")


def test_sets_of_python_are_sets_of_labels() -> None:
    texts, lists = [f"text {row}" for row in range(12)], [["a"], ["b", "a"], []] * 4
    expected = Probe.of((texts, lists))
    assert expected.target_kind == "label_sets"
    for kind in (set, frozenset):
        assert Probe.of((texts, [kind(labels) for labels in lists])).fingerprint == expected.fingerprint
    assert Probe.of((texts, [{"a"}, {"b"}] * 6)).class_names == ("a", "b")


def test_whole_numbers_too_long_for_a_computer_word_are_numbers_for_a_task_of_numbers(tmp_path: Path) -> None:
    amounts = [str(int(value)) for value in 10.0 ** RNG.uniform(10, 24, 40)]
    table = tmp_path / "amounts.csv"
    table.write_text("\n".join(["text,label", *map(",".join, zip(TEXTS, amounts, strict=True))]))
    for dataset in (str(table), (TEXTS, amounts), pd.DataFrame({"text": TEXTS, "label": amounts})):
        probe = Probe.of(dataset, targets="numbers")
        assert probe.targets is not None
        assert np.allclose(np.sort(probe.targets[:, 0]), np.sort([float(amount) for amount in amounts]), rtol=1e-15)
    with pytest.raises(DatasetError, match=r"hold '5' in row 0; expected a finite number"):
        Probe.of((TEXTS, ["5", "1e5", *amounts[2:]]), targets="numbers")
