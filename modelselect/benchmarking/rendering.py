"""A benchmark's table as text: for the terminal, Markdown, LaTeX, a web page, CSV and JSON, with its verdict."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import TYPE_CHECKING

from modelselect.benchmarking.figures import METHOD, BenchmarkTable, EstimatorRow, Figure, plain_figure
from modelselect.utils.text import UNKNOWN, escaped, latex_escaped, listed, printable

if TYPE_CHECKING:
    from rich.console import Group

FORMAT = "modelselect benchmark"
FORMAT_VERSION = 1

FEW_DATASETS = 5
"""Fewer than these are named as few."""

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
    """What stands in a cell: a figure, and what is smaller beside or below it."""

    text: str
    small: str = ""

    @property
    def line(self) -> str:
        return f"{self.text} {self.small}".strip()


# --- the verdict -----------------------------------------------------------------------------------------------------


def verdicts(table: BenchmarkTable) -> list[str]:
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
            f"{named}. No static baseline has a score here, so that the table cannot say whether a method is worth its "
            "forward passes."
        )
    else:
        found.append(f"{named}, and the best static baseline is {table.static} ({_mean_of(table, table.static)}).")
        found += _against(table, methods, table.static, f"the static baseline {table.static}")
    if table.history is not None:
        found.append(f"What is known of other datasets, {table.history}, reaches {_mean_of(table, table.history)}.")
        found += _against(table, methods, table.history, table.history)
    return found


def _against(table: BenchmarkTable, methods: Sequence[EstimatorRow], baseline: str, called: str) -> Iterator[str]:
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
            f"{_count(len(open_), 'method')} {'is' if len(open_) == 1 else 'are'} better{in_the_mean}, but cannot be "
            f"told apart from it, as the 95% interval of the difference holds 0: {listed(open_, len(open_))}."
        )
    if clear:
        yield f"Better than it by the interval of the difference, too: {listed(clear, len(clear))}."


def remarks(table: BenchmarkTable) -> list[str]:
    """What a reader must know of the figures."""
    found = []
    if table.resamples:
        found.append(
            f"In brackets: 95% bootstrap intervals of {table.resamples:,} resamples, of models, and for the mean of "
            "datasets, too; none where a figure is over fewer than five models."
        )
    if 1 < len(table.datasets) < FEW_DATASETS:
        found.append(f"{len(table.datasets)} datasets are few: the intervals of means are rather too narrow.")
    if any(figure.n < figure.of for row in table.rows for figure in (*row.figures.values(), row.mean)):
        found.append("A figure over fewer models (a mean: datasets) than there are says over how many: 5/9.")
    if table.measure.points:
        found.append("Figures are points of accuracy; lower is better.")
    if any(row.seconds is not None for row in table.rows):
        forward = table.evidence_seconds
        also = "" if forward is None else f", without the forward pass, which took {_seconds(forward)} s"
        found.append(
            f"Seconds are for one model and dataset, in the mean, when first computed{also}; what estimators share is "
            "counted for the first that asks."
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


def _reasons(table: BenchmarkTable, estimator: str) -> list[str]:
    by_dataset = table.benchmark.failures.get(estimator, {})
    return [failure.reason for by_model in by_dataset.values() for failure in by_model.values()]


def _bare(reason: str, estimator: str) -> str:
    """Without the estimator's name in front, so that what is said of several is said once."""
    return reason.removeprefix(f"{estimator} ")


# --- cells -----------------------------------------------------------------------------------------------------------


def _title(table: BenchmarkTable) -> str:
    return f"Agreement of score and accuracy: {table.measure.label}"


def _columns(table: BenchmarkTable) -> list[str]:
    several = len(table.datasets) > 1
    timed = any(row.seconds is not None for row in table.rows)
    gains = [f"over {baseline}" for baseline in (table.static, table.history) if baseline is not None]
    return ["estimator", *table.datasets, *(["mean"] if several else []), *gains, *(["seconds"] if timed else [])]


def _cells(table: BenchmarkTable, row: EstimatorRow, intervals: bool) -> list[_Cell]:
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


def _cell(table: BenchmarkTable, figure: Figure | None, intervals: bool = True, signed: bool = False) -> _Cell:
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


def _number(table: BenchmarkTable, value: float) -> str:
    text = f"{100 * value:.1f}" if table.measure.points else f"{value:.2f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _value(table: BenchmarkTable, figure: Figure) -> str:
    return _cell(table, figure).line


def _mean_of(table: BenchmarkTable, name: str) -> str:
    return _value(table, next(row.mean for row in table.rows if row.estimator == name))


def _seconds(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _parts(table: BenchmarkTable) -> list[list[EstimatorRow]]:
    """Methods, and baselines: what a rule stands between."""
    parts = [[row for row in table.rows if (row.kind == METHOD) == is_method] for is_method in (True, False)]
    return [part for part in parts if part]


# --- forms -----------------------------------------------------------------------------------------------------------


def terminal(table: BenchmarkTable, intervals: bool) -> Group:
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


def width(table: BenchmarkTable) -> int:
    """Characters that a terminal must have for all intervals, at least."""
    rows = [_cells(table, row, True) for row in table.rows]
    columns = zip(*rows, strict=True)
    return sum(3 + max(max(len(c.text), len(c.small)) for c in column) for column in columns) + 1


def markdown(table: BenchmarkTable, intervals: bool) -> str:
    """See `BenchmarkTable.to_markdown`."""
    columns = _columns(table)
    lines: list[Iterable[str]] = [map(escaped, columns), ["---", *["--:"] * (len(columns) - 1)]]
    lines += [map(escaped, (c.line for c in _cells(table, row, intervals))) for part in _parts(table) for row in part]
    paragraphs = ["\n".join(f"| {' | '.join(cells)} |" for cells in lines)]
    for told in (verdicts(table), remarks(table)):
        if told:
            paragraphs.append("\n".join(f"- {escaped(text)}" for text in told))
    return "\n\n".join(paragraphs) + "\n"


def latex(table: BenchmarkTable, intervals: bool) -> str:
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


def page(table: BenchmarkTable, intervals: bool) -> str:
    """See `BenchmarkTable.to_html`."""
    from modelselect.utils.versions import __version__

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


def fragment(table: BenchmarkTable, intervals: bool) -> str:
    """The table and what there is to say, as a part of a page."""
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


def comma_separated(table: BenchmarkTable) -> str:
    """See `BenchmarkTable.to_csv`."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(["estimator", "kind", "dataset", "value", "low", "high", "n", "of"])
    for row in table.rows:
        for dataset, figure in (*row.figures.items(), ("", row.mean)):
            low, high = figure.interval or ("", "")
            writer.writerow([row.estimator, row.kind, dataset, figure.value, low, high, figure.n, figure.of])
    return written.getvalue()


def document(table: BenchmarkTable) -> str:
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
                "mean": plain_figure(row.mean),
                "figures": {dataset: plain_figure(figure) for dataset, figure in row.figures.items()},
                "gains": {baseline: plain_figure(figure) for baseline, figure in row.gains.items()},
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
