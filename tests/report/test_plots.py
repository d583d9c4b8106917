"""The figures show the data that they are drawn from: every point, at its place."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.errors import InvalidInputError
from modelselect.leaderboard import Row
from modelselect.report.plots import in_the_plane


def points_of(axes: Any) -> list[tuple[float, float]]:
    return sorted((float(x), float(y)) for part in axes.collections for x, y in part.get_offsets())


def board(seconds: bool = True) -> ms.Leaderboard:
    """Four candidates, three of them fine-tuned; `good` orders them alike, `bad` the other way."""
    accuracies = (0.9, 0.8, 0.7, None)
    rows = tuple(
        Row(
            ms.Candidate("shelf", f"model-{n}", "r1"),
            rank=n + 1,
            score=float(4 - n),
            scores={"good": float(4 - n), "bad$": float(n)},
            verified_accuracy=accuracy,
        )
        for n, accuracy in enumerate(accuracies)
    )
    times = {"good": {"seconds": 0.5}, "bad$": {"seconds": 0.02}} if seconds else {}
    return ms.Leaderboard(rows, ("good", "bad$"), {"dataset": {"name": "pets"}, "estimators": times})


def test_scores_stand_against_the_accuracies_of_fine_tuning() -> None:
    figure = board().plot(kind="scores")
    good, bad = figure.axes
    assert points_of(good) == [(2.0, 70.0), (3.0, 80.0), (4.0, 90.0)]
    assert points_of(bad) == [(0.0, 90.0), (1.0, 80.0), (2.0, 70.0)]
    assert good.get_title() == "good, pets\nweighted Kendall 1.00"
    assert bad.get_title() == "bad\\$, pets\nweighted Kendall -1.00"
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_the_axis_names_the_metric_of_the_task() -> None:
    assert board().plot(kind="scores").get_supylabel() == "accuracy after fine-tuning (%)"
    numbers = replace(board(), provenance={"task": {"metrics": ["r2"], "measures": [["R²", False]]}})
    figure = numbers.plot(kind="scores")
    assert figure.get_supylabel() == "R² after fine-tuning"
    assert points_of(figure.axes[0]) == [(2.0, 0.7), (3.0, 0.8), (4.0, 0.9)]


def test_accuracies_of_the_caller_take_the_place_of_those_of_the_run() -> None:
    given = {"model-0": 50, "shelf:model-3@r1": 60}
    assert points_of(board().plot(kind="scores", accuracies=given).axes[0]) == [(1.0, 60.0), (4.0, 50.0)]
    with pytest.raises(InvalidInputError, match=r"accuracies has 'model-9', .*Did you mean 'model-"):
        board().plot(kind="scores", accuracies={"model-9": 1})
    with pytest.raises(InvalidInputError, match=r"known for 1 of 4 candidates; expected two .*top_k=5"):
        board().plot(kind="scores", accuracies={"model-0": 50})


def test_agreement_stands_against_time() -> None:
    (axes,) = board().plot(kind="time", measure="kendall").axes
    assert points_of(axes) == [(0.02, -1.0), (0.5, 1.0)]
    assert [text.get_text() for text in axes.texts] == ["good", "bad\\$"]
    assert axes.get_ylabel() == "kendall"
    with pytest.raises(InvalidInputError, match=r"measure is 'kendal'; .*Did you mean 'kendall'"):
        board().plot(kind="time", measure="kendal")
    with pytest.raises(InvalidInputError, match=r"times of its estimators; run select\(\) again"):
        board(seconds=False).plot(kind="time")


def clusters() -> ms.Evidence:
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    return ms.Evidence.of(features=random.normal(size=(60, 70)) + 20 * np.eye(70)[labels], labels=labels)


def test_features_in_the_plane_keep_classes_together() -> None:
    evidence = {"shelf:model-1@r1": clusters(), "shelf:model-0@r1": clusters()}
    figure = board().plot(kind="features", evidence=evidence)
    assert [axes.get_title() for axes in figure.axes] == ["model-0", "model-1"]
    (dots,) = figure.axes[0].collections
    places, labels = np.asarray(dots.get_offsets()), np.asarray(dots.get_array()).astype(int)
    assert places.shape == (60, 2)
    assert labels.tolist() == clusters().labels.tolist()  # type: ignore[union-attr]
    distances = np.linalg.norm(places[:, None] - places[None], axis=2) + np.diag(np.full(60, np.inf))
    assert (labels[distances.argmin(axis=1)] == labels).all()
    with pytest.raises(InvalidInputError, match=r"give evidence=ms\.features\("):
        board().plot(kind="features")
    with pytest.raises(InvalidInputError, match=r"evidence is of other; expected the ids .*shelf:model-0@r1"):
        board().plot(kind="features", evidence={"other": clusters()})


def test_a_map_into_the_plane_is_the_same_again_and_says_what_it_needs() -> None:
    rows = clusters().features
    assert rows is not None
    np.testing.assert_array_equal(in_the_plane(rows[:20]), in_the_plane(rows[:20]))
    with pytest.raises(InvalidInputError, match="3 rows cannot be mapped"):
        in_the_plane(rows[:3])
    with pytest.raises(InvalidInputError, match="plane is 'pca'; expected one of tsne, umap"):
        in_the_plane(rows, "pca")
    if importlib.util.find_spec("umap") is None:
        with pytest.raises(InvalidInputError, match="pip install umap-learn"):
            in_the_plane(rows, "umap")


def test_another_kind_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"kind is 'score'; expected .*Did you mean 'scores'"):
        board().plot(kind="score")


def test_a_benchmark_has_a_panel_for_each_estimator_and_dataset() -> None:
    scores = {
        "good": {"pets": {"a": 1.0, "b": 2.0}, "cars": {"a": 3.0, "b": 1.0}},
        "bad": {"pets": {"a": 2.0, "b": 1.0}},
    }
    truth = {"pets": {"a": 60.0, "b": 80.0}, "cars": {"a": 50.0, "b": 40.0}}
    found = ms.Benchmark.of_scores(scores, truth)
    figure = found.plot()
    assert [points_of(axes) for axes in figure.axes] == [
        [(1.0, 60.0), (2.0, 80.0)],
        [(1.0, 40.0), (3.0, 50.0)],
        [(1.0, 80.0), (2.0, 60.0)],
        [],
    ]
    with pytest.raises(InvalidInputError, match="no method has both a time and scores"):
        found.plot("time")
    with pytest.raises(InvalidInputError, match="kind is 'cost'; expected one of scores, time"):
        found.plot("cost")
