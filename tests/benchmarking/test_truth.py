"""Truth and scores are read as they are, and nothing in them is guessed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import modelselect as ms
from modelselect.benchmarking.benchmark import Benchmark
from modelselect.benchmarking.truth import Truth, read_models, read_scores, read_truth, write_truth
from modelselect.errors import InvalidInputError, UnknownNameError
from modelselect.history import ACCURACY, Result


@pytest.mark.parametrize(
    "text",
    [
        "dataset,model,accuracy\npets,a,90\npets,b,80\nfood,a,\nfood,b,70\n",
        "candidate,metric,dataset,value\na,accuracy,pets,0.9\nb,accuracy,pets,0.8\nb,accuracy,food,0.7\nb,logme,food,2\n",
        "model,pets,food\na,90,-\nb,80,70\n",
    ],
)
def test_long_and_wide_tables_are_read_alike_and_gaps_stay_gaps(tmp_path: Path, text: str) -> None:
    (tmp_path / "truth.csv").write_text("\ufeff" + text)
    assert read_truth(tmp_path / "truth.csv") == Truth({"pets": {"a": 0.9, "b": 0.8}, "food": {"b": 0.7}})


def test_several_results_come_to_their_mean_and_the_table_says_so() -> None:
    frame = pd.DataFrame({"dataset": ["d"] * 3, "model": ["a", "a", "b"], "accuracy": [80, 90, 70]})
    for given in (frame, {"d": {"a": [80, 90], "b": 70}}, {"d": {"a": ["80", "90"], "b": "70"}}):
        found = read_truth(given)
        assert found.accuracies == {"d": {"a": pytest.approx(0.85), "b": 0.7}}
        assert found.runs == {"d": {"a": (0.8, 0.9)}}
        assert "1 accuracy is a mean of" in found.notes[0]


def test_numbers_of_test_rows_are_read_and_written(tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("dataset,model,accuracy,rows\nd,a,90,149\nd,b,80,\n")
    found = read_truth(tmp_path / "truth.csv")
    assert found.rows == {"d": {"a": 149}}
    assert read_truth(pd.read_csv(io.StringIO(write_truth(found.accuracies, found.rows)))) == found
    (tmp_path / "truth.csv").write_text("dataset,model,accuracy,rows\nd,a,90,1.5\n")
    with pytest.raises(InvalidInputError, match=r"line 2: rows is '1\.5'; expected the number of rows"):
        read_truth(tmp_path / "truth.csv")


def test_facts_about_models_are_read_from_a_table_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "models.csv").write_text("model,parameters,kind\na,11.5,ResNet\nb,,\n")
    assert read_models(tmp_path / "models.csv", {"family": "kind", "accuracy": "top1"}) == (
        {"a": 11.5},
        {"a": "ResNet"},
    )
    with pytest.raises(InvalidInputError, match="expected model, and parameters or family"):
        read_models(pd.DataFrame({"model": ["a"], "size": [1]}))


def test_a_history_is_a_truth(tmp_path: Path) -> None:
    history = ms.History(tmp_path / "history.sqlite")
    history.describe_dataset("f1", {"name": "pets"})
    history.record([Result("timm:a", "f1", ACCURACY, 0.9), Result("timm:a", "f1", "logme", 3.0)])
    assert read_truth(history).accuracies == {"pets": {"timm:a": 0.9}}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("dataset,model,accuracy\nd,a,high\n", r"line 2: accuracy is 'high'"),
        ("dataset,model,accuracy\nd,a,90\nd,b,120\n", "b on d is 120"),
        ("dataset,model,accuracy\nd,a,0.9\nd,b,-1\n", "b on d is -1"),
        ("a,b\n1,2\n", "has the columns a, b; expected dataset, model and accuracy"),
        ("dataset,model,accuracy\n", "holds no accuracy"),
        ("", "cannot be read as a CSV file"),
        ("dataset,model,accuracy\nd,a,50,60,70\nd,b,60\n", "rows with more cells than its first line"),
        ("dataset,model,accuracy\nd,,50\nd,b,60\n", "line 2: model is empty"),
        ("model,d\na,50\n,60\n", "line 3: model is empty"),
    ],
)
def test_a_truth_that_cannot_be_says_what_is_wrong(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "truth.csv").write_text(text)
    with pytest.raises(InvalidInputError, match=complaint):
        read_truth(tmp_path / "truth.csv")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_truth(tmp_path / "absent.csv")


@pytest.mark.parametrize("score", ["high", float("inf")])
def test_a_score_that_is_no_finite_number_says_where_it_stands(score: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"scores\['mine'\]\['d'\]\['a'\] is .*; expected a finite number"):
        Benchmark.of_scores({"mine": {"d": {"a": score, "b": 1.0}}}, {"d": {"a": 0.1, "b": 0.2}})


def test_saved_truth_is_read_again_as_it_was() -> None:
    truth = {"d": {"a": 0.123456, "b,c": 0.9}}
    assert read_truth(pd.read_csv(io.StringIO(write_truth(truth)))).accuracies == truth


def test_published_accuracies_are_known_by_name() -> None:
    truth = read_truth("truth:cnns-11x11")
    assert truth.accuracies["cifar10"]["torchvision:resnet152.IMAGENET1K_V1"] > 0.9
    assert len(truth.accuracies) == 11
    assert "TencentARC/SFDA" in truth.notes[-2]
    with pytest.raises(UnknownNameError, match="cnns-11x11"):
        read_truth("truth:cnns-11x12")


def test_a_frame_whose_cells_would_be_lost_is_refused() -> None:
    twice = pd.DataFrame([["a", 50, 60], ["b", 10, 70]], columns=["model", "d", "d"])
    with pytest.raises(InvalidInputError, match="several columns named d"):
        read_truth(twice)
    with pytest.raises(InvalidInputError, match="model is empty"):
        read_truth(pd.DataFrame({"model": [None, "b"], "d": [50, 60]}))
    levels = pd.DataFrame({("model", ""): ["a", "b"], ("d", "x"): [50, 60]})
    with pytest.raises(InvalidInputError, match="expected dataset, model and accuracy"):
        read_truth(levels)


def test_what_else_is_wrong_with_tables_is_said() -> None:
    with pytest.raises(InvalidInputError, match="columns names modell; expected only model"):
        read_truth(pd.DataFrame({"name": ["a", "b"], "d": [50, 60]}), columns={"modell": "name"})
    with pytest.raises(InvalidInputError, match="scores is a dict"):
        read_scores({"logme": 1})
    with pytest.raises(InvalidInputError, match="parameters is -5"):
        read_models({"a": {"parameters": -5}})


@pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, "", " "], ids=repr)
def test_a_cell_without_a_value_is_one_in_every_table(missing: Any) -> None:
    truth = pd.DataFrame({"dataset": ["d", "d"], "model": ["a", "b"], "accuracy": [50, missing]}, dtype=object)
    assert read_truth(truth).accuracies == {"d": {"a": 0.5}}
    scores = pd.DataFrame({"dataset": "d", "model": ["a", "b"], "logme": pd.Series([1.0, missing], dtype=object)})
    assert read_scores(scores) == {"logme": {"d": {"a": 1.0}}}
    assert read_models({"a": {"parameters": 5, "family": "x"}, "b": {"parameters": missing, "family": missing}}) == (
        {"a": 5.0},
        {"a": "x"},
    )
    nameless = pd.Series(["a", missing], dtype=object)
    long = {"dataset": "d", "model": nameless, "estimator": "logme", "score": 1.0}
    for read, frame in (
        (read_truth, {"model": nameless, "d": 50}),
        (read_scores, {"dataset": "d", "model": nameless, "logme": 1.0}),
        (read_scores, long),
        (read_models, {"model": nameless, "parameters": 5}),
    ):
        with pytest.raises(InvalidInputError, match="line 3: model is empty; expected a name"):
            read(pd.DataFrame(frame))
    with pytest.raises(InvalidInputError, match="line 3: estimator is empty; expected a name"):
        read_scores(pd.DataFrame({"dataset": "d", "model": "a", "estimator": nameless, "score": 1.0}))
