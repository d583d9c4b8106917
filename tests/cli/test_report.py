"""`modelselect report` writes a page or a table, by the ending of the file's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelselect.cli import app
from tests.report.material import evil_board


def test_the_command_line_writes_what_the_name_ends_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    board = evil_board()
    board.save(tmp_path / "board.json")

    def run(*words: str) -> int | str | None:
        with pytest.raises(SystemExit) as stopped:
            app.main(["report", str(tmp_path / "board.json"), *words])
        return stopped.value.code

    assert not run()
    assert (tmp_path / "board.html").read_text().startswith("<!doctype html>")
    for ending, text in {".csv": board.to_csv(), ".tex": board.to_latex()}.items():
        assert not run("--output", str(tmp_path / f"table{ending}"))
        assert (tmp_path / f"table{ending}").read_text() == text
    assert run("--output", str(tmp_path / "board.docx")) == app.EXIT_BAD_USAGE
    assert "expected .html, .md, .csv or .tex" in " ".join(capsys.readouterr().err.split())


def test_a_report_of_what_is_no_leaderboard_says_what_to_give(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    for name, words in (("notes.txt", "the content is not JSON"), ("missing.json", "No such file or directory")):
        with pytest.raises(SystemExit):
            app.main(["report", str(tmp_path / name)])
        message = " ".join(capsys.readouterr().err.split())
        assert words in message
        assert "modelselect select --json" in message
