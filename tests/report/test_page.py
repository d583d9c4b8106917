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
from modelselect.ranking.expectation import Expectation
from modelselect.report import page as pages
from tests.report import material
from tests.report.material import EVIL, EVIL_NAME, evil_board, long_board

MOST_BYTES = 2_000_000


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


def test_the_page_loads_nothing_and_only_candidates_names_lead_elsewhere(page: str) -> None:
    assert len(page.encode()) < MOST_BYTES
    links = [(tag, a[key]) for tag, a in Elements(page).tags for key in ("src", "href", "action", "srcset") if key in a]
    outside = [link for link in links if not str(link[1]).startswith(("#", "data:"))]
    assert set(outside) == {("a", 'https://hub.example/a"b')}
    assert "@import" not in page.partition("</style>")[0]
    assert "url(" not in page.partition("</style>")[0]


def test_what_comes_from_outside_is_text_and_never_markup(page: str) -> None:
    elements = Elements(page)
    assert [attributes for tag, attributes in elements.tags if tag == "script"] == [{}]
    assert EVIL not in page
    assert EVIL_NAME not in page
    assert not any(key.startswith("on") for _, attributes in elements.tags for key in attributes)
    shown = "".join(elements.texts)
    assert EVIL_NAME in shown
    texts = (
        "pets",
        " no weights",
        " </textarea> no classes",
        " few rows",
        " You et al., 2021",
        "/x",
        " license",
        ".png",
    )
    for text in (*texts, " the budget ended", " too large", " 20m", " still open", " verify"):
        assert f"{EVIL}{text}" in shown, text


def test_control_characters_and_marks_of_direction_do_not_reach_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turning = "\x1b]0;x\x07\x00\u202e\u2066\x85"
    monkeypatch.setattr(material, "EVIL", EVIL + turning)
    monkeypatch.setattr(material, "EVIL_NAME", EVIL_NAME + turning)
    monkeypatch.setattr(pages, "ROWS_OF_A_PAGE", 1)
    evil_board().report(tmp_path / "board.html")
    page = (tmp_path / "board.html").read_text(encoding="utf-8")
    assert EVIL in "".join(Elements(page).texts)
    rest = json.loads(re.findall(r'<script type="application/json" id="rest">(.*?)</script>', page)[0])
    written = page + json.dumps(rest, ensure_ascii=False)
    assert EVIL_NAME in written
    assert not set(written) & (set(turning) - set("]0;x"))


