"""One epoch of fine-tuning for the best candidates, between scoring and verification."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import modelselect as ms
from modelselect.errors import CandidateError, InvalidInputError
from modelselect.evaluation import fine_tuning
from modelselect.verification import FineTuning, training
from tests.selection.budgeted import CLEAR, tune
from tests.selection.material import SOME, WorkersFor, rank

pytestmark = pytest.mark.usefixtures("cache")

SHORT = FineTuning(epochs=3, batch_size=16)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One element for each step of every training."""
    taken: list[int] = []
    plain = training._set_rates

    def counting(optimizer: Any, rates: list[float]) -> None:
        taken.append(1)
        plain(optimizer, rates)

    monkeypatch.setattr(training, "_set_rates", counting)
    return taken


def without_tuning(board: ms.Leaderboard) -> list[Any]:
    """The rows without what only a run with the epoch knows, and what it then expects."""
    own: dict[str, Any] = {"brief_accuracy": None, "learning_curve": (), "expectation": None, "probability_best": None}
    return [
        replace(row, **own, predicted_rank=None, rank=None if row.verified_accuracy is None else row.rank)
        for row in board.rows
        if row.verified_accuracy is not None
    ]


def test_the_first_candidates_get_an_accuracy_which_is_evidence(dataset: Path) -> None:
    plain, board = rank(dataset, SOME, tune=0, top_k=1, verify="head"), rank(dataset, SOME, tune=2, fine_tuning=SHORT)
    first = {row.candidate.id for row in plain.rows if (row.predicted_rank or 9) <= 2}
    tuned = [row for row in board.rows if row.brief_accuracy is not None]
    assert {row.candidate.id for row in tuned} == first
    better, worse = sorted(tuned, key=lambda row: -(row.brief_accuracy or 0.0))
    assert better.expectation is not None
    assert worse.expectation is not None
    if better.brief_accuracy != worse.brief_accuracy:
        brief = [row.expectation.contributions["brief fine-tuning"] for row in (better, worse)]
        assert brief[0] >= brief[1]  # equal where the difference is no more than chance
    means = [row.expectation.mean for row in board.ranked if row.expectation is not None]
    assert means == sorted(means, reverse=True)
    for row in tuned:
        assert 0 <= row.brief_accuracy <= 1  # type: ignore[operator]
        ((epoch, loss, accuracy),) = row.learning_curve
        assert (epoch, accuracy) == (1, row.brief_accuracy)
        assert loss > 0
    assert all(row.verified_accuracy is None for row in board.rows)
    assert "brief accuracy" in " ".join(str(board).split())
    assert board.provenance["settings"]["tune"] == 2
    assert board.provenance["settings"]["fine_tuning"]["epochs"] == 3


def test_verification_finds_what_it_finds_without_the_epoch_and_repeats_no_step(
    dataset: Path, tmp_path: Path, steps: list[int]
) -> None:
    plain = rank(dataset, SOME, top_k=2, fine_tuning=SHORT, cache_dir=tmp_path / "plain")
    whole = len(steps)
    steps.clear()
    board = rank(dataset, SOME, tune=2, top_k=2, fine_tuning=SHORT, cache_dir=tmp_path / "tuned")
    assert len(steps) == whole
    found, expected = without_tuning(board), without_tuning(plain)
    assert [replace(row, fine_tuned_in=None) for row in found] == [replace(row, fine_tuned_in=None) for row in expected]
    assert [len(row.learning_curve) for row in board.rows[:2]] == [3, 3]
    for row in board.rows[:2]:
        assert row.learning_curve[0][2] == row.brief_accuracy


def test_a_second_run_trains_nothing_and_a_later_verification_continues(dataset: Path, steps: list[int]) -> None:
    first = rank(dataset, SOME, tune=2, fine_tuning=SHORT)
    (tuned,) = {len(steps)}
    assert rank(dataset, SOME, tune=2, fine_tuning=SHORT) == first
    assert len(steps) == tuned
    verified = rank(dataset, SOME, tune=2, top_k=2, fine_tuning=SHORT)
    assert len(steps) == 3 * tuned  # three epochs for two candidates, one of which each had
    assert rank(dataset, SOME, tune=2, top_k=2, fine_tuning=SHORT) == verified
    assert len(steps) == 3 * tuned


