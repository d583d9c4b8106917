"""The table shows the answer and the costs first where the terminal is narrow."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

import modelselect as ms
from modelselect.errors import Failure, Stage
from modelselect.leaderboard.leaderboard import Row
from modelselect.utils.text import plain_text


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
    about = {"ranked_by": estimators[:1]}
    board = ms.Leaderboard((replace(row, latency_ms=7.25, throughput=5470.0),), estimators, about)
    table = board.to_table(60)
    assert "5.47k" in str(board)
    shown = [str(column.header) for column in table.columns]
    assert "latency ms" in shown
    assert "estimator 0" in shown  # it was asked for
    assert "estimator 5" not in shown


def test_the_accuracy_after_one_epoch_is_a_column_where_it_was_measured_and_only_there() -> None:
    row = Row(ms.Candidate("shelf", "a"), rank=1, score=1.0, scores={"logme": 0.5})
    assert "brief_accuracy" not in ms.Leaderboard((row,), ("logme",)).columns
    board = ms.Leaderboard((replace(row, brief_accuracy=0.625),), ("logme",))
    columns = list(board.columns)
    assert columns.index("logme") < columns.index("brief_accuracy") < columns.index("verified_accuracy")
    assert "62.5%" in str(board)
    assert board.to_pandas()["brief_accuracy"].tolist() == [0.625]


def wide(estimators: int, verified: int) -> ms.Leaderboard:
    """Five candidates with long Hub names, one of which failed, ranked by this number of estimators."""
    names = tuple(f"method{i}" for i in range(estimators))
    rows = [
        Row(
            ms.Candidate("hub", f"laion/CLIP-ViT-B-16-plus-240-laion400m-finetuned-on-everything-{i}"),
            rank=i + 1,
            score=-0.123456 * i,
            standard_error=0.0123,
            scores=dict.fromkeys(names, 0.5 - i),
            verified_accuracy=0.9 - i / 10 if i < verified else None,
            verified_interval=(0.85 - i / 10, 0.93 - i / 10) if i < verified else None,
            parameters=10**7,
            macs=10**9,
            feature_dim=512,
        )
        for i in range(4)
    ]
    rows.append(Row(ms.Candidate("hub", "me/broken"), failure=Failure("load", "this is a long reason " * 4)))
    return ms.Leaderboard(tuple(rows), names, {"ranked_by": list(names), "dataset": {"classes": list("abcd")}})


@pytest.mark.parametrize("verified", [0, 2, 4])
@pytest.mark.parametrize("estimators", [1, 3, 30])
@pytest.mark.parametrize("width", [60, 80, 100])
def test_what_orders_the_rows_is_visible_at_every_width(width: int, estimators: int, verified: int) -> None:
    board = wide(estimators, verified)
    text = plain_text(board, width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    shown = [str(column.header).split("\n")[0] for column in board.to_table(width).columns]
    assert "candidate" in shown
    assert ("verified" in shown or "verified accuracy" in shown) == (verified > 0)
    assert "score" in shown or verified == 4  # the accuracies order all rows
    if estimators == 1 and width >= 80:
        assert "method0" in shown
    if estimators == 3 and width == 100:
        assert {"method0", "method1", "method2"} <= set(shown)
    if hidden := [name for name in board.columns if name.startswith("method") and name not in shown]:
        assert "hidden (" in text
        assert "--json" in text
        assert hidden
    if verified:
        assert "chance 25%" in text


def test_the_headline_counts_and_a_long_reason_stands_once() -> None:
    board = wide(1, 2)
    again = replace(board.rows[-1], candidate=ms.Candidate("hub", "me/other"))
    limited = Row(ms.Candidate("hub", "me/huge"), failure=Failure(Stage.LIMIT, "too large"))
    board = replace(board, rows=(*board.rows, again, limited))
    text = plain_text(board, 80)
    assert text.startswith("Leaderboard by method0: 4 ranked, 2 of them fine-tuned, 2 failed, 1 left out")
    assert plain_text(board, 120).count("failed (load)") == 3  # two rows, and the line with the reason
    joined = " ".join(text.split())
    assert joined.count(("this is a long reason " * 4).strip()) == 1
    assert "2 of 7 candidates failed (load): broken and other: this is" in joined
    assert board.to_json().count("this is a long reason " * 4) == 2


def test_names_are_short_and_a_note_says_what_they_leave_out() -> None:
    rows = tuple(Row(ms.Candidate("directory", f"/models/{name}"), rank=1) for name in ("a", "b"))
    text = " ".join(str(ms.Leaderboard(rows)).split())
    assert "│ a " in text
    assert "Each name begins with directory:/models/" in text
    mixed = (rows[0], Row(ms.Candidate("timm", "resnet18"), rank=2))
    assert "Names are shortened" in " ".join(str(ms.Leaderboard(mixed)).split())
