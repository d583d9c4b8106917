"""The Markdown of a report has the sections of the page, and nothing in it is markup from outside."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import modelselect as ms
from tests.report.material import EVIL, EVIL_NAME, evil_board


def written(board: ms.Leaderboard, folder: Path, name: str) -> str:
    board.report(folder / name)
    return (folder / name).read_text(encoding="utf-8")


def test_page_and_markdown_have_the_same_sections(tmp_path: Path) -> None:
    page, text = (written(evil_board(), tmp_path, name) for name in ("board.html", "board.md"))
    titles = [unescape(title) for title in re.findall(r"<h2>(.*?)</h2>", page)]
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == titles
    assert len(titles) >= 12
    for shown in ("90.0% accuracy on held-out rows", "clear winner", "model-01", "modelselect select", "20 ms"):
        assert shown in text


def test_texts_from_outside_are_text(tmp_path: Path) -> None:
    text = written(evil_board(), tmp_path, "board.md")
    outside_code = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert EVIL not in outside_code
    assert EVIL_NAME not in outside_code
    assert "&lt;script&gt;alert(1)&lt;/script&gt;pets" in text
    assert "](javascript" not in text
    assert '](https://hub.example/a"b)' not in text  # the address could end the link


def test_a_board_without_candidates_has_markdown(tmp_path: Path) -> None:
    text = written(ms.Leaderboard(()), tmp_path, "board.md")
    assert "nothing ranked" in text
