"""The account of the budget and the estimators' ranks show what the leaderboard holds."""

from __future__ import annotations

import pytest

import modelselect as ms
from modelselect.leaderboard.leaderboard import Row
from modelselect.ranking.expectation import Expectation
from modelselect.report.account import budget_table, command_of, contribution_table, estimator_rank_table
from tests.report.material import EVIL, evil_board


def test_estimators_ranks_are_those_of_their_scores() -> None:
    from scipy.stats import rankdata

    board = evil_board()
    ranks = estimator_rank_table(board)
    knn = [-row.scores["knn"] for row in board.rows if row.scores]
    assert ranks["knn"] == [*rankdata(knn, "min").astype(int).tolist(), None, None]


def test_the_pieces_of_evidence_are_those_of_the_rows_and_the_one_that_moves_most_comes_first() -> None:
    board = evil_board()
    table = contribution_table(board)
    assert list(table) == ["history", f"{EVIL} probe", "size"]
    assert table["history"][:2] == [3.0, 0.625]
    assert table["history"][10:] == [None, None, None]  # nothing is known of this one, and two have no rank
    for i, row in enumerate(board.ranked):
        assert row.expectation is not None
        assert sum(column[i] or 0.0 for column in table.values()) == pytest.approx(row.expectation.mean)


def test_one_piece_of_evidence_explains_nothing() -> None:
    row = Row(ms.Candidate("s", "a"), 1, 1.0, expectation=Expectation(1.0, 0.5, (1, 1), {"score": 1.0}))
    assert contribution_table(ms.Leaderboard((row,))) == {}


def test_the_account_of_the_budget_is_told_whatever_it_holds() -> None:
    whole, tables = budget_table(evil_board())
    columns, rows = tables["stages"]
    assert list(tables) == ["stages", "planned"]
    assert whole == [("asked", f"{EVIL} 20m"), ("spent › seconds", "20 min"), ("spent › passes", "12,345")]
    assert columns == ["stage", "rows", "candidates", "seconds", "decision"]
    assert rows == [
        ["score", "250", "11", "30 s", f"{EVIL} still open"],
        [f"{EVIL} verify", "", "2", "20 min", "decided"],
    ]
    for account in (None, "20m", {}, {"stages": "none"}, {"stages": [3, {"a": None}]}):
        assert len(budget_table(ms.Leaderboard((), provenance={"budget": account}))) == 2


def test_only_a_command_of_modelselect_is_offered_to_run_again() -> None:
    def offered(*words: object) -> str | None:
        return command_of(ms.Leaderboard((), provenance={"command": list(words)}))

    assert offered("modelselect", "select", "my photos", "-c", "a;b") == "modelselect select 'my photos' -c 'a;b'"
    assert offered("rm", "-rf", "select") is None
    assert offered("modelselect", "store", "--evict", "0") is None
    assert offered("modelselect", "select", 3) is None
    assert offered() is None
