"""Without a budget, rounds find the first candidate with fewer forward passes, and lose nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from modelselect.errors import InvalidInputError
from tests.selection.budgeted import CLEAR, CLOSE, run, tune

pytestmark = pytest.mark.usefixtures("cache")


def test_the_first_is_found_with_half_of_the_passes(passed: Counter[str], tmp_path: Path) -> None:
    board = run(CLEAR, rounds=True)
    assert sum(passed.values()) == 60 * 8 + 60 * 4 + 120 * 3 + 240 * 3
    assert board.best.candidate == run(CLEAR, cache_dir=tmp_path).best.candidate
    assert board.provenance["budget"] is None
    rounds = board.provenance["rounds"]
    assert [(each["rows"], each["candidates"]) for each in rounds] == [(60, 8), (120, 4), (240, 3), (480, 3)]
    assert sum(each["passes"] for each in rounds) == sum(row.probe_rows or 0 for row in board.rows)


def test_each_row_says_how_many_rows_it_was_shown_and_why_no_more(passed: Counter[str]) -> None:
    board = run(CLOSE, rounds=True)
    assert {row.candidate.id: row.probe_rows for row in board.rows} == dict(passed)
    assert [row.probe_rows for row in board.rows] == [480, 480, 480, 60, 60, 60]
    assert board.best.status == "ok"
    assert board.rows[3].status == "stopped after 60 rows: place 4 of 6"
    assert board.rows[-1].status == "stopped after 60 rows: place 6 of 6"
    assert [row.rank for row in board.ranked] == [1, 2, 3, 4, 5, 6]
    assert "stopped after" in str(board)


def test_a_later_run_goes_on_from_what_rounds_have_computed(passed: Counter[str]) -> None:
    board = run(CLOSE, rounds=True)
    assert run(CLOSE, rounds=True) == board
    assert sum(passed.values()) == sum(row.probe_rows or 0 for row in board.rows)  # the second run passed none
    shown_all = {row.candidate.id for row in board.rows if row.probe_rows == 480}
    passed.clear()
    run(CLOSE)
    assert set(passed) == {row.candidate.id for row in board.rows} - shown_all


def test_as_many_are_shown_all_rows_as_will_be_fine_tuned_and_two_more() -> None:
    board = tune([0.1, 0.5, 0.9, 1.5, 2.0, 0.3, 0.2, 0.4], rounds=True, top_k=2)
    assert sum(row.verified_accuracy is not None for row in board.rows) == 2
    most = max(row.probe_rows or 0 for row in board.rows)
    assert sum(row.probe_rows == most for row in board.rows) == 4


def test_all_are_shown_all_rows_where_all_will_be_fine_tuned() -> None:
    board = tune([0.1, 0.5], rounds=True, top_k=2)
    assert {row.status for row in board.rows} == {"ok"}
    assert run(CLEAR[:1], rounds=True).best.probe_rows == 480


def test_resamples_are_those_that_were_asked_for() -> None:
    assert run(CLEAR, rounds=True).best.standard_error is None
    assert run(CLEAR, rounds=True, resamples=5).best.standard_error is not None


def test_a_budget_has_rounds_of_its_own() -> None:
    with pytest.raises(InvalidInputError, match="a budget has rounds of its own"):
        run(CLEAR, rounds=True, budget=1000)
