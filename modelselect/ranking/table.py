"""Which columns fit into a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modelselect.ranking.row import COST_COLUMNS, FIRST_COLUMNS, LAST_COLUMNS, MEASURED_COLUMNS


def fitting_columns(columns: Sequence[str], cells: Mapping[str, Sequence[str]], width: int) -> list[str]:
    """The columns that fit: what decides first, then costs measured on request, estimators in their order, the rest."""
    needed = {column: room_for(column, cells[column]) for column in columns}
    first = [c for c in columns if c in (*FIRST_COLUMNS, "verified_accuracy")]
    if any(
        text.startswith(("failed", "left out", "stopped")) for text in cells.get("status", ())
    ):  # anything less is said in the notes
        first.append("status")
    estimators = [c for c in columns if c not in (*FIRST_COLUMNS, *COST_COLUMNS, *LAST_COLUMNS)]
    measured = [c for c in columns if c in MEASURED_COLUMNS]
    rest = [c for c in columns if c not in first and c not in estimators and c not in measured]
    room = width - 1
    kept = set()
    for column in (*first, *measured, *estimators, *rest):
        if column in first or needed[column] <= room:
            kept.add(column)
            room -= needed[column]
    return [column for column in columns if column in kept]


def room_for(column: str, texts: Sequence[str]) -> int:
    """The characters that a column takes, its frame included."""
    needed = 3 + max([len(column), *map(len, texts)])
    return min(needed, 25) if column in ("status", "verified_accuracy") else needed
