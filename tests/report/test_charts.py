"""The chart of costs shows the costs that are known, and the front of the leaderboard."""

from __future__ import annotations

import pytest

import modelselect as ms
from modelselect.leaderboard.leaderboard import Row
from modelselect.report.charts import cost_chart, curves_chart
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


def test_learning_curves_show_the_accuracy_where_every_epoch_has_one_and_the_loss_otherwise() -> None:
    def board(*curves: tuple[tuple[int, float, float | None], ...]) -> ms.Leaderboard:
        rows = (
            Row(ms.Candidate("s", f"c{i}"), rank=i, score=1.0, learning_curve=curve)
            for i, curve in enumerate(curves, 1)
        )
        return ms.Leaderboard(tuple(rows))

    brief = ((1, 2.0, 0.3),)
    loss = ((1, 2.0, 0.3), (2, 1.0, None))
    accuracy = ((1, 2.0, 0.3), (2, 1.0, 0.6))
    assert curves_chart(board(brief, ())) is None
    for curves, shown in (
        ((brief, loss, accuracy), "training loss"),
        ((accuracy, brief), "accuracy on validation rows"),
    ):
        found = curves_chart(board(*curves))
        assert found is not None
        _, legend, measure = found
        assert measure == shown
        assert [name for name, _ in legend] == [f"c{i}" for i, curve in enumerate(curves, 1) if len(curve) > 1]
