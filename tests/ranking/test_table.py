"""The table shows the answer and the costs first where the terminal is narrow."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

import modelselect as ms
from modelselect.leaderboard.leaderboard import Row


def test_a_narrow_terminal_shows_the_answer_of_candidates_in_long_folders() -> None:
    rows = tuple(
        Row(
            ms.Candidate("directory", f"/home/somebody/projects/pets/models/checkpoints/network_{number}"),
            rank=number,
            score=1 / number,
            verified_accuracy=0.5 / number,
            verified_interval=(0.4 / number, 0.6 / number),
        )
        for number in (1, 2)
    )
    console = Console(file=io.StringIO(), width=80)
    console.print(ms.Leaderboard(rows, (), {}))
    text = console.file.getvalue()
    assert all(words in text for words in ("rank", "0.5", "50.0%", "60.0%]", "25.0%", "network_2"))
    assert max(map(len, text.splitlines())) <= 80


def test_costs_that_were_asked_for_are_shown_before_estimators_where_width_is_short() -> None:
    estimators = tuple(f"estimator_{number}" for number in range(6))
    row = Row(ms.Candidate("shelf", "a"), rank=1, score=1.0, scores=dict.fromkeys(estimators, 0.5))
    board = ms.Leaderboard((replace(row, latency_ms=7.25, throughput=5470.0),), estimators, {})
    table = board.to_table(60)
    assert "5.47k" in str(board)
    shown = [str(column.header) for column in table.columns]
    assert "latency ms" in shown
    assert "estimator 5" not in shown


def test_the_accuracy_after_one_epoch_is_a_column_where_it_was_measured_and_only_there() -> None:
    row = Row(ms.Candidate("shelf", "a"), rank=1, score=1.0, scores={"logme": 0.5})
    assert "brief_accuracy" not in ms.Leaderboard((row,), ("logme",)).columns
    board = ms.Leaderboard((replace(row, brief_accuracy=0.625),), ("logme",))
    columns = list(board.columns)
    assert columns.index("logme") < columns.index("brief_accuracy") < columns.index("verified_accuracy")
    assert "62.5%" in str(board)
    assert board.to_pandas()["brief_accuracy"].tolist() == [0.625]
