"""The charts show what the leaderboard holds, with ticks, and with labels that cover nothing."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

import modelselect as ms
from modelselect.leaderboard.leaderboard import Row
from modelselect.leaderboard.map import architecture_map
from modelselect.ranking.blocks import Chart
from modelselect.ranking.cells import headings, text_cells
from modelselect.ranking.row import COSTS
from modelselect.report.answer import answer_text
from modelselect.report.charts import accuracy_list, cost_charts, curves_chart, map_charts
from modelselect.report.costs import COST_LABELS
from modelselect.report.labels import NARROW_WIDTHS, WIDE_WIDTHS, box_of, placed, ticks_that_fit
from modelselect.report.page import html
from modelselect.report.subject import Subject
from tests.report.material import evil_board


def board_of(count: int, seed: int = 0) -> ms.Leaderboard:
    """Candidates of any size and score, as many as asked."""
    rng = np.random.default_rng(seed)
    scores = np.sort(rng.normal(size=count))[::-1]
    sizes = 10 ** rng.uniform(4, 9, count)
    return ms.Leaderboard(
        tuple(
            Row(
                ms.Candidate("zoo", f"a-family.of-models-{i}"),
                rank=i + 1,
                score=float(scores[i]),
                parameters=int(sizes[i]),
                embedding=tuple(rng.normal(size=4)),
            )
            for i in range(count)
        ),
        ("x",),
    )


def test_every_cost_has_a_label() -> None:
    assert tuple(COST_LABELS) == COSTS


def test_a_cost_that_is_not_known_has_no_chart() -> None:
    assert [name for name, _ in cost_charts(evil_board())] == list(COST_LABELS.values())
    bare = ms.Leaderboard(tuple(Row(ms.Candidate("s", n), rank=1, score=1.0, parameters=7) for n in "ab"), ("x",))
    assert [name for name, _ in cost_charts(bare)] == ["parameters"]
    assert cost_charts(ms.Leaderboard(())) == []


@pytest.mark.parametrize(("cost", "label"), [("parameters", "parameters"), ("macs", COST_LABELS["macs"])])
def test_the_charts_front_is_that_of_the_board(cost: str, label: str) -> None:
    for board, quality in ((evil_board(), "verified_accuracy"), (board_of(30), "score")):
        if cost == "macs" and quality == "score":
            continue
        chart = dict(cost_charts(board))[label]
        assert chart.numbers is not None
        front = [cell.text for cell in chart.numbers.columns[0].cells]
        assert front == [row.candidate.name for row in board.pareto(cost, quality)]
        assert {dot.label for dot in chart.dots if dot.tone == "front"} == set(front)


def test_the_quality_is_the_accuracy_once_two_candidates_were_fine_tuned_and_the_winner_is_starred() -> None:
    chart = dict(cost_charts(evil_board()))["parameters"]
    assert chart.y.label == "accuracy, fine-tuned"
    assert len(chart.dots) == 2
    assert [dot.label for dot in chart.dots if dot.star] == ["model-00"]
    assert dict(cost_charts(board_of(5)))["parameters"].y.label == "score"


def test_the_quality_is_called_as_the_metric_of_the_task() -> None:
    board = replace(evil_board(), provenance={"task": {"metrics": ["map"], "measures": [["mAP", True]]}})
    assert dict(cost_charts(board))["parameters"].y.label == "mAP, fine-tuned"


def test_a_measure_that_is_no_share_is_shown_as_a_number_and_may_be_negative() -> None:
    task = {"metrics": ["r2"], "measures": [["R²", False]], "chance": 0.0}
    rows = [
        replace(row, verified_accuracy=value, verified_interval=(value - 0.5, value + 0.3))
        for row, value in zip(evil_board().rows, (0.583, -1.093), strict=False)
    ]
    board = replace(evil_board(), rows=rows, provenance={"task": task})
    for _, chart in cost_charts(board):
        for dot in chart.dots:
            assert all(0 <= place <= 1 for place in (dot.y, dot.low, dot.high) if place is not None)
        assert not [text for _, text in chart.y.ticks if "%" in text]
    found = accuracy_list(board)
    assert found is not None
    assert found.name.startswith("R² on held-out rows")
    assert found.low == -1.0
    assert [line.text for line in found.lines] == ["0.583 (0.083 to 0.883)", "-1.093 (-1.593 to -0.793)"]
    assert found.mark == (0.0, "guessing: 0.00")
    page = html(Subject(board, None))
    assert "verified R²" in page
    assert ">58.3%" not in page
    assert "R² 0.58 (±0.40) on held-out rows" in answer_text(board)[0]
    assert headings(board, ["verified_accuracy"]) == ["verified R² (chance 0.00)"]
    assert text_cells(board)["verified_accuracy"][0] == "0.583 [0.083, 0.883]"


@pytest.mark.parametrize("count", [2, 3, 12, 60])
def test_every_axis_has_ticks_in_order_and_inside(count: int) -> None:
    for seed in range(5):
        for _, chart in cost_charts(board_of(count, seed)):
            for ticks in (ticks_that_fit(chart.x.ticks), ticks_that_fit(chart.x.ticks, narrow=True), chart.y.ticks):
                places = [place for place, _ in ticks]
                assert len(places) >= 2
                assert places == sorted(set(places))
                assert 0 <= places[0] <= places[-1] <= 1


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("count", [2, 12, 60])
def test_no_label_covers_another_or_leaves_the_chart(count: int, narrow: bool) -> None:
    for seed in range(5):
        board = board_of(count, seed)
        plane = architecture_map(board)
        charts = [chart for _, chart in cost_charts(board)]
        charts += [] if plane is None else [chart for _, chart in map_charts(board, plane)]
        for chart in charts:
            labels = placed(chart, narrow)
            assert labels
            assert labels[0].star
            for width in NARROW_WIDTHS if narrow else WIDE_WIDTHS:
                boxes = [box_of(label, width) for label in labels]
                assert all(box[0] > -13 and box[2] < width + 13 for box in boxes)
                for one, other in itertools.combinations(boxes, 2):
                    apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
                    assert apart, (labels, width)


def test_accuracies_are_a_list_with_their_intervals_and_the_mark_of_guessing() -> None:
    found = accuracy_list(evil_board())
    assert found is not None
    assert [(line.name, line.value, line.low, line.high, line.best) for line in found.lines] == [
        ("model-00", 0.9, 0.88, 0.92, True),
        ("model-01", 0.8, 0.75, 0.85, False),
    ]
    assert found.low <= 0.25
    assert found.high >= 0.92
    assert [float(found.place(value)) for value in (found.low, found.high)] == [0, 100]
    assert accuracy_list(board_of(3)) is None


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_an_accuracy_at_an_end_has_a_scale(accuracy: float) -> None:
    row = Row(ms.Candidate("s", "a"), 1, 1.0, verified_accuracy=accuracy)
    found = accuracy_list(ms.Leaderboard((row,)))
    assert found is not None
    assert found.low < found.high
    assert len(found.ticks) > 1


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
        assert isinstance(found, Chart)
        assert found.y.label == shown
        assert [name for name, _ in found.legend] == [f"c{i}" for i, curve in enumerate(curves, 1) if len(curve) > 1]
        assert [text for _, text in found.x.ticks][:2] == ["1", "2"]
