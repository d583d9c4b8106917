"""The figures of a benchmark as text (terminal, Markdown, LaTeX, a web page, CSV, JSON), with verdict and notes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING, Any, TypeAlias

from modelselect.benchmarking.cells import Cell, cells_of, headings, parts_of, title_of
from modelselect.benchmarking.figures import BenchmarkFigures, Figure
from modelselect.benchmarking.sections import sections
from modelselect.benchmarking.verdict import remarks, verdicts
from modelselect.utils.text import csv_cell, escaped, latex_escaped, printable
from modelselect.utils.versions import __version__

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

FORMAT = "modelselect benchmark"
FORMAT_VERSION = 1

Parts: TypeAlias = Sequence[Sequence[Sequence[Cell]]]
"""Rows of cells, in parts that a rule separates."""

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
:root { color-scheme: light dark; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: Canvas; }
thead th { border-bottom: 2px solid; border-top: 2px solid; }
tbody + tbody td { border-top: 1px solid; }
tbody + tbody tr + tr td { border-top: 0; }
tbody:last-child tr:last-child td { border-bottom: 2px solid; }
small { opacity: .7; display: block; }
"""


def terminal(table: BenchmarkFigures, intervals: bool, detail: bool) -> Group:
    """See `BenchmarkTable.to_rich`."""
    from rich.console import Group
    from rich.text import Text

    drawn = _rich_table(headings(table), _parts(table, intervals))
    drawn.title, drawn.title_justify = Text(title_of(table)), "left"
    said = [Text(printable(text)) for text in verdicts(table)]
    noted = [Text(printable(text), style="dim") for text in remarks(table)]
    further: list[Any] = []
    for section in sections(table, detail):
        further.append(Text(f"\n{printable(section.title)}", style="bold"))
        further.append(_rich_table(section.headings, [section.rows]))
        further.append(Text(printable(section.note), style="dim"))
    return Group(drawn, *said, *noted, *further)


def _rich_table(columns: Sequence[str], parts: Parts) -> Table:
    from rich.table import Table
    from rich.text import Text

    drawn = Table(header_style="bold")
    for index, column in enumerate(columns):
        drawn.add_column(Text(printable(column)), justify="right" if index else "left", no_wrap=index == 0)
    for part in parts:
        for row in part:
            texts = []
            for cell in row:
                texts.append(Text(printable(cell.text)))
                if cell.small:
                    texts[-1].append(f"\n{cell.small}", style="dim")
            drawn.add_row(*texts)
        drawn.add_section()
    return drawn


def width(table: BenchmarkFigures) -> int:
    """Fewest characters of a terminal's line that show all intervals."""
    rows = [cells_of(table, row, True) for row in table.rows]
    columns = zip(*rows, strict=True)
    return sum(3 + max(max(len(c.text), len(c.small)) for c in column) for column in columns) + 1


def markdown(table: BenchmarkFigures, intervals: bool, detail: bool) -> str:
    """See `BenchmarkTable.to_markdown`."""
    paragraphs = [_markdown_table(headings(table), _parts(table, intervals))]
    for sentences in (verdicts(table), remarks(table)):
        if sentences:
            paragraphs.append("\n".join(f"- {escaped(text)}" for text in sentences))
    for section in sections(table, detail):
        paragraphs.append(f"### {escaped(section.title)}")
        paragraphs += [_markdown_table(section.headings, [section.rows]), escaped(section.note)]
    return "\n\n".join(paragraphs) + "\n"


def _markdown_table(columns: Sequence[str], parts: Parts) -> str:
    lines: list[Iterable[str]] = [map(escaped, columns), ["---", *["--:"] * (len(columns) - 1)]]
    lines += [map(escaped, (cell.line for cell in row)) for part in parts for row in part]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def latex(table: BenchmarkFigures, intervals: bool, detail: bool) -> str:
    """See `BenchmarkTable.to_latex`."""
    lines = [f"% {printable(text)}" for text in (*verdicts(table), *remarks(table))]
    lines += _latex_table(headings(table), _parts(table, intervals))
    for section in sections(table, detail):
        lines += ["", f"% {printable(section.title)}. {printable(section.note)}"]
        lines += _latex_table(section.headings, [section.rows])
    return "\n".join(lines) + "\n"


