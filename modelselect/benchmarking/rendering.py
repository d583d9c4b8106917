"""The figures of a benchmark as text (terminal, Markdown, LaTeX, a web page, CSV, JSON), with verdict and notes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from modelselect.benchmarking.figures import FEWEST_FOR_AN_INTERVAL, METHOD, BenchmarkFigures, EstimatorRow, Figure
from modelselect.utils.text import UNKNOWN, escaped, latex_escaped, listed, printable
from modelselect.utils.versions import __version__

if TYPE_CHECKING:
    from rich.console import Group

FORMAT = "modelselect benchmark"
FORMAT_VERSION = 1

FEW_DATASETS = 5
"""With fewer datasets than these a note says that they are few."""

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


@dataclass(frozen=True, slots=True)
class _Cell:
    """The text of a cell, and a smaller text that follows it."""

    text: str
    small: str = ""

    @property
    def line(self) -> str:
        return f"{self.text} {self.small}".strip()


# --- the verdict -----------------------------------------------------------------------------------------------------


def verdicts(table: BenchmarkFigures) -> list[str]:
    """See `BenchmarkTable.sentences`."""
    methods = [row for row in table.rows if row.kind == METHOD]
    over = f"over {_count(len(table.datasets), 'dataset')} and {_count(len(table.benchmark.models), 'model')}"
    if not methods:
        return [f"No method has a figure {over}."]
    best = methods[0]
    mean = "mean " if len(table.datasets) > 1 else ""
    named = f"By {mean}{table.measure.label} {over}, the best method is {best.estimator} ({_value(table, best.mean)})"
    found = []
    if table.static is None:
        found.append(
            f"{named}. No static baseline has a score, so the table cannot say whether a method is worth its forward "
            "passes."
        )
    else:
        found.append(f"{named}, and the best static baseline is {table.static} ({_mean_of(table, table.static)}).")
        found += _against(table, methods, table.static, f"the static baseline {table.static}")
    if table.history is not None:
        found.append(f"The baseline from other datasets, {table.history}, reaches {_mean_of(table, table.history)}.")
        found += _against(table, methods, table.history, table.history)
    return found


def _against(table: BenchmarkFigures, methods: Sequence[EstimatorRow], baseline: str, called: str) -> Iterator[str]:
    compared = [(row.estimator, row.gains[baseline]) for row in methods if baseline in row.gains]
    losing = [name for name, gain in compared if gain.value <= 0]
    winning = [(name, gain) for name, gain in compared if gain.value > 0]
    open_ = [name for name, gain in winning if gain.interval is not None and gain.interval[0] <= 0]
    clear = [name for name, gain in winning if gain.interval is not None and gain.interval[0] > 0]
    in_the_mean = " in the mean" if len(table.datasets) > 1 else ""
    if not compared:
        yield f"No method scores two of the models that {called} scores."
    elif len(compared) == 1:
        yield f"The one method {'does not beat' if losing else 'beats'} {called}{in_the_mean}."
    elif not losing:
        yield f"Every one of {_count(len(compared), 'method')} beats {called}{in_the_mean}."
    else:
        some = f"{len(losing)} of {_count(len(compared), 'method')}"
        yield f"{some} {'does' if len(losing) == 1 else 'do'} not beat {called}: {listed(losing, len(losing))}."
    if open_:
        yield (
            f"{_count(len(open_), 'method')} {'is' if len(open_) == 1 else 'are'} better than {called}{in_the_mean}, "
            f"but the 95% interval of the difference contains 0: {listed(open_, len(open_))}."
        )
    if clear:
        yield f"Better than {called}, also by the 95% interval of the difference: {listed(clear, len(clear))}."


def remarks(table: BenchmarkFigures) -> list[str]:
    """The notes: what a reader must know of the figures."""
    found = []
    if table.resamples:
        found.append(
            f"In brackets: 95% bootstrap intervals from {table.resamples:,} resamples of the models and, for the mean, "
            f"of the datasets. A figure over fewer than {FEWEST_FOR_AN_INTERVAL} models has no interval."
        )
    if 1 < len(table.datasets) < FEW_DATASETS:
        found.append(f"{len(table.datasets)} datasets are few: the intervals of the means are probably too narrow.")
    if any(figure.n < figure.of for row in table.rows for figure in (*row.figures.values(), row.mean)):
        found.append("5/9 after a figure means that the figure covers five of nine models (a mean: of nine datasets).")
    if table.measure.points:
        found.append("Figures are points of accuracy; lower is better.")
    if any(row.seconds is not None for row in table.rows):
        forward = table.evidence_seconds
        also = "" if forward is None else f", without the forward pass, which took {_seconds(forward)} s"
        found.append(
            f"Seconds are the mean time for one model and dataset when first computed{also}. Work that estimators "
            "share counts for the first of them."
        )
    lacking: dict[str, list[str]] = {}
    for row in table.rows:
        reasons = _reasons(table, row.estimator)
        if reasons:
            said = f"{_count(len(reasons), 'score')}, the first because: {_bare(reasons[0], row.estimator)}"
            lacking.setdefault(said, []).append(row.estimator)
    for said, names in lacking.items():
        found.append(f"{listed(names, len(names))} {'lacks' if len(names) == 1 else 'lack'} {said}")
    absent: dict[str, list[str]] = {}
    for name, reason in table.absent.items():
        absent.setdefault(_bare(reason, name), []).append(name)
    found += [f"Not in the table: {listed(names, len(names))}: {reason}" for reason, names in absent.items()]
    return [*found, *table.notes]


def _reasons(table: BenchmarkFigures, estimator: str) -> list[str]:
    by_dataset = table.benchmark.failures.get(estimator, {})
    return [failure.reason for by_model in by_dataset.values() for failure in by_model.values()]


def _bare(reason: str, estimator: str) -> str:
    """The reason without the estimator's name in front, so that one note can list all estimators with this reason."""
    return reason.removeprefix(f"{estimator} ")


