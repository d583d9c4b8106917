"""The default recipe of fine-tuning ends within `max_time`; a recipe that the caller gives is trained as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import modelselect as ms
from modelselect.evaluation.fine_tuning import TimingTask
from modelselect.ranking.notes import remarks_of
from modelselect.report.answer import answer_text
from modelselect.selection import bounded
from modelselect.verification import FineTuning
from tests.selection.material import WorkersFor, rank

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that training takes for a row: the last of the list. Each measurement takes one away."""
    seconds: list[float] = []
    monkeypatch.setattr(TimingTask, "__call__", lambda self, candidate: seconds.pop())
    monkeypatch.setattr(bounded, "SLOWEST_TRAINING", 1e9)
    return seconds


def recipe_of(board: ms.Leaderboard) -> tuple[str, int]:
    recipe: Any = board.provenance["settings"]["fine_tuning"]
    return recipe["method"], recipe["epochs"]


def test_the_default_recipe_has_as_many_epochs_as_fit_into_max_time(dataset: Path, timed: list[float]) -> None:
    timed += [0.36]  # 48 rows, each 1.25 times as long in a long training: 21.6 s for an epoch
    board = rank(dataset, "embedded:plain*", top_k=1, max_time=100)
    assert recipe_of(board) == ("full", 4)
    (remark,) = board.provenance["fine_tuning"]["remarks"]
    assert remark.startswith(
        "Fine-tuning for 4 of 20 epochs, about 86 s, so that the run ends within max_time (2 min)."
    )
    assert "--epochs 20" in remark
    assert remark in remarks_of(board)
    assert not timed


def test_the_recipe_that_was_trained_is_the_one_in_the_history(
    dataset: Path, timed: list[float], tmp_path: Path
) -> None:
    timed += [0.36]
    rank(dataset, "embedded:plain*", top_k=1, max_time=100, history=tmp_path / "history.sqlite")
    (result,) = [each for each in ms.History(tmp_path / "history.sqlite").results() if each.metric == "accuracy"]
    assert result.settings["fine_tuning"]["epochs"] == 4


def test_the_same_run_keeps_the_recipe_on_a_busier_machine(dataset: Path, timed: list[float]) -> None:
    timed += [0.36]
    first = rank(dataset, "embedded:plain*", top_k=1, max_time=100)
    again = rank(dataset, "embedded:plain*", top_k=1, max_time=100)  # nothing is left to be measured
    assert recipe_of(again) == recipe_of(first)
    assert again.best.verified_accuracy == first.best.verified_accuracy


def test_only_the_head_is_trained_where_few_epochs_do_not_fit(dataset: Path, timed: list[float]) -> None:
    timed += [10.0]
    board = rank(dataset, "embedded:plain*", top_k=1, max_time=100)
    assert recipe_of(board) == ("head", 20)
    assert "Fine-tuning trained the linear head alone." in answer_text(board)
    assert board.provenance["fine_tuning"]["remarks"][0].startswith("Fine-tuning of the linear head alone")


def test_the_epoch_before_verification_is_one_of_the_same_recipe(dataset: Path, timed: list[float]) -> None:
    timed += [0.08, 0.08, 0.08]  # 48 rows: 14.4 s for the first epochs, 4.8 s for each further one
    board = rank(dataset, "embedded:*", top_k=1, tune=3, max_time=50)
    assert recipe_of(board)[0] == "full"
    assert 3 <= recipe_of(board)[1] < 9
    assert len([row for row in board.rows if row.brief_accuracy is not None]) == 3


@pytest.mark.parametrize("given", [{"fine_tuning": FineTuning(epochs=2)}, {"budget": "2000 passes"}], ids=str)
def test_a_recipe_or_a_budget_that_is_given_counts_more(
    dataset: Path, timed: list[float], given: dict[str, Any]
) -> None:
    board = rank(dataset, "embedded:plain*", top_k=1, max_time=1, **given)
    assert board.provenance["fine_tuning"] is None
    assert timed == []


def test_nothing_is_measured_where_the_whole_recipe_fits_anyway(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TimingTask, "__call__", lambda self, candidate: pytest.fail("it is measured"))
    board = rank(dataset, "embedded:plain*", top_k=1, max_time="10h")
    assert recipe_of(board) == ("full", 20)
    assert board.provenance["fine_tuning"] is None


def test_training_is_timed_on_the_candidate_itself(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "SLOWEST_TRAINING", 1e9)
    board = rank(dataset, "embedded:plain*", top_k=1, max_time=0.001, executor=WorkersFor(TimingTask))
    assert recipe_of(board)[0] == "head"
