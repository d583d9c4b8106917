"""The leaderboard survives a round trip through its file, and shows what comes from outside as text."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import modelselect as ms


def test_what_was_saved_is_loaded_equal(board: ms.Leaderboard, tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    board.save(path)
    again = ms.Leaderboard.load(path)
    assert again == board
    assert again.rows[0].seconds == 1.5
    assert again.provenance == {"seed": 0, "versions": {"numpy": np.__version__}, "loss": None}
    assert [p.name for p in tmp_path.iterdir()] == ["board.json"]
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == path.read_text()


def test_text_from_outside_is_shown_and_not_obeyed(board: ms.Leaderboard) -> None:
    html = board._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    text = str(board)
    assert "script>" in text
    assert "[bold]weights[/bold]" in text


@pytest.mark.parametrize("failing", ["to_json_pieces", "fsync"])
def test_a_leaderboard_that_cannot_be_written_leaves_nothing_behind(
    board: ms.Leaderboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device") if failing == "fsync" else ValueError("no JSON")

    board.save(tmp_path / "board.json")
    before = (tmp_path / "board.json").read_bytes()
    monkeypatch.setattr(*((os, "fsync") if failing == "fsync" else (ms.Leaderboard, "to_json_pieces")), fail)
    with pytest.raises(ValueError, match=r"No space left|no JSON"):
        board.save(tmp_path / "board.json")
    assert [path.name for path in tmp_path.iterdir()] == ["board.json"]
    assert (tmp_path / "board.json").read_bytes() == before


def test_a_link_stays_one_and_permissions_are_those_of_any_new_file(board: ms.Leaderboard, tmp_path: Path) -> None:
    (tmp_path / "board.json").symlink_to(tmp_path / "elsewhere.json")
    board.save(tmp_path / "board.json")
    assert (tmp_path / "board.json").is_symlink()
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "elsewhere.json").stat().st_mode == (tmp_path / "plain").stat().st_mode
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    ms.Leaderboard.empty().save(tmp_path / "pipe")
    assert json.loads(os.read(reader, 10_000))["rows"] == []
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


def test_a_missing_file_and_a_missing_folder_are_named(board: ms.Leaderboard, tmp_path: Path) -> None:
    with pytest.raises(ms.errors.InvalidInputError, match="no-such"):
        ms.Leaderboard.load(tmp_path / "no-such.json")
    with pytest.raises(ms.errors.InvalidInputError, match="no-such"):
        board.save(tmp_path / "no-such" / "board.json")
