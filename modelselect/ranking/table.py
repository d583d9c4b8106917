"""A ranking as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from modelselect.errors import Stage
from modelselect.ranking.cells import headings, name_of, text_cells
from modelselect.ranking.notes import REMARKS, notes_of
from modelselect.ranking.ranking import Ranking
from modelselect.ranking.row import (
    BRIEF_COLUMNS,
    COST_COLUMNS,
    EVIDENCE_COLUMNS,
    FIRST_COLUMNS,
    LAST_COLUMNS,
    MEASURED_COLUMNS,
    READING_COLUMNS,
    RankedCandidate,
)
from modelselect.utils.text import listed, printable

if TYPE_CHECKING:
    from rich.table import Table

LEGIBLE = 24
"""Characters of a candidate's name in one line. Longer names are folded where the other columns need the room."""

FRAME = 3
"""Characters of a column's frame."""


def rich_table(
    ranking: Ranking,
    width: int | None = None,
    names: Sequence[str] | None = None,
    requested: Sequence[str] = (),
    remarks: Sequence[str] = REMARKS,
) -> Table:
    """A Rich table without empty columns, with the number of candidates above it and the notes below it.

    Args:
        ranking: what is shown.
        width: number of characters in a line. Less important columns that do not fit are hidden, and a note names
            them. None shows all columns.
        names: what the rows are called; None for the candidates' names.
        requested: estimators that the user asked for. They are shown before other columns.
        remarks: the parts of the provenance whose remarks are among the notes.
    """
    from rich.table import Table
    from rich.text import Text

    cells = text_cells(ranking)
    if names is not None:
        cells["candidate"] = list(names)
    if "status" in cells:
        cells["status"] = [short_status(row) for row in ranking.rows]
    filled = [column for column in cells if column != "status" or any(text != "ok" for text in cells["status"])]
    if "why" in filled:  # the score of an estimator that weighs evidence stands in its own column already
        filled = [column for column in filled if column not in ranking.estimators or cells[column] != cells["score"]]
    called = dict(zip(filled, headings(ranking, filled), strict=True))
    cells = {column: [printable(text) for text in cells[column]] for column in filled}
    room, shown, left = _rooms(called, cells), filled, None
    if width is not None:
        if "verified_accuracy" in room:
            called["verified_accuracy"] = called["verified_accuracy"].replace(" (", "\n(")
            room = _rooms(called, cells)
            first = {*FIRST_COLUMNS, "probability_best", "verified_accuracy", *requested}
            if sum(room[column] for column in room if column in first) > width - 1:  # the interval takes its own line
                cells["verified_accuracy"] = [text.replace(" [", "\n[") for text in cells["verified_accuracy"]]
                called["verified_accuracy"] = called["verified_accuracy"].replace(" ", "\n", 1)
                room = _rooms(called, cells)
        shown = fitting_columns(ranking, room, width, requested)
        left = width - 1 - sum(room[column] for column in shown if column != "candidate") - FRAME
        left = max(left, 1)
    table = Table(header_style="bold", title=Text(_title(ranking, requested), style="bold"), title_justify="left")
    for column in shown:
        words = column in ("candidate", "why", "status")
        table.add_column(
            called[column],
            justify="left" if words else "right",
            overflow="fold",
            no_wrap=column not in ("candidate", "status", "verified_accuracy"),
            max_width=left if column == "candidate" else None,
        )
    for index, row in enumerate(ranking.rows):
        table.add_row(*(Text(cells[column][index]) for column in shown), style=_style(row))
    notes = [*notes_of(ranking, names, remarks), *_about_names(ranking, names)]
    if hidden := [called[column].replace("\n", " ") for column in filled if column not in shown]:
        plural = "columns are" if len(hidden) > 1 else "column is"
        notes.append(
            f"{len(hidden)} {plural} hidden ({listed(hidden, 4)}): a wider terminal, --json and to_pandas() show all."
        )
    if notes:
        table.caption = Text("\n".join(notes))
        table.caption_justify = "left"
    return table


