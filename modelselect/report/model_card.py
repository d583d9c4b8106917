"""The leaderboard as text for other places: a Markdown table, a LaTeX table, and a section for a model card."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelselect.leaderboard import printable
from modelselect.report import content

if TYPE_CHECKING:
    from modelselect.leaderboard import Leaderboard

CARD_ROWS = 5
"""Candidates that a model card's section lists."""

SUMMARY_COLUMNS = ("rank", "candidate", "score", "verified_accuracy", "parameters")

WORDS = ("candidate", "status")
"""Columns of text, aligned left."""

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
    "±": r"$\pm$",
} | {c: f"\\{c}" for c in "&%$#_"}


def markdown(board: Leaderboard) -> str:
    """See `Leaderboard.to_markdown`."""
    columns, rows = board.cells()
    return _markdown_table(columns, rows)


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


def model_card(board: Leaderboard) -> str:
    """See `Leaderboard.model_card`."""
    best = [escaped(sentence) for sentence in content.answer(board)]
    cited = {name: text for name, text in content.citations(board).items() if name in content.ranked_by(board)}
    sections = ["## How the pre-trained model was chosen", " ".join(best)]
    if board.ranked:
        sections.append(summary(board, CARD_ROWS))
    sections.append(
        "Candidates were ranked by modelselect without fine-tuning them, "
        f"by {content.listed([escaped(name) for name in content.ranked_by(board)] or ['nothing'], 5)}."
    )
    if any(cited.values()):
        sections.append("\n".join(f"- {escaped(name)}: {escaped(text)}" for name, text in cited.items() if text))
    return "\n\n".join(sections) + "\n"


def summary(board: Leaderboard, most: int) -> str:
    """A Markdown table of the first rows that are ranked, by what decides, and how many more there are."""
    columns, rows = board.cells()
    kept = [i for i, column in enumerate(columns) if column in SUMMARY_COLUMNS]
    shown = [[row[i] for i in kept] for row in rows[: len(board.ranked)][:most]]
    table = _markdown_table([columns[i] for i in kept], shown).rstrip()
    more = len(board.rows) - len(shown)
    return table + (f"\n\nand {more} more." if more else "")


def _markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [
        "| " + " | ".join(escaped(column.replace("_", " ")) for column in columns) + " |",
        "| " + " | ".join("---" if column in WORDS else "--:" for column in columns) + " |",
        *("| " + " | ".join(map(escaped, row)) + " |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """The text as Markdown shows it: nothing in it is markup, a link or a new cell."""
    plain = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|~#!$])", r"\\\1", plain)


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join(map(latex_escaped, cells)) + r" \\"


def latex_escaped(text: str) -> str:
    """The text as LaTeX prints it: nothing in it is a command, a comment or a new cell."""
    return "".join(_LATEX.get(c, c) for c in printable(text))
