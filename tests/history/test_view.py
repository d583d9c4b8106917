"""An estimator's view of the history holds only what fits together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.history import ACCURACY, History, HistoryView, Result
from modelselect.history.records import recipe_of
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


OURS: dict[str, Any] = {"fine_tuning": {"method": "full", "epochs": 20, "batch_size": 32}}
SHORTER: dict[str, Any] = {"fine_tuning": {"method": "full", "epochs": 2, "batch_size": 32}}
THEIRS: dict[str, Any] = {"fine_tuning": {"recipe": "theirs"}}


def accuracy(candidate: str, dataset: str, value: float, settings: dict[str, Any], **more: Any) -> Result:
    return Result(f"zoo:{candidate}", dataset, ACCURACY, value, {**settings, **more})


def mixed(path: Path) -> History:
    """Two recipes and a published accuracy on two datasets."""
    history = History(path)
    history.record(
        [
            accuracy("a", "x", 0.75, OURS, seed=0), accuracy("a", "x", 0.25, SHORTER, seed=1),
            accuracy("b", "x", 0.7, OURS), accuracy("a", "x", 0.1, THEIRS), accuracy("a", "y", 0.2, THEIRS),
            accuracy("b", "y", 0.3, THEIRS), accuracy("b", "y", 0.4, THEIRS, revision="2"),
            accuracy("a", "y", 0.9, {"fine_tuned": "owner/name"}),
        ]
    )  # fmt: skip
    return history


def test_accuracies_under_one_recipe_are_never_mixed_with_others(tmp_path: Path) -> None:
    view = mixed(tmp_path / "history.sqlite").view()
    ours = recipe_of(OURS)
    assert ours is not None
    assert view.datasets == ("x", "y")
    assert list(view.recipes.items()) == [("theirs", 4), (ours, 3)]
    np.testing.assert_allclose(view.measured(ours), [[0.5, np.nan], [0.7, np.nan]])
    np.testing.assert_allclose(view.measured("theirs"), [[0.1, 0.2], [np.nan, 0.35]])
    assert np.isnan(view.measured("nobody's")).all()
    assert set(view.recipes) == set(view.about({}, {}).recipes)


def test_the_runs_recipe_leads_and_otherwise_the_most_frequent(tmp_path: Path) -> None:
    view = mixed(tmp_path / "history.sqlite").view()
    ours = recipe_of(OURS)
    pool = {"zoo:a": {}, "zoo:new": {}}
    for recipe, leading in ((ours, ours), ("theirs", "theirs"), ("nobody's", "theirs"), (None, "theirs")):
        about = view.about(pool, {}, recipe=recipe)
        assert (about.recipe, about.leading_recipe) == (recipe, leading)
        np.testing.assert_array_equal(about.measured(), about.measured(leading))
        assert about.measured().shape == (3, 2)
        assert np.isnan(about.measured()[about.positions["zoo:new"]]).all()


def test_equally_frequent_recipes_lead_by_name_and_published_results_are_never_measured_ones() -> None:
    results = [accuracy("a", "x", 0.5, {"fine_tuning": {"recipe": name}}) for name in ("second", "first")]
    view = HistoryView(("zoo:a",), ("x",), tuple(results), {}, {}, {}, {})
    assert view.leading_recipe == "first"
    published = HistoryView(("zoo:a",), ("x",), (accuracy("a", "x", 0.5, {}),), {}, {}, {}, {}, recipe="first")
    assert (published.recipes, published.leading_recipe) == ({}, None)
    assert np.isnan(published.measured()).all()


def test_the_digest_holds_the_recipe_where_the_recipe_matters(tmp_path: Path) -> None:
    view = mixed(tmp_path / "history.sqlite").view()
    ours, plain = view.about({}, {}, recipe=recipe_of(OURS)), view.about({}, {})
    assert len({ours.digest, plain.digest, view.about({}, {}, recipe="theirs").digest}) == 3
    assert view.about({}, {}, recipe="nobody's").digest == plain.digest


def test_views_of_two_tasks_have_two_digests_and_classification_that_of_the_history(tmp_path: Path) -> None:
    history = mixed(tmp_path / "history.sqlite")
    assert history.view().digest == history.digest
    digests = {history.view(task=task).about({}, {}).digest for task in ("classification", "text-pair", "regression")}
    assert len(digests) == 3


def test_pieces_of_evidence_are_no_estimators(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    for index, name in enumerate(("zoo:a", "zoo:b", "zoo:c")):
        history.record([Result(name, "x", "logme", index), Result(name, "x", "evidence:probe", -index)])
        history.record([Result(name, "only pieces", "evidence:probe", index)])
    view = history.view()
    assert view.datasets == ("x",)
    np.testing.assert_array_equal(view.performance()[:, 0], [0, 0.5, 1])
    np.testing.assert_array_equal(view.performance("evidence:probe", "raw")[:, 0], [0, -1, -2])