# --- cells -----------------------------------------------------------------------------------------------------------


def _title(table: BenchmarkFigures) -> str:
    return f"Agreement of score and accuracy: {table.measure.label}"


def _columns(table: BenchmarkFigures) -> list[str]:
    several = len(table.datasets) > 1
    timed = any(row.seconds is not None for row in table.rows)
    gains = [f"over {baseline}" for baseline in (table.static, table.history) if baseline is not None]
    return ["estimator", *table.datasets, *(["mean"] if several else []), *gains, *(["seconds"] if timed else [])]


def _cells(table: BenchmarkFigures, row: EstimatorRow, intervals: bool) -> list[_Cell]:
    several = len(table.datasets) > 1
    cells = [_Cell(row.estimator if row.kind == METHOD else f"{row.estimator} (baseline)")]
    cells += [_cell(table, row.figures.get(dataset), intervals) for dataset in table.datasets]
    if several:
        cells.append(_cell(table, row.mean))
    cells += [
        _cell(table, row.gains.get(baseline), signed=True)
        for baseline in (table.static, table.history)
        if baseline is not None
    ]
    if any(other.seconds is not None for other in table.rows):
        cells.append(_Cell(UNKNOWN if row.seconds is None else _seconds(row.seconds)))
    return cells


def _cell(table: BenchmarkFigures, figure: Figure | None, intervals: bool = True, signed: bool = False) -> _Cell:
    if figure is None:
        return _Cell(UNKNOWN)
    small = []
    if intervals and figure.interval is not None:
        low, high = (_number(table, end) for end in figure.interval)
        small.append(f"[{low}, {high}]")
    if figure.n < figure.of and not signed:
        small.append(f"{figure.n}/{figure.of}")
    text = _number(table, figure.value)
    return _Cell(f"+{text}" if signed and figure.value > 0 else text, " ".join(small))


def _number(table: BenchmarkFigures, value: float) -> str:
    text = f"{100 * value:.1f}" if table.measure.points else f"{value:.2f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _value(table: BenchmarkFigures, figure: Figure) -> str:
    return _cell(table, figure).line


def _mean_of(table: BenchmarkFigures, name: str) -> str:
    return _value(table, next(row.mean for row in table.rows if row.estimator == name))


