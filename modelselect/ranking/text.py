"""A ranking as Markdown, LaTeX and HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from modelselect.ranking.cells import heading, headings, text_rows
from modelselect.ranking.notes import notes_of
from modelselect.ranking.ranking import Ranking
from modelselect.utils.text import escaped, latex_escaped

WORDS = ("candidate", "why", "status")
"""Columns of text, aligned left."""


def markdown(ranking: Ranking) -> str:
    """A Markdown table of the columns that hold a value; text from outside is escaped."""
    columns, rows = text_rows(ranking)
    return markdown_table(headings(ranking, columns), rows)


def latex(ranking: Ranking) -> str:
    """A LaTeX tabular (package booktabs) of the columns that hold a value; text from outside is escaped."""
    columns, rows = text_rows(ranking)
    lines = [
        rf"\begin{{tabular}}{{{''.join('l' if c in WORDS else 'r' for c in columns)}}}",
        r"\toprule",
        _latex_line(headings(ranking, columns)),
        r"\midrule",
        *map(_latex_line, rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def html_table(ranking: Ranking, answer: Sequence[str] = ()) -> str:
    """An HTML table with its notes and the answer below it, as a notebook shows it; text from outside is escaped."""
    columns, rows = text_rows(ranking)
    head = "".join(f"<th>{escape(name)}</th>" for name in headings(ranking, columns))
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    notes = "".join(f"<p>{escape(note)}</p>" for note in notes_of(ranking))
    for line in answer:
        tag = "pre" if line.startswith(" ") else "p"  # a command is in a line of its own
        notes += f"<{tag}>{escape(line.strip())}</{tag}>"
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div style="overflow-x: auto">{table}{notes}</div>'


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table of these cells, whose text is escaped."""
    lines = [
        "| " + " | ".join(escaped(heading(column)) for column in columns) + " |",
        "| " + " | ".join("---" if column in WORDS else "--:" for column in columns) + " |",
        *("| " + " | ".join(map(escaped, row)) + " |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join(map(latex_escaped, cells)) + r" \\"