def _latex_table(columns: Sequence[str], parts: Parts) -> list[str]:
    lines = [
        rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
        r"\toprule",
        " & ".join(map(latex_escaped, columns)) + r" \\",
    ]
    for part in parts:
        lines.append(r"\midrule")
        lines += [" & ".join(map(_latex_cell, row)) + r" \\" for row in part]
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _latex_cell(cell: Cell) -> str:
    small = rf" {{\scriptsize {latex_escaped(cell.small)}}}" if cell.small else ""
    return latex_escaped(cell.text) + small


def page(table: BenchmarkFigures, intervals: bool) -> str:
    """See `BenchmarkTable.to_html`."""
    title = escape(title_of(table))
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f"{fragment(table, intervals)}\n<footer><small>modelselect {escape(__version__)}</small></footer>\n"
        "</body>\n</html>\n"
    )


def fragment(table: BenchmarkFigures, intervals: bool) -> str:
    """The table, verdict, notes and details as a part of a page. The details of all estimators are there, folded."""
    said = "".join(f"<p>{_html(text)}</p>\n" for text in verdicts(table))
    noted = "".join(f"<li>{_html(text)}</li>\n" for text in remarks(table))
    further = "".join(
        f"<details><summary>{_html(section.title)}</summary>\n<p>{_html(section.note)}</p>\n"
        f"{_html_table(section.headings, [section.rows])}\n</details>\n"
        for section in sections(table, detail=True, most=None)
    )
    drawn = _html_table(headings(table), _parts(table, intervals))
    return f"{said}{drawn}\n<ul>\n{noted}</ul>\n{further}"


def _html_table(columns: Sequence[str], parts: Parts) -> str:
    head = "".join(f"<th>{_html(column)}</th>" for column in columns)
    bodies = ""
    for part in parts:
        rows = ""
        for row in part:
            cells = "".join(
                f"<td>{_html(cell.text)}{f'<small>{_html(cell.small)}</small>' if cell.small else ''}</td>"
                for cell in row
            )
            rows += f"<tr>{cells}</tr>\n"
        bodies += f"<tbody>\n{rows}</tbody>\n"
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n{bodies}</table></div>'


def _html(text: str) -> str:
    return escape(printable(text))


def _parts(table: BenchmarkFigures, intervals: bool) -> Parts:
    """The rows of the papers' table, in its parts."""
    return [[cells_of(table, row, intervals) for row in part] for part in parts_of(table)]


def comma_separated(table: BenchmarkFigures) -> str:
    """See `BenchmarkTable.to_csv`."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(["estimator", "kind", "dataset", "value", "low", "high", "n", "of"])
    for row in table.rows:
        for dataset, figure in (*row.figures.items(), ("", row.mean)):
            low, high = figure.interval or ("", "")
            texts = map(csv_cell, (row.estimator, row.kind, dataset))
            writer.writerow([*texts, figure.value, low, high, figure.n, figure.of])
    return written.getvalue()


def document(table: BenchmarkFigures) -> str:
    """See `BenchmarkTable.to_json`."""
    benchmark = table.benchmark
    content = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "measure": table.measure.name,
        "resamples": table.resamples,
        "verdict": verdicts(table),
        "notes": remarks(table),
        "best_static_baseline": table.static,
        "reference": table.reference,
        "rows": [
            {
                "estimator": row.estimator,
                "kind": row.kind,
                "mean": _plain(row.mean),
                "figures": {dataset: _plain(figure) for dataset, figure in row.figures.items()},
                "gains": {baseline: _plain(figure) for baseline, figure in row.gains.items()},
                "seconds": row.seconds,
            }
            for row in table.rows
        ],
        "protocol": asdict(table.protocol),
        "truth": benchmark.truth,
        "runs": benchmark.runs,
        "test_rows": benchmark.test_rows,
        "parameters": benchmark.parameters,
        "families": benchmark.families,
        "scores": benchmark.scores,
        "sweep": [
            {"draw": asdict(repeat.draw), "rows": repeat.rows, "scores": repeat.scores} for repeat in benchmark.sweep
        ],
        "failures": {
            estimator: {d: {m: asdict(f) for m, f in by_model.items()} for d, by_model in by_dataset.items()}
            for estimator, by_dataset in benchmark.failures.items()
        },
        "evidence_seconds": benchmark.evidence_seconds,
        "provenance": dict(benchmark.provenance),
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, default=str) + "\n"


def _plain(figure: Figure) -> dict[str, Any]:
    return {"value": figure.value, "interval": figure.interval, "n": figure.n, "of": figure.of}