def test_only_the_pages_own_script_may_run(page: str) -> None:
    elements = Elements(page)
    policy = next(a["content"] for tag, a in elements.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    own = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = {f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in own}
    assert set(rules["script-src"].split()) == digests
    assert len(own) == 1


def test_the_page_can_be_read_by_a_screen_reader(page: str) -> None:
    elements = Elements(page)
    levels = [int(tag[1]) for tag, _ in elements.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert set(levels[1:]) == {2}
    for tag, attributes in elements.tags:
        if tag == "svg":
            assert attributes.get("aria-hidden") == "true" or (attributes["role"] == "img" and attributes["aria-label"])
        if tag == "table":
            assert "class" in attributes
    scopes = [attributes.get("scope") for tag, attributes in elements.tags if tag == "th"]
    assert set(scopes) == {"row", "col"}
    ids = [str(attributes["id"]) for _, attributes in elements.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [str(a["href"])[1:] for tag, a in elements.tags if tag == "a" and str(a.get("href")).startswith("#")]
    assert set(targets) <= set(ids)


def test_five_columns_are_shown_and_the_switch_needs_no_script(page: str) -> None:
    heads = re.findall(r'<th scope="col" class="(\w[^"]*)"[^>]*><button[^>]*>(.*?)</button>', page)
    assert [name for classes, name in heads if "more" not in classes] == [
        "rank",
        "candidate",
        "verified accuracy",
        "P(best)",
        "parameters",
    ]
    assert len(heads) > 15
    assert '<input type="checkbox" id="all">' in page
    assert ":has(#all:checked)" in page.partition("</style>")[0]


def test_estimators_say_what_they_are(page: str) -> None:
    assert page.count('title="&lt;script&gt;alert(1)&lt;/script&gt; You et al., 2021"') >= 2


def test_without_what_draws_a_report_says_what_to_install_before_any_work(tmp_path: Path) -> None:
    code = (
        "import importlib.util as u; old = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'jinja2' else old(name, *a)\n"
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


def test_five_hundred_candidates_and_a_thousand_classes_fit_into_the_page(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(500, 30))
    rows = tuple(
        Row(
            ms.Candidate("hub", f"owner/a-model-with-a-rather-long-name-{i}", "0" * 40),
            rank=i + 1,
            score=1.0 - i / 1000,
            scores={f"e{j}": float(scores[i, j]) for j in range(30)},
            parameters=10**6 + i,
            macs=10**9 + i,
            feature_dim=512,
            seconds=1.0 + i,
            embedding=tuple(rng.normal(size=128)),
            expectation=Expectation(0.0, 1.0, (1, 500), {"probe": 0.1, "size": 0.2}),
            probability_best=0.002,
        )
        for i in range(500)
    )
    provenance = {"dataset": {"classes": [f"class {i}" for i in range(1000)], "class_rows": [2] * 1000}}
    ms.Leaderboard(rows, tuple(f"e{j}" for j in range(30)), provenance).report(tmp_path / "board.html")
    assert (tmp_path / "board.html").stat().st_size < MOST_BYTES


def test_two_thousand_candidates_are_a_page_of_a_megabyte_whose_rest_is_data(tmp_path: Path) -> None:
    long_board(2000).report(tmp_path / "board.html")
    text = (tmp_path / "board.html").read_text(encoding="utf-8")
    assert len(text.encode()) < 1_000_000  # a fifth of 5 MB
    table = text.partition('id="board">')[2].partition("</table>")[0]
    assert table.count("<tr") == 1 + pages.ROWS_OF_A_PAGE
    data = re.search(r'<script type="application/json" id="rest">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    assert not set("<>&") & set(data[1])
    rest = json.loads(data[1])
    heads = re.findall(r"<button[^>]*>(.*?)</button>", table)
    assert len(rest) == 2000 - pages.ROWS_OF_A_PAGE
    assert [row[1 + heads.index("rank")] for row in rest[:2]] == ["251", "252"]
    assert rest[0][1 + heads.index("candidate")][0] == f"{EVIL_NAME}250"
    assert rest[-1][0] == "failed"
    assert EVIL not in text


def test_rows_that_do_not_fit_are_left_out_and_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST_DATA", 20_000)
    long_board(1000).report(tmp_path / "board.html")
    text = (tmp_path / "board.html").read_text(encoding="utf-8")
    rest = re.search(r'id="rest">(.*?)</script>', text, re.DOTALL)
    assert rest is not None
    assert 1000 < len(rest[1]) <= 20_000
    held = pages.ROWS_OF_A_PAGE + len(json.loads(rest[1]))
    assert f"This page holds the first {held} of 1,000 candidates." in text


# --- evidence --------------------------------------------------------------------------------------------------------


def column(page: str, name: str) -> list[str]:
    """The texts of a column of the leaderboard."""
    table = page.partition('id="board">')[2].partition("</table>")[0]
    heads = re.findall(r"<button[^>]*>(.*?)</button>", table)
    cells = [re.findall(r"<t[hd] .*?</t[hd]>", line) for line in re.findall(r"<tr[^>]*><t.*?</tr>", table)]
    return [unescape(re.sub(r"<small>.*?</small>|<[^>]*>", "", row[heads.index(name)])) for row in cells]


def test_the_page_shows_one_probability_everywhere(page: str) -> None:
    board = evil_board()
    assert column(page, "P(best)")[:3] == ["97%", "<1%", "<1%"]
    assert "P(best) 0.97" in "".join(Elements(page).texts)
    assert board.confidence == board.best.probability_best
    assert column(page, "rank, 80% interval")[:3] == ["1 to 3", "1 to 4", "1 to 5"]


def test_the_page_says_above_the_table_what_was_left_out_of_the_dataset(page: str) -> None:
    header = "".join(Elements(page.partition("<header>")[2].partition("</header>")[0]).texts)
    assert f"The dataset: 1 file was left out: {EVIL} private.png." in header


def test_the_page_shows_what_each_piece_of_evidence_adds(page: str) -> None:
    section = page.partition('<section id="why">')[2].partition("</section>")[0]
    names = [unescape(name) for name in re.findall(r"<span>(.*?)</span></th>", section)]
    assert names == ["candidate", "history", f"{EVIL} probe", "size", "together"]
    rows = [
        re.findall(r"<td[^>]*>(?:<span class=\"([a-z ]+)\"[^>]*>)?([^<]*)", line) for line in section.split("<tr>")[2:]
    ]
    assert len(rows) == 11  # those that have a rank
    assert rows[0] == [("signed", "+3.00"), ("signed", "+0.50"), ("signed down", "-0.10"), ("signed", "+3.40")]
    assert rows[10][0] == ("", "")  # nothing is known of it
    assert "before fine-tuning" in section
    assert '<a href="#why">' in page


def test_a_board_of_version_0_1_0_shows_no_probability_of_another_kind(tmp_path: Path) -> None:
    board = evil_board()
    old = replace(board, rows=tuple(replace(row, expectation=None) for row in board.rows))
    old.report(tmp_path / "board.html")
    text = (tmp_path / "board.html").read_text()
    assert "P(best)</button>" not in text
    assert 'id="why"' not in text
    assert "97%" not in text.partition("<main>")[2].partition("<script")[0]


def test_a_saved_board_gives_the_same_page(tmp_path: Path) -> None:
    board = evil_board()
    board.save(tmp_path / "board.json")
    pages = []
    for each in (board, ms.Leaderboard.load(tmp_path / "board.json")):
        each.report(tmp_path / "board.html")
        pages.append((tmp_path / "board.html").read_text())
    assert pages[0] == pages[1]
