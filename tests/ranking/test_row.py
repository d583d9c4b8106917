"""A row says what became of its candidate."""

from __future__ import annotations

import modelselect as ms


def test_the_status_says_what_failed(board: ms.Leaderboard) -> None:
    assert [row.status for row in board.rows] == ["ok", "leep: no source classes", "failed: no [bold]weights[/bold]"]
