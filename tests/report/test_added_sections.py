"""Sections of plugins stand in the page and in the Markdown; one that fails costs itself only, and is named."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

import modelselect as ms
from modelselect.host import lookup
from modelselect.host.host import Host
from modelselect.report import Block, Cell, Column, Ranking, ReportSection, Table, Text
from tests.report.material import evil_board

MARKUP = "<b>bold</b>"


class Evil(ReportSection):
    name = "evil"
    title = f"{MARKUP} title"

    def blocks(self, board: Ranking) -> Sequence[Block]:
        return [
            Text(f"{MARKUP} says Evil"),
            Table(MARKUP, [Column(f"{MARKUP}|head", [Cell(f"{MARKUP}|cell", about='" a="b')])]),
        ]


class Linking(ReportSection):
    name = "linking"
    title = "A link"

    def blocks(self, board: Ranking) -> Sequence[Block]:
        return [Table("Names", [Column("name", [Cell("unseen", link='https://example.org/"onclick="x')])])]


class Shown(ReportSection):
    name = "shown"
    title = "Where it was trained"
    folded = True

    def blocks(self, board: Ranking) -> Sequence[Block]:
        board.provenance.clear()  # type: ignore[attr-defined]  # of a copy
        return [Text("In a forest."), Table("Trees", [Column("tree", [Cell("oak")])])]


class Silent(Shown):
    name = "silent"
    title = "Nothing to say"

    def blocks(self, board: Ranking) -> Sequence[Block]:
        return []


class Broken(Shown):
    name = "broken"

    def blocks(self, board: Ranking) -> Sequence[Block]:
        raise ZeroDivisionError("no trees")


class Plugin:
    @ms.hookimpl
    def modelselect_register_report_sections(self) -> list[ReportSection]:
        return [Shown(), Silent(), Broken(), Evil(), Linking()]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    assert host.register(Plugin(), "forest", "forest", "1.0").faults == []
    monkeypatch.setattr(lookup, "get_host", lambda: host)
    return host


def test_the_host_registers_them_by_name(host: Host) -> None:
    assert list(host.report_sections) == ["shown", "silent", "broken", "evil", "linking"]
    assert host.plugins[0].registered == {"report_sections": ["shown", "silent", "broken", "evil", "linking"]}


def test_a_section_without_a_title_is_refused() -> None:
    class Untitled(Shown):
        title = " "

    class Untitling:
        @ms.hookimpl
        def modelselect_register_report_sections(self) -> list[ReportSection]:
            return [Untitled()]

    (fault,) = Host().register(Untitling(), "untitled").faults
    assert "report section 'shown' has the title ' '; expected a heading" in fault


def test_the_page_and_the_markdown_show_them_before_the_provenance(host: Host, tmp_path: Path) -> None:
    board = evil_board()
    board.report(tmp_path / "board.html")
    page = (tmp_path / "board.html").read_text(encoding="utf-8")
    assert '<a href="#section-shown">Where it was trained</a>' in page
    assert page.index('id="section-shown"') < page.index('id="provenance"')
    assert "In a forest." in page
    assert "Nothing to say" not in page
    board.report(tmp_path / "board.md")
    written = (tmp_path / "board.md").read_text(encoding="utf-8")
    assert "## Where it was trained\n\nIn a forest.\n\n| tree |\n" in written
    assert board.provenance, "a section changed the leaderboard itself"


def test_a_section_that_fails_costs_itself_and_names_its_plugin(
    host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "modelselect"):
        evil_board().report(tmp_path / "board.md")
    said = "ZeroDivisionError: no trees (from plugin 'forest' (forest 1.0))"
    assert f"the report section 'broken' could not be made: {said}" in caplog.text
    written = (tmp_path / "board.md").read_text(encoding="utf-8")
    assert f"## broken\n\nThis section could not be made: {said}." in written
    assert "In a forest." in written
    assert "## Provenance" in written


def test_nothing_in_a_section_is_markup(host: Host, tmp_path: Path) -> None:
    board = evil_board()
    for name in ("board.html", "board.md"):
        board.report(tmp_path / name)
        written = (tmp_path / name).read_text(encoding="utf-8")
        assert "says Evil" in written
        assert MARKUP not in written
        assert '" a="b' not in written
        assert "unseen" not in written, "the address of the link was accepted"
        assert "expected an address that begins with https" in written


def test_a_published_page_has_them_too(host: Host, tmp_path: Path) -> None:
    from modelselect.leaderboard import publishing

    publishing.write(evil_board(), tmp_path, "owner/name")
    assert "In a forest." in (tmp_path / publishing.PAGE).read_text(encoding="utf-8")
