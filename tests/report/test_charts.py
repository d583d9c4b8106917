"""The chart of costs shows the costs that are known, and the front of the leaderboard."""

from __future__ import annotations

import pytest

import modelselect as ms
from modelselect.leaderboard.leaderboard import Row
from modelselect.report.charts import cost_chart
from modelselect.report.names import display_names
from tests.report.material import evil_board


def test_a_cost_that_is_not_known_is_no_choice() -> None:
    chart = cost_chart(evil_board())
    assert chart is not None
    known = ["parameters", "macs", "feature_dim", "latency_ms", "memory_bytes", "download_bytes", "seconds"]
    assert {quality: list(costs) for quality, costs in chart[1].items()} == {
        "score": known,
        "accuracy, fine-tuned": known,
    }
    bare = ms.Leaderboard(tuple(Row(ms.Candidate("s", n), rank=1, score=1.0, parameters=7) for n in "ab"), ("x",))
    assert {quality: list(costs) for quality, costs in (cost_chart(bare) or ({}, {}))[1].items()} == {
        "score": ["parameters"]
    }


@pytest.mark.parametrize("cost", ["parameters", "macs", "latency_ms", "memory_bytes"])
@pytest.mark.parametrize("quality", ["score", "verified_accuracy"])
def test_the_charts_front_is_that_of_the_board(cost: str, quality: str) -> None:
    board = evil_board()
    chart = cost_chart(board)
    assert chart is not None
    shown = chart[1]["score" if quality == "score" else "accuracy, fine-tuned"][cost]
    called = dict(zip((row.candidate.id for row in board.rows), display_names(board), strict=True))
    assert shown["names"] == [called[row.candidate.id] for row in board.pareto(cost, quality)]
    labelled = {name for name, label in zip(shown["points"]["name"], shown["points"]["label"], strict=True) if label}
    assert labelled == set(shown["names"])
    assert 2 <= sum(min(shown["points"]["x"]) <= tick <= max(shown["points"]["x"]) for tick in shown["ticks"]) + 1 <= 9
