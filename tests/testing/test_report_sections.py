"""The kit for authors of report sections: every kind of broken section is caught by name."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

import modelselect as ms
from modelselect.report import Block, Ranking, ReportSection, Text
from modelselect.testing.report_sections import check_report_section, report_section_checks
from tests.testing.material import failing


class Good(ReportSection):
    name = "good"
    title = "How many there were"

    def blocks(self, board: Ranking) -> Sequence[Block]:
        return [Text(f"{len(board.rows)} candidates.")]


class Loud(Good):
    name = "Loud"


class Untitled(Good):
    title = ""


class Silent(Good):
    def blocks(self, board: Ranking) -> Sequence[Block]:
        return []


class Html(Good):
    def blocks(self, board: Ranking) -> Sequence[Block]:
        return ["<p>text</p>"]  # type: ignore[list-item]


class Counting(Good):
    calls = itertools.count()

    def blocks(self, board: Ranking) -> Sequence[Block]:
        return [Text(str(next(self.calls)))]


class Changing(Good):
    def blocks(self, board: Ranking) -> Sequence[Block]:
        board.provenance["seen"] = True  # type: ignore[index]
        return [Text("a")]


class NeedsAWinner(Good):
    def blocks(self, board: Ranking) -> Sequence[Block]:
        return [Text(board.rows[0].candidate.id)]


def test_a_sound_section_passes() -> None:
    check_report_section(Good())


class TestGood(ms.testing.ReportSectionTests):
    section = Good()


@pytest.mark.parametrize(
    ("section", "check", "message"),
    [
        (Loud(), "name_is_valid", "lower-case"),
        (Untitled(), "title_is_there", "empty"),
        (Silent(), "says_something", "pass one to the check"),
        (Html(), "says_something", "is a str; expected one of Text"),
        (Counting(), "same_board_same_section", "other blocks"),
        (Changing(), "board_is_not_changed", "changes the leaderboard"),
        (NeedsAWinner(), "poor_boards_are_no_error", "IndexError"),
    ],
)
def test_a_broken_section_is_caught_by_name(section: ReportSection, check: str, message: str) -> None:
    assert message in failing(report_section_checks(section))[check]


def test_every_check_has_a_broken_section() -> None:
    caught = {
        name
        for s in (Loud(), Untitled(), Silent(), Counting(), Changing(), NeedsAWinner())
        for name in failing(report_section_checks(s))
    }
    assert caught == {name for name, _ in report_section_checks(Good())}


def test_an_author_may_give_a_leaderboard_of_its_own() -> None:
    class OnlyFive(Good):
        def blocks(self, board: Ranking) -> Sequence[Block]:
            return [Text("five")] if board.estimators == ("five",) else []

    check_report_section(OnlyFive(), ms.Leaderboard((), ("five",)))
    with pytest.raises(AssertionError, match="says_something"):
        check_report_section(OnlyFive())
