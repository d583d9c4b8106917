"""A ranking as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from modelselect.errors import Stage
from modelselect.ranking.cells import heading, text_cells
from modelselect.ranking.notes import notes_of
from modelselect.ranking.ranking import Ranking
from modelselect.ranking.row import (
    BRIEF_COLUMNS,
    COST_COLUMNS,
    EVIDENCE_COLUMNS,
    FIRST_COLUMNS,
    LAST_COLUMNS,
    MEASURED_COLUMNS,
    RankedCandidate,
)
from modelselect.utils.text import printable

if TYPE_CHECKING:
    from rich.table import Table


def rich_table(ranking: Ranking, width: int | None = None) -> Table:
    """A Rich table without empty columns, and the notes below it.

    Args:
        ranking: what is shown.
        width: number of characters in a line. Less important columns that do not fit are hidden, and a note names
            them. None shows all columns.
    """
    from rich.table import Table
    from rich.text import Text

    cells = text_cells(ranking)
    filled = list(cells)
    if all(row.status == "ok" for row in ranking.rows):
        filled = [column for column in filled if column != "status"]
    if "why" in filled:  # the score of an estimator that weighs evidence stands in its own column already
        filled = [column for column in filled if column not in ranking.estimators or cells[column] != cells["score"]]
    shown = filled if width is None else fitting_columns(filled, cells, width)
    table = Table(header_style="bold")
    foldable = ["status", "verified_accuracy"]
    if width is not None and 1 + sum(room_for(column, cells[column]) for column in shown) > width:
        foldable.append("candidate")  # a long path must not push the other columns off the table
    for column in shown:
        words = column in ("candidate", "why", "status")
        table.add_column(
            heading(column),
            justify="left" if words else "right",
            overflow="fold",
            no_wrap=column not in foldable,
        )
    for index, row in enumerate(ranking.rows):
        table.add_row(*(Text(printable(cells[column][index])) for column in shown), style=_style(row))
    notes = notes_of(ranking)
    if hidden := [column for column in filled if column not in shown]:
        notes.append(f"Hidden (terminal too narrow): {', '.join(hidden)}")
    if notes:
        table.caption = Text("\n".join(notes))
        table.caption_justify = "left"
    return table


def _style(row: RankedCandidate) -> str:
    if row.rank == 1:
        return "bold green"
    if row.failure is None:
        return ""
    return "dim" if row.failure.stage == Stage.LIMIT else "red"


def fitting_columns(columns: Sequence[str], cells: Mapping[str, Sequence[str]], width: int) -> list[str]:
    """The columns that fit: first the result, then measured costs, then estimators in their order, then the rest."""
    needed = {column: room_for(column, cells[column]) for column in columns}
    first = [c for c in columns if c in (*FIRST_COLUMNS, "probability_best", "verified_accuracy")]
    if any(text.startswith(("failed", "left out", "stopped")) for text in cells.get("status", ())):
        first.append("status")  # the notes say everything else
    fixed = (*FIRST_COLUMNS, *EVIDENCE_COLUMNS, *BRIEF_COLUMNS, *COST_COLUMNS, *LAST_COLUMNS)
    estimators = [c for c in columns if c not in fixed]
    estimators += [c for c in columns if c == "why"]  # the notes say it of the first candidate
    measured = [c for c in columns if c in (*BRIEF_COLUMNS, *MEASURED_COLUMNS)]
    rest = [c for c in columns if c not in first and c not in estimators and c not in measured]
    room = width - 1
    too_much = sum(needed[c] for c in first) - room
    if "verified_accuracy" in first and 0 < too_much <= needed["score"]:
        first.remove("score")  # the verified accuracy decides the order
        rest.insert(0, "score")
    kept = set()
    for column in (*first, *measured, *estimators, *rest):
        if column in first or needed[column] <= room:
            kept.add(column)
            room -= needed[column]
    return [column for column in columns if column in kept]


def room_for(column: str, texts: Sequence[str]) -> int:
    """The number of characters that a column takes, including its frame."""
    needed = 3 + max([len(heading(column)), *map(len, texts)])
    return min(needed, 25) if column in ("status", "verified_accuracy") else needed