def short_status(row: RankedCandidate) -> str:
    """What became of a candidate, in a few words. The reasons stand below the table, each one once."""
    if row.failure is not None:
        return "left out" if row.failure.stage == Stage.LIMIT else f"failed ({row.failure.stage})"
    words = [] if row.stopped is None else [row.stopped.partition(":")[0]]
    words += [f"without {', '.join(row.failures)}"] if row.failures else []
    return "; ".join(words) or "ok"


def fitting_columns(ranking: Ranking, room: Mapping[str, int], width: int, requested: Sequence[str]) -> list[str]:
    """The columns that fit: what orders the rows in any case, then the other columns by importance.

    Args:
        ranking: what is shown.
        room: the number of characters that each column takes, with its frame.
        width: number of characters in a line.
        requested: estimators that the user asked for.
    """
    all_verified = all(row.verified_accuracy is not None for row in ranking.ranked)
    ordering = [column for column in (*FIRST_COLUMNS, "verified_accuracy") if column in room]
    if "verified_accuracy" in room and all_verified:
        ordering.remove("score")  # the accuracy orders all rows
    fixed = (*FIRST_COLUMNS, *EVIDENCE_COLUMNS, *BRIEF_COLUMNS, *COST_COLUMNS, *READING_COLUMNS, *LAST_COLUMNS)
    estimators = [column for column in room if column not in fixed]
    estimators += [column for column in room if column == "why"]  # a note says it of the first candidate
    important = ["probability_best", *(name for name in requested if name in room), "status"]
    further = dict.fromkeys((*BRIEF_COLUMNS, *MEASURED_COLUMNS, *estimators, "parameters", *room))
    kept = set(ordering)
    least = {**room, "candidate": min(room["candidate"], LEGIBLE + FRAME)}
    for wanted, needed in ((important, least), (further, room)):
        for column in wanted:
            if column in room and sum(needed[each] for each in {*kept, column}) <= width - 1:
                kept.add(column)
    return [column for column in room if column in kept]


def _rooms(called: Mapping[str, str], cells: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """The number of characters that each column takes, with its frame."""
    lines = {
        column: [line for text in (name, *cells[column]) for line in text.split("\n")]
        for column, name in called.items()
    }
    return {column: FRAME + max(map(len, texts)) for column, texts in lines.items()}


def _title(ranking: Ranking, requested: Sequence[str]) -> str:
    """How many candidates were ranked, and how many were not."""
    by = "" if not requested else f" by {requested[0] if len(requested) == 1 else f'{len(requested)} estimators'}"
    limited = [row.failure is not None and row.failure.stage == Stage.LIMIT for row in ranking.rows]
    counts = {
        "of them fine-tuned": sum(row.verified_accuracy is not None for row in ranking.ranked),
        "failed": len(ranking.rows) - len(ranking.ranked) - sum(limited),
        "left out": sum(limited),
    }
    return ", ".join(
        [f"Leaderboard{by}: {len(ranking.ranked)} ranked", *(f"{n} {what}" for what, n in counts.items() if n)]
    )


def _about_names(ranking: Ranking, names: Sequence[str] | None) -> list[str]:
    """What the names in the table leave out."""
    full = [name_of(row) for row in ranking.rows]
    if names is None or not full:
        return []
    beginnings = {whole.removesuffix(name) for whole, name in zip(full, names, strict=True)}
    if len(beginnings) == 1:
        [beginning] = beginnings
        return [f"Each name begins with {printable(beginning)}"] if beginning else []
    return ["Names are shortened; --json and to_pandas() have them in full."]


def _style(row: RankedCandidate) -> str:
    if row.rank == 1:
        return "bold green"
    if row.failure is None:
        return ""
    return "dim" if row.failure.stage == Stage.LIMIT else "red"
