"""The leaderboard records what was done with the budget."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

import modelselect as ms
from tests.selection.budgeted import CLOSE, run

pytestmark = pytest.mark.usefixtures("cache")


def test_the_leaderboard_says_what_was_done_with_the_budget(tmp_path: Path) -> None:
    board = run(CLOSE, budget="10m", confidence=0.99)
    board.save(tmp_path / "board.json")
    assert ms.Leaderboard.load(tmp_path / "board.json") == board
    record = json.loads((tmp_path / "board.json").read_text())["provenance"]["budget"]
    assert record["asked"] == "10m"
    assert {row.probe_rows for row in board.rows} <= {stage["rows"] for stage in record["stages"]}
    assert sum(stage["passes"] for stage in record["stages"]) == record["spent"]["passes"]
    for planned, following in itertools.pairwise(record["planned"]):
        assert following["rows"] == 2 * planned["rows"]
        assert following["candidates"] <= planned["candidates"]
    text = " ".join(str(board).split())
    assert "Budget of 10m: used" in text
    for stage in record["stages"]:
        assert f"score on {stage['rows']} rows: {stage['candidates']} candidates" in text