def test_a_killed_run_continues_with_the_candidate_that_it_had_begun(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, steps: list[int]
) -> None:
    plain = fine_tuning.tune_briefly
    begun: list[str] = []

    def killed_at_the_second(backbone: Any, *given: Any, **more: Any) -> Any:
        begun.append(backbone.candidate.name)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return plain(backbone, *given, **more)

    monkeypatch.setattr(fine_tuning, "tune_briefly", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        rank(dataset, SOME, tune=3, fine_tuning=SHORT)
    one = len(steps)
    board = rank(dataset, SOME, tune=3, fine_tuning=SHORT)
    assert len(begun) == 4
    assert begun[1] == begun[2]
    assert len(steps) == 3 * one
    assert sum(row.brief_accuracy is not None for row in board.rows) == 3


def test_checkpoints_of_candidates_that_were_not_verified_are_removed(dataset: Path, cache: Path) -> None:
    rank(dataset, SOME, tune=3, fine_tuning=SHORT)
    assert len(list((cache / "scratch").iterdir())) == 3
    rank(dataset, SOME, tune=3, top_k=1, fine_tuning=SHORT)
    assert list((cache / "scratch").iterdir()) == []


def test_a_failure_costs_the_candidate_this_accuracy_only(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fine_tuning.tune_briefly

    def failing(backbone: Any, *given: Any, **more: Any) -> Any:
        if backbone.candidate.name == "vit.letters":
            raise CandidateError("too hot")
        return plain(backbone, *given, **more)

    monkeypatch.setattr(fine_tuning, "tune_briefly", failing)
    board = rank(dataset, "embedded:*.letters", tune=3, fine_tuning=SHORT)
    row = next(row for row in board.rows if row.candidate.name == "vit.letters")
    assert row.rank is not None
    assert row.brief_accuracy is None
    assert (row.failures["tune"].stage, row.failures["tune"].reason) == ("tune", "too hot")
    assert sum(other.brief_accuracy is not None for other in board.rows) == 2


@pytest.mark.slow
def test_processes_find_the_same(dataset: Path, tmp_path: Path) -> None:
    boards = [
        rank(dataset, SOME[:1], tune=2, fine_tuning=SHORT, executor=executor, cache_dir=tmp_path / str(number))
        for number, executor in enumerate(("local", WorkersFor(fine_tuning.TuningTask)))
    ]
    assert boards[0] == boards[1]


def test_a_probe_without_held_out_rows_is_refused(dataset: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"tune=2 asks for fine-tuning, but the probe has no held-out rows"):
        rank(ms.Probe.of(dataset), SOME, tune=2)


# --- under a budget --------------------------------------------------------------------------------------------------

OPEN = [1.0, 1.0, 1.0, 0.9]
"""Gaps between the classes: nothing decides the first place."""

FULL = 80 + 8 * 3 * 320
"""Passes of one whole fine-tuning: 80 rows are held out, and eight epochs train on 320."""

EPOCH = 3 * 320
"""Passes of one epoch."""


def stages(board: ms.Leaderboard) -> dict[str, Any]:
    return {stage["stage"]: stage for stage in board.provenance["budget"]["stages"]}


def test_a_budget_that_pays_for_verification_and_more_gives_one_epoch_to_more_candidates_by_itself() -> None:
    board = tune(OPEN, budget=40_000, top_k=2, confidence=0.999)
    record = board.provenance["budget"]
    stage = stages(board)["tune"]
    assert [each["stage"] for each in record["stages"]][-2:] == ["tune", "verify"]
    assert (stage["candidates"], stage["epochs"], stage["decision"]) == (4, 1, "the first 4 candidates, one epoch each")
    assert stage["passes"] == 4 * EPOCH
    assert all(row.brief_accuracy is not None for row in board.rows)
    assert stages(board)["verify"]["passes"] == 2 * (FULL - EPOCH)  # the epoch is not trained again
    assert sum(each["passes"] for each in record["stages"]) == record["spent"]["passes"] <= 40_000


def test_a_budget_without_enough_for_more_candidates_than_are_verified_gives_no_epoch() -> None:
    board = tune(OPEN, budget=17_000, top_k=3, confidence=0.999)
    assert "tune" not in stages(board)
    assert all(row.brief_accuracy is None for row in board.rows)


def test_a_decided_first_place_needs_no_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelselect.evaluation.outlook.SCORE_RELIABILITY", 0.97)  # else a score alone decides nothing
    assert "tune" not in stages(tune(CLEAR, budget="10m", top_k=2, confidence=0.6))
    asked = stages(tune(CLEAR, budget="10m", top_k=2, tune=3, confidence=0.6))["tune"]
    assert asked["candidates"] == 0
    assert asked["decision"].startswith("not needed: ")


def test_an_epoch_that_is_asked_for_leaves_what_verification_takes() -> None:
    for budget in (6_000, 12_000, 24_000):
        board = tune(OPEN, budget=budget, top_k=1, tune=3, confidence=0.999)
        assert board.provenance["budget"]["spent"]["passes"] <= budget
        assert stages(board)["verify"]["candidates"] == 1
    assert stages(board)["tune"]["candidates"] == 3


def test_without_verification_the_budget_goes_to_the_epochs() -> None:
    board = tune(OPEN, budget=5_000, tune=4, confidence=0.999)
    left = 5_000 - sum(each["passes"] for name, each in stages(board).items() if name == "score")
    assert "verify" not in stages(board)
    assert board.provenance["budget"]["spent"]["passes"] <= 5_000
    assert 0 < stages(board)["tune"]["candidates"] <= left // EPOCH
