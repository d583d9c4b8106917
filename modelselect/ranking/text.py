"""Tables as Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelselect.utils.text import escaped, latex_escaped

if TYPE_CHECKING:
    from modelselect.leaderboard.leaderboard import Leaderboard

WORDS = ("candidate", "status")
"""Columns of text, aligned left."""


def markdown(board: Leaderboard) -> str:
    """See `Leaderboard.to_markdown`."""
    columns, rows = board.cells()
    return markdown_table(columns, rows)


def latex(board: Leaderboard) -> str:
    """See `Leaderboard.to_latex`."""
    columns, rows = board.cells()
    lines = [
        rf"\begin{{tabular}}{{{''.join('l' if c in WORDS else 'r' for c in columns)}}}",
        r"\toprule",
        _latex_line([column.replace("_", " ") for column in columns]),
        r"\midrule",
        *map(_latex_line, rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [
        "| " + " | ".join(escaped(column.replace("_", " ")) for column in columns) + " |",
        "| " + " | ".join("---" if column in WORDS else "--:" for column in columns) + " |",
        *("| " + " | ".join(map(escaped, row)) + " |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join(map(latex_escaped, cells)) + r" \\"
