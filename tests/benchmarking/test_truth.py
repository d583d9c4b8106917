"""Truth and scores are read as they are, and nothing in them is guessed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import modelselect as ms
from modelselect.benchmarking.benchmark import Benchmark
from modelselect.benchmarking.truth import match, names_of, read_truth, write_truth
from modelselect.candidates.candidate import Candidate
from modelselect.errors import InvalidInputError
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
    found, notes = read_truth(tmp_path / "truth.csv")
    assert found == {"pets": {"a": 0.9, "b": 0.8}, "food": {"b": 0.7}}
    assert notes == []


def test_several_results_come_to_their_mean_and_the_table_says_so() -> None:
    frame = pd.DataFrame({"dataset": ["d"] * 3, "model": ["a", "a", "b"], "accuracy": [80, 90, 70]})
    found, notes = read_truth(frame)
    assert found == {"d": {"a": pytest.approx(0.85), "b": 0.7}}
    assert "1 accuracies are means" in notes[0]


def test_a_history_is_a_truth(tmp_path: Path) -> None:
    history = ms.History(tmp_path / "history.sqlite")
    history.describe_dataset("f1", {"name": "pets"})
    history.record([Result("timm:a", "f1", ACCURACY, 0.9), Result("timm:a", "f1", "logme", 3.0)])
    assert read_truth(history)[0] == {"pets": {"timm:a": 0.9}}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("dataset,model,accuracy\nd,a,high\n", r"line 2: accuracy is 'high'"),
        ("dataset,model,accuracy\nd,a,90\nd,b,120\n", "b on d is 120"),
        ("dataset,model,accuracy\nd,a,0.9\nd,b,-1\n", "b on d is -1"),
        ("a,b\n1,2\n", "has the columns a, b; expected dataset, model and accuracy"),
        ("dataset,model,accuracy\n", "holds no accuracy"),
        ("", "cannot be read as a CSV file"),
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


def test_models_are_known_by_id_by_name_and_by_the_end_of_a_path() -> None:
    candidates = [
        Candidate("timm", "resnet18", "r1"),
        Candidate("hub", "org/resnet18"),
        Candidate("directory", "models/vgg"),
        Candidate("directory", "models/net"),
    ]
    truth = {"d": {"resnet18": 0.1, "hub:org/resnet18": 0.2, "vgg": 0.3, "directory:models/net": 0.4, "other": 0.5}}
    found, called = match(truth, ["d"], candidates)
    assert list(found["d"].values()) == [0.1, 0.2, 0.3, 0.4]
    assert list(found["d"]) == [c.id for c in candidates]
    assert names_of(candidates, called)["directory:models/vgg"] == "vgg"


@pytest.mark.parametrize(
    ("truth", "complaint"),
    [
        ({"pet": {"a": 0.1, "b": 0.2}}, "no dataset 'pets'.*Did you mean 'pet'"),
        ({"pets": {"a": 0.1, "x": 0.2}}, "1 of the truth's 2 models on pets .* are among the 3 candidates"),
        ({"pets": {"a": 0.1, "same": 0.2}}, "model 'same' matches one:same, two:same"),
        ({"pets": {"a": 0.1, "timm:a": 0.2}}, "two accuracies of timm:a"),
    ],
)
def test_what_does_not_match_is_an_error_that_names_it(truth: dict[str, Any], complaint: str) -> None:
    candidates = [Candidate("timm", "a"), Candidate("one", "same"), Candidate("two", "same")]
    with pytest.raises(InvalidInputError, match=complaint):
        match(truth, ["pets"], candidates)


def test_saved_truth_is_read_again_as_it_was() -> None:
    truth = {"d": {"a": 0.123456, "b,c": 0.9}}
    assert read_truth(pd.read_csv(io.StringIO(write_truth(truth))))[0] == truth
