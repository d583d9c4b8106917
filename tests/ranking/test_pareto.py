"""The Pareto front holds exactly the candidates that no other candidate dominates."""

from __future__ import annotations

import numpy as np
import pytest

import modelselect as ms
from modelselect.errors import InvalidInputError
from modelselect.leaderboard.leaderboard import Row
from modelselect.ranking.pareto import pareto_front


def test_the_pareto_front_holds_exactly_those_that_nothing_dominates() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        cost, quality = rng.integers(0, 8, 20).tolist(), rng.integers(0, 8, 20).tolist()
        undominated = {
            i
            for i in range(20)
            if not any(
                cost[j] <= cost[i] and quality[j] >= quality[i] and (cost[j], quality[j]) != (cost[i], quality[i])
                for j in range(20)
            )
        }
        assert set(pareto_front(cost, quality)) == undominated


def board_of(points: list[tuple[float | None, float]], cost: str = "latency_ms") -> ms.Leaderboard:
    order = sorted(range(len(points)), key=lambda i: -points[i][1])
    ranks = {i: 1 + sum(points[j][1] > points[i][1] for j in range(len(points))) for i in order}
    rows = [Row(ms.Candidate("shelf", str(i)), ranks[i], points[i][1], **{cost: points[i][0]}) for i in order]  # type: ignore[arg-type]
    return ms.Leaderboard(tuple(rows))


def test_the_front_holds_exactly_those_that_nothing_beats() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        points = [(float(c), float(q)) for c, q in rng.integers(1, 8, (12, 2))]
        undominated = {
            i
            for i, (c, q) in enumerate(points)
            if not any((c2 <= c and q2 >= q) and (c2 < c or q2 > q) for c2, q2 in points)
        }
        for quality in (None, "score"):
            front = board_of(points).pareto("latency_ms", quality)  # type: ignore[arg-type]
            assert {int(row.candidate.name) for row in front} == undominated
            assert [row.latency_ms for row in front] == sorted(row.latency_ms or 0 for row in front)
        assert set(pareto_front(*map(list, zip(*points, strict=True)))) == undominated


def test_a_cost_that_is_not_known_is_left_out_of_the_front() -> None:
    board = board_of([(None, 0.9), (3.0, 0.8), (1.0, 0.5)])
    assert [row.candidate.name for row in board.pareto("latency_ms")] == ["2", "1"]
    with pytest.raises(InvalidInputError, match=r"memory_bytes.*costs=True"):
        board.pareto("memory_bytes")
    with pytest.raises(InvalidInputError, match="expected one of parameters, macs"):
        board.pareto("beauty")
    with pytest.raises(InvalidInputError, match="quality"):
        board.pareto("latency_ms", "beauty")


def test_without_a_quality_the_front_goes_by_the_boards_order() -> None:
    verified = Row(ms.Candidate("shelf", "verified"), 1, 0.2, predicted_rank=2, verified_accuracy=0.9, parameters=10)
    unverified = Row(ms.Candidate("shelf", "unverified"), 2, 0.8, predicted_rank=1, parameters=20)
    small = Row(ms.Candidate("shelf", "small"), 3, 0.1, parameters=5)
    board = ms.Leaderboard((verified, unverified, small))
    assert board.pareto() == (small, verified)
    assert board.pareto(quality="score") == (small, verified, unverified)
    assert board.pareto(quality="verified_accuracy") == (verified,)
