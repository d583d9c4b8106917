"""The figures of a benchmark as texts of cells, numbers and names."""

from __future__ import annotations

from dataclasses import dataclass

from modelselect.benchmarking.figures import METHOD, BenchmarkFigures, EstimatorRow, Figure
from modelselect.utils.text import UNKNOWN


@dataclass(frozen=True, slots=True)
class Cell:
    """The text of a cell, and a smaller text that follows it."""

    text: str
    small: str = ""

    @property
    def line(self) -> str:
        return f"{self.text} {self.small}".strip()


def title_of(table: BenchmarkFigures) -> str:
    return f"Agreement of score and accuracy: {table.measure.label}"


def headings(table: BenchmarkFigures) -> list[str]:
    several = len(table.datasets) > 1
    timed = any(row.seconds is not None for row in table.rows)
    gains = [f"over {baseline}" for baseline in (table.static, table.history) if baseline is not None]
    return ["estimator", *table.datasets, *(["mean"] if several else []), *gains, *(["seconds"] if timed else [])]


def cells_of(table: BenchmarkFigures, row: EstimatorRow, intervals: bool) -> list[Cell]:
    several = len(table.datasets) > 1
    cells = [Cell(row.estimator if row.kind == METHOD else f"{row.estimator} (baseline)")]
    cells += [cell_of(table, row.figures.get(dataset), intervals) for dataset in table.datasets]
    if several:
        cells.append(cell_of(table, row.mean))
    cells += [
        cell_of(table, row.gains.get(baseline), signed=True)
        for baseline in (table.static, table.history)
        if baseline is not None
    ]
    if any(other.seconds is not None for other in table.rows):
        cells.append(Cell(UNKNOWN if row.seconds is None else seconds_text(row.seconds)))
    return cells


def cell_of(table: BenchmarkFigures, figure: Figure | None, intervals: bool = True, signed: bool = False) -> Cell:
    if figure is None:
        return Cell(UNKNOWN)
    small = []
    if intervals and figure.interval is not None:
        low, high = (number_text(table, end) for end in figure.interval)
        small.append(f"[{low}, {high}]")
    if figure.n < figure.of and not signed:
        small.append(f"{figure.n}/{figure.of}")
    text = number_text(table, figure.value)
    return Cell(f"+{text}" if signed and figure.value > 0 else text, " ".join(small))


def number_text(table: BenchmarkFigures, value: float) -> str:
    text = f"{100 * value:.1f}" if table.measure.points else f"{value:.2f}"
    return text.removeprefix("-") if float(text) == 0 else text


def value_of(table: BenchmarkFigures, figure: Figure) -> str:
    return cell_of(table, figure).line


def mean_of(table: BenchmarkFigures, name: str) -> str:
    return value_of(table, next(row.mean for row in table.rows if row.estimator == name))


def seconds_text(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def parts_of(table: BenchmarkFigures) -> list[list[EstimatorRow]]:
    """Methods, and baselines: the two parts that a rule separates."""
    parts = [[row for row in table.rows if (row.kind == METHOD) == is_method] for is_method in (True, False)]
    return [part for part in parts if part]
