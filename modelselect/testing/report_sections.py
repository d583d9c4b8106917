"""Named checks for authors of report sections."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from modelselect.candidates.candidate import Candidate
from modelselect.errors import Failure, Stage
from modelselect.ranking.ranking import Ranking
from modelselect.ranking.report_section import ReportSection, section_of
from modelselect.ranking.row import RankedCandidate
from modelselect.testing.checks import Check, called, lacking, name_is_valid, named_check, run_checks


def check_report_section(
    section: ReportSection, board: Ranking | None = None, *, expected_failures: Mapping[str, str] | None = None
) -> None:
    """Runs every check of `report_section_checks` and reports all that fail, by name.

    Args:
        section: the instance to be registered.
        board: a leaderboard about which the section has something to say; None for an example.
        expected_failures: as for `check_estimator`.

    Raises:
        AssertionError: lists the checks that failed, or that passed although they were expected to fail.

    >>> from modelselect.report import ReportSection, Text
    >>> class Count(ReportSection):
    ...     name = "count"
    ...     title = "How many there were"
    ...     def blocks(self, board):
    ...         return [Text(f"{len(board.rows)} candidates were compared.")]
    >>> check_report_section(Count())
    """
    run_checks(called("report section", section), report_section_checks(section, board), expected_failures)


def report_section_checks(section: ReportSection, board: Ranking | None = None) -> list[Check]:
    """For every promise of a report section, a name and a check; see `check_report_section`."""
    if incomplete := lacking(section, ReportSection, "name", "title"):
        return incomplete
    shown = example_board() if board is None else board
    return [
        named_check(name_is_valid, section),
        named_check(_title_is_there, section),
        named_check(_says_something, section, shown),
        named_check(_same_board_same_section, section, shown),
        named_check(_board_is_not_changed, section, shown),
        named_check(_poor_boards_are_no_error, section),
    ]


def example_board() -> Ranking:
    """Three candidates: one fine-tuned, one only scored, one that failed."""
    metadata = {"family": "Checked", "parameters": 1_000_000, "license": "mit"}
    rows = (
        RankedCandidate(
            Candidate("checks", "first", "r1", metadata),
            rank=1,
            score=0.8,
            probability_best=0.7,
            scores={"logme": 0.8, "knn": 0.9},
            verified_accuracy=0.9,
            verified_interval=(0.85, 0.94),
            parameters=1_000_000,
            seconds=2.0,
        ),
        RankedCandidate(
            Candidate("checks", "second", "r1", metadata),
            rank=2,
            score=0.5,
            probability_best=0.3,
            scores={"logme": 0.5},
            failures={"knn": Failure(Stage.SCORE, "too few rows")},
            parameters=2_000_000,
            seconds=3.0,
        ),
        RankedCandidate(Candidate("checks", "third"), failure=Failure(Stage.LOAD, "no weights")),
    )
    dataset = {"name": "pets", "classes": ["cat", "dog"], "class_rows": [60, 40]}
    return Ranking(rows, ("logme", "knn"), {"dataset": dataset}, confidence=0.7)


def _title_is_there(section: ReportSection) -> None:
    title = getattr(section, "title", None)
    assert isinstance(title, str), f"title is {title!r}; expected a heading, as a text"
    assert title.strip(), "title is empty; expected a heading"
    assert "\n" not in title, "title has several lines; expected one"


def _says_something(section: ReportSection, board: Ranking) -> None:
    assert section_of(section, board) is not None, (
        "gives no blocks for this leaderboard; pass one to the check about which it has something to say"
    )


def _same_board_same_section(section: ReportSection, board: Ranking) -> None:
    first, again = section_of(section, board), section_of(section, board)
    assert first == again, "gives other blocks for the same leaderboard the second time"


def _board_is_not_changed(section: ReportSection, board: Ranking) -> None:
    given, before = copy.deepcopy(board), board.to_json()
    section.blocks(given)
    assert given.to_json() == before, "changes the leaderboard; work on a copy"


def _poor_boards_are_no_error(section: ReportSection) -> None:
    """A leaderboard without rows; without any ranked row; and one of an earlier version, without a provenance."""
    whole = example_board()
    for board in (Ranking(()), Ranking(whole.rows[2:], whole.estimators), Ranking(whole.rows[1:], whole.estimators)):
        section_of(section, board)
