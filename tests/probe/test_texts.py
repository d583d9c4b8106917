"""Pairs of texts in memory, and blank texts, which are counted."""

from __future__ import annotations

import datasets
import numpy as np
import pandas as pd
import pytest

from modelselect.errors import DatasetError
from modelselect.probe.probe import Probe

PAIRS = [(f"first {i}", f"second {i}") for i in range(12)]
LABELS = ["yes", "no"] * 6


def test_a_list_of_pairs_is_pairs_however_it_is_given() -> None:
    probe = Probe.of((PAIRS, LABELS))
    assert probe.modality == "text"
    assert probe.item(5) == ("first 5", "second 5")
    table = pd.DataFrame({"premise": [a for a, _ in PAIRS], "hypothesis": [b for _, b in PAIRS], "label": LABELS})
    for same in (
        ([list(pair) for pair in PAIRS], LABELS),
        (np.array(PAIRS), LABELS),
        (table[["premise", "hypothesis"]], LABELS),
        table,
        datasets.Dataset.from_pandas(table),
    ):
        assert Probe.of(same).fingerprint == probe.fingerprint


def test_the_fingerprint_covers_both_texts_and_where_the_first_ends() -> None:
    one = Probe.of(([("ab", "c"), ("x", "y")], [0, 1]))
    other = Probe.of(([("a", "bc"), ("x", "y")], [0, 1]))
    joined = Probe.of((["abc", "xy"], [0, 1]))
    second = Probe.of(([("ab", "d"), ("x", "y")], [0, 1]))
    assert len({probe.fingerprint for probe in (one, other, joined, second)}) == 4
    assert len(Probe.of(([*PAIRS, PAIRS[0]], [*LABELS, "yes"]), deduplicate=True)) == 12


def test_a_pair_that_lacks_a_text_is_skipped() -> None:
    pairs = [("first", None), *PAIRS[1:]]
    probe = Probe.of((pairs, LABELS))
    assert probe.skipped == (("row 0", "missing"),)
    columns = {"premise": [a for a, _ in pairs], "hypothesis": [b for _, b in pairs], "label": LABELS}
    assert Probe.of(datasets.Dataset.from_dict(columns)).skipped == (("row 0", "missing"),)


def test_blank_texts_are_counted_and_said_and_missing_ones_are_not_blank() -> None:
    texts = ["", " \n", *(f"text {i}" for i in range(9)), "one more"]
    said = "2 texts are empty or hold only spaces"
    assert said in " ".join(Probe.of((texts, LABELS)).remarks)
    assert said in " ".join(Probe.of(datasets.Dataset.from_dict({"text": texts, "label": LABELS})).remarks)
    assert said in " ".join(Probe.of((list(zip(texts, reversed(["a"] * 12), strict=True)), LABELS)).remarks)
    one_missing = datasets.Dataset.from_dict({"text": [None, *texts[1:]], "label": LABELS})
    assert "1 text is empty" in " ".join(Probe.of(one_missing).remarks)
    assert Probe.of((["a", "b"] * 2, [0, 1] * 2)).remarks == ()


def test_lists_of_three_texts_are_no_pairs() -> None:
    with pytest.raises(DatasetError, match="a list of 3 strings in row 0; expected one text for each row"):
        Probe.of(([("a", "b", "c")] * 4, [0, 1] * 2))