def _seconds(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _parts(table: BenchmarkFigures) -> list[list[EstimatorRow]]:
    """Methods, and baselines: the two parts that a rule separates."""
    parts = [[row for row in table.rows if (row.kind == METHOD) == is_method] for is_method in (True, False)]
    return [part for part in parts if part]


# --- forms -----------------------------------------------------------------------------------------------------------


def terminal(table: BenchmarkFigures, intervals: bool) -> Group:
    """See `BenchmarkTable.to_rich`."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    drawn = Table(header_style="bold", title=Text(_title(table)), title_justify="left")
    for index, column in enumerate(_columns(table)):
        drawn.add_column(Text(printable(column)), justify="right" if index else "left", no_wrap=index == 0)
    for part in _parts(table):
        for row in part:
            texts = []
            for cell in _cells(table, row, intervals):
                texts.append(Text(printable(cell.text)))
                if cell.small:
                    texts[-1].append(f"\n{cell.small}", style="dim")
            drawn.add_row(*texts)
        drawn.add_section()
    said = [Text(printable(text)) for text in verdicts(table)]
    noted = [Text(printable(text), style="dim") for text in remarks(table)]
    return Group(drawn, *said, *noted)


def width(table: BenchmarkFigures) -> int:
    """Fewest characters of a terminal's line that show all intervals."""
    rows = [_cells(table, row, True) for row in table.rows]
    columns = zip(*rows, strict=True)
    return sum(3 + max(max(len(c.text), len(c.small)) for c in column) for column in columns) + 1


def markdown(table: BenchmarkFigures, intervals: bool) -> str:
    """See `BenchmarkTable.to_markdown`."""
    columns = _columns(table)
    lines: list[Iterable[str]] = [map(escaped, columns), ["---", *["--:"] * (len(columns) - 1)]]
    lines += [map(escaped, (c.line for c in _cells(table, row, intervals))) for part in _parts(table) for row in part]
    paragraphs = ["\n".join(f"| {' | '.join(cells)} |" for cells in lines)]
    for sentences in (verdicts(table), remarks(table)):
        if sentences:
            paragraphs.append("\n".join(f"- {escaped(text)}" for text in sentences))
    return "\n\n".join(paragraphs) + "\n"


def latex(table: BenchmarkFigures, intervals: bool) -> str:
    """See `BenchmarkTable.to_latex`."""
    columns = _columns(table)
    lines = [f"% {printable(text)}" for text in (*verdicts(table), *remarks(table))]
    lines += [
        rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
        r"\toprule",
        " & ".join(map(latex_escaped, columns)) + r" \\",
    ]
    for part in _parts(table):
        lines.append(r"\midrule")
        for row in part:
            cells = _cells(table, row, intervals)
            lines.append(" & ".join(_latex_cell(cell) for cell in cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _latex_cell(cell: _Cell) -> str:
    small = rf" {{\scriptsize {latex_escaped(cell.small)}}}" if cell.small else ""
    return latex_escaped(cell.text) + small


def page(table: BenchmarkFigures, intervals: bool) -> str:
    """See `BenchmarkTable.to_html`."""
    title = escape(_title(table))
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
    """The table, verdict and notes as a part of a page."""
    head = "".join(f"<th>{_html(column)}</th>" for column in _columns(table))
    bodies = ""
    for part in _parts(table):
        rows = ""
        for row in part:
            cells = "".join(
                f"<td>{_html(cell.text)}{f'<small>{_html(cell.small)}</small>' if cell.small else ''}</td>"
                for cell in _cells(table, row, intervals)
            )
            rows += f"<tr>{cells}</tr>\n"
        bodies += f"<tbody>\n{rows}</tbody>\n"
    said = "".join(f"<p>{_html(text)}</p>\n" for text in verdicts(table))
    noted = "".join(f"<li>{_html(text)}</li>\n" for text in remarks(table))
    return (
        f'{said}<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n{bodies}</table></div>\n<ul>\n{noted}</ul>'
    )


def _html(text: str) -> str:
    return escape(printable(text))


def comma_separated(table: BenchmarkFigures) -> str:
    """See `BenchmarkTable.to_csv`."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(["estimator", "kind", "dataset", "value", "low", "high", "n", "of"])
    for row in table.rows:
        for dataset, figure in (*row.figures.items(), ("", row.mean)):
            low, high = figure.interval or ("", "")
            writer.writerow([row.estimator, row.kind, dataset, figure.value, low, high, figure.n, figure.of])
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
        "truth": benchmark.truth,
        "scores": benchmark.scores,
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
