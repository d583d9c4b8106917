"""An estimator's view of the history holds only what fits together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import modelselect as ms
from modelselect.history import ACCURACY, HistoryView, Result
from tests.history.conftest import full_history


def test_a_proxy_that_others_give_another_width_is_left_aside(tmp_path: Path) -> None:
    history = full_history(tmp_path / "a.sqlite")
    for dataset in ("data1", "data2"):
        history.record([Result("timm:model0", dataset, "accuracy", 0.5)])
        history.keep_proxy(dataset, "hub:clip", np.ones((3, 2 if dataset == "data1" else 7)))
    assert set(history.view("hub:clip").proxies) == {"data0", "data1"}


def test_ranks_make_datasets_and_metrics_comparable() -> None:
    results = [Result("zoo:a", "x", "logme", 1.5), Result("zoo:b", "x", "logme", 2.5), Result("zoo:c", "x", "logme", 9)]
    results += [Result("zoo:a", "y", ACCURACY, 0.9), Result("zoo:c", "y", ACCURACY, 0.8)]
    view = HistoryView(("zoo:a", "zoo:b", "zoo:c"), ("x", "y"), tuple(results), {}, {}, {}, {})
    np.testing.assert_array_equal(view.performance(), [[0, 1], [0.5, np.nan], [1, 0]])
    np.testing.assert_array_equal(view.performance("logme", "raw"), [[1.5, np.nan], [2.5, np.nan], [9, np.nan]])
    with pytest.raises(ms.errors.InvalidInputError, match="values of different metrics cannot be compared"):
        view.performance(None, "raw")


def test_measured_accuracies_count_where_there_are_enough_and_scores_where_there_are_few() -> None:
    names = [f"zoo:{letter}" for letter in "abcdefgh"]
    scores = [Result(name, "x", "logme", index) for index, name in enumerate(names)]
    few = [Result(name, "x", ACCURACY, 1 - index / 10) for index, name in enumerate(names[:3])]
    many = [Result(name, "x", ACCURACY, 1 - index / 10) for index, name in enumerate(names[:5])]
    for measured, first in ((few, 7), (many, 0)):
        view = HistoryView(tuple(names), ("x",), tuple(scores + measured), {}, {}, {}, {})
        assert np.nanargmax(view.performance()[:, 0]) == first
