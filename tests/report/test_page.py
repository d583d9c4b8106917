"""The page says what the leaderboard says, in one file that loads nothing from outside."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import modelselect as ms
from modelselect.cli import app
from modelselect.errors import Failure
from modelselect.leaderboard.leaderboard import Row
from tests.report.material import EVIL, EVIL_NAME, evil_board

MOST_BYTES = 5_000_000


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "board.html"
    evil_board().report(path)
    return path.read_text(encoding="utf-8")


class Elements(HTMLParser):
    """Tags with their attributes, and the scripts' texts, as a browser's parser sees them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        inside = self.scripts if self.tags and self.tags[-1][0] == "script" else self.texts
        inside.append(data)


def test_the_page_refers_to_nothing_outside_and_is_small(page: str) -> None:
    assert len(page.encode()) < MOST_BYTES
    links = [(tag, a[key]) for tag, a in Elements(page).tags for key in ("src", "href", "action", "srcset") if key in a]
    assert [link for link in links if not str(link[1]).startswith(("#", "data:"))] == []
    assert "@import" not in page.partition("</style>")[0]


def test_what_comes_from_outside_is_text_and_never_markup(page: str) -> None:
    elements = Elements(page)
    assert [attributes for tag, attributes in elements.tags if tag == "script"] == [
        {"type": "application/json", "id": "data"},
        {},
        {},
    ]
    assert EVIL not in page
    assert EVIL_NAME not in page
    shown = "".join(elements.texts)
    assert EVIL_NAME in shown
    texts = ("pets", " no weights", " </textarea> no classes", " few rows", " You et al., 2021", "/x", " license")
    for text in (*texts, " the budget ended", " too large", " 20m", " still open", " verify"):
        assert f"{EVIL}{text}" in shown, text


def test_only_the_pages_own_scripts_may_run(page: str) -> None:
    elements = Elements(page)
    policy = next(a["content"] for tag, a in elements.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    own = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = {f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in own}
    assert set(rules["script-src"].split()) == digests
    assert len(own) == 2


def test_without_what_draws_a_report_says_what_to_install_before_any_work(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['bokeh'] = None\n"
        "import importlib.util as u; old = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'bokeh' else old(name, *a)\n"
        "from modelselect import cli; cli.main(['select', 'no-such-folder', '-c', 'embedded:*', '--report', 'b.html'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == app.EXIT_BAD_USAGE
    assert "pip install 'modelselect-automl[report]'" in done.stderr


@pytest.mark.parametrize("rows", [0, 1])
def test_a_board_of_nothing_or_of_failures_has_a_page(rows: int, tmp_path: Path) -> None:
    failed = Row(ms.Candidate("shelf", "x"), failure=Failure("load", "gone away"))
    ms.Leaderboard((failed,) * rows).report(tmp_path / "board.html")
    assert ("gone away" in (tmp_path / "board.html").read_text()) == bool(rows)


def test_a_thousand_candidates_and_classes_fit_into_the_page(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(1000, 6))
    rows = tuple(
        Row(
            ms.Candidate("hub", f"owner/a-model-with-a-rather-long-name-{i}", "0" * 40),
            rank=i + 1,
            score=1.0 - i / 1000,
            scores={f"e{j}": float(scores[i, j]) for j in range(6)},
            parameters=10**6 + i,
            embedding=tuple(rng.normal(size=128)),
        )
        for i in range(1000)
    )
    provenance = {"dataset": {"name": "many", "classes": [f"class {i}" for i in range(1000)]}}
    ms.Leaderboard(rows, tuple(f"e{j}" for j in range(6)), provenance).report(tmp_path / "board.html")
    assert (tmp_path / "board.html").stat().st_size < MOST_BYTES


# --- evidence --------------------------------------------------------------------------------------------------------


def column(page: str, name: str) -> list[str]:
    """The texts of a column of the leaderboard."""
    return [unescape(text) for text in re.findall(rf'<td [^>]*data-column="{re.escape(name)}"[^>]*>([^<]*)</td>', page)]


def test_the_page_shows_one_probability_everywhere(page: str) -> None:
    board = evil_board()
    assert column(page, "P(best)")[:3] == ["97%", "<1%", "<1%"]
    shown = "".join(Elements(page).texts)
    assert "P(best) 0.97" in shown
    assert "<div><dt>probability of being the best</dt><dd>97%</dd></div>" in page
    assert board.confidence == board.best.probability_best
    assert column(page, "rank, 80% interval")[:3] == ["1 to 3", "1 to 4", "1 to 5"]


def test_the_page_says_above_the_table_what_was_left_out_of_the_dataset(page: str) -> None:
    header = "".join(Elements(page.partition("<header>")[2].partition("</header>")[0]).texts)
    assert f"The dataset: 1 file was left out: {EVIL} private.png." in header


def test_the_page_shows_what_each_piece_of_evidence_adds(page: str) -> None:
    section = page.partition('<section id="why">')[2].partition("</section>")[0]
    names = [unescape(name) for name in re.findall(r"<th scope=\"col\"><span>(.*?)</span>", section)]
    assert names == ["history", f"{EVIL} probe", "size", "together"]
    rows = [re.findall(r"<td(?: class=\"([a-z0-9-]+)\")?>(.*?)</td>", line) for line in section.split("<tr>")[2:]]
    assert len(rows) == 11  # those that have a rank
    assert rows[0] == [("heat-7", "+3.00"), ("heat-1", "+0.50"), ("cold-0", "-0.10"), ("heat-8", "+3.40")]
    assert rows[10][0] == ("", "")  # nothing is known of it
    assert "before fine-tuning" in section
    assert '<a href="#why">' in page


def test_a_board_of_version_0_1_0_shows_no_probability_of_another_kind(tmp_path: Path) -> None:
    board = evil_board()
    old = replace(board, rows=tuple(replace(row, expectation=None) for row in board.rows))
    old.report(tmp_path / "board.html")
    text = (tmp_path / "board.html").read_text()
    assert 'data-column="P(best)"' not in text
    assert 'id="why"' not in text
    assert "97%" not in text.partition("<main>")[2].partition("<script")[0]


# --- text and plots --------------------------------------------------------------------------------------------------


def test_a_saved_board_gives_the_same_page(tmp_path: Path) -> None:
    board = evil_board()
    board.save(tmp_path / "board.json")
    pages = []
    for each in (board, ms.Leaderboard.load(tmp_path / "board.json")):
        each.report(tmp_path / "board.html")
        data = json.loads(re.findall(r'id="data">(.*?)</script>', (tmp_path / "board.html").read_text())[0])
        pages.append(
            (data["costs"], (tmp_path / "board.html").read_text().partition("<main>")[2].partition("<script")[0])
        )
    assert pages[0] == pages[1]
