"""The details of a benchmark: tables of what it says beyond its figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelselect.benchmarking.cells import Cell, cell_of, number_text
from modelselect.benchmarking.figures import METHOD, BenchmarkFigures
from modelselect.benchmarking.protocol import SEEDS
from modelselect.utils.text import UNKNOWN, counted

SHOWN = 6
"""Methods in a table with a column for each estimator, where the width is limited; baselines are always shown."""


@dataclass(frozen=True, slots=True)
class Section:
    """One table of the details.

    Attributes:
        title: its heading.
        headings: of the columns.
        rows: its cells.
        note: how to read it.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str


def sections(table: BenchmarkFigures, detail: bool, most: int | None = SHOWN) -> list[Section]:
    """The tables of the details.

    Args:
        table: the figures.
        detail: whether all of them are wanted, or only those of the further probes that the user asked for.
        most: number of methods in tables with a column for each estimator; None for all.
    """
    found = [_sweep(table)] if table.protocol.sweep else []
    if detail and table.rows:
        found.append(_truth(table))
        if table.reference is not None:
            found.append(_differences(table, table.reference))
        names = _shown(table, most)
        if len(names) > 1:
            found.append(_win_rates(table, names))
        found.append(_ablations(table, names))
    return found


def _shown(table: BenchmarkFigures, most: int | None) -> list[str]:
    methods = [row.estimator for row in table.rows if row.kind == METHOD]
    kept = {*methods[:most], *(row.estimator for row in table.rows if row.kind != METHOD), table.reference}
    return [row.estimator for row in table.rows if row.estimator in kept]


def _sweep(table: BenchmarkFigures) -> Section:
    sweep = table.protocol.sweep
    seeds = max(repeated.seeds for by_name in sweep.values() for repeated in by_name.values())

    def cell(label: str, name: str) -> Cell:
        repeated = sweep[label].get(name)
        if repeated is None:
            return Cell(UNKNOWN)
        spread = "" if repeated.deviation is None else f"± {number_text(table, repeated.deviation)}"
        return Cell(number_text(table, repeated.mean), spread)

    names = [row.estimator for row in table.rows if any(row.estimator in by_name for by_name in sweep.values())]
    return Section(
        "Probes of several sizes",
        ("estimator", *sweep),
        tuple((Cell(name), *(cell(label, name) for label in sweep)) for name in names),
        f"Mean {table.measure.label} over the datasets, from {counted(seeds, 'draw')} of each probe"
        + (", with the standard deviation between the draws." if seeds > 1 else ".")
        + " The truth is the same for all draws. A dataset with fewer rows is shown whole.",
    )


def _truth(table: BenchmarkFigures) -> Section:
    alike, ceiling = table.protocol.dispersion, table.protocol.ceiling

    def of(dataset: str) -> tuple[Cell, ...]:
        common = alike.by_dataset.get(dataset)
        cells = [
            Cell(dataset),
            Cell(UNKNOWN if common is None else f"{common:.2f}"),
            Cell(alike.winners.get(dataset, UNKNOWN)),
        ]
        if ceiling is not None:
            known = ceiling.by_dataset.get(dataset)
            source = ceiling.sources.get(dataset, "")
            cells.append(Cell(UNKNOWN) if known is None else Cell(number_text(table, known), f"by {source}"))
        return tuple(cells)

    note = "Agreement with the others is the mean weighted Kendall of the accuracies here and on another dataset."
    if ceiling is not None:
        by_seeds = "fine-tuned with another seed" if SEEDS in ceiling.sources.values() else "on other test rows"
        note += f" A second truth is one of the same models, {by_seeds}; the figure is the {table.measure.label}."
    return Section(
        "The truth itself",
        ("dataset", "with the others", "best model", *(() if ceiling is None else ("with a second truth",))),
        tuple(map(of, table.datasets)),
        note,
    )


def _differences(table: BenchmarkFigures, reference: str) -> Section:
    rows = sorted((row for row in table.rows if reference in row.gains), key=lambda row: -row.gains[reference].value)
    return Section(
        f"Differences from {reference}",
        ("estimator", "difference"),
        tuple((Cell(row.estimator), cell_of(table, row.gains[reference], signed=True)) for row in rows),
        f"Mean over the datasets of how much better the {table.measure.label} is, over the models that both score. In "
        "brackets: 95% intervals of the paired difference; models and datasets are drawn.",
    )


def _win_rates(table: BenchmarkFigures, names: Sequence[str]) -> Section:
    wins = table.protocol.win_rates

    def cell(first: str, second: str) -> Cell:
        share = wins.rates.get(first, {}).get(second)
        return Cell("" if first == second else UNKNOWN if share is None else f"{share:.0%}")

    return Section(
        "Win rates",
        ("estimator", *names),
        tuple((Cell(first), *(cell(first, second) for second in names)) for first in names),
        f"Share of the draws in which the row's {table.measure.label} is better than the column's; a tie counts half. "
        f"{wins.draws} random sub-pools of {counted(wins.size, 'model')}, on every dataset, seed {wins.seed}.",
    )


def _ablations(table: BenchmarkFigures, names: Sequence[str]) -> Section:
    def cell(means: float | None) -> Cell:
        return Cell(UNKNOWN if means is None else number_text(table, means))

    parts = table.protocol.ablations
    return Section(
        "Parts of the pool",
        ("models", "number", *names),
        tuple(
            (Cell(part.label), Cell(f"{part.models}"), *(cell(part.means.get(name)) for name in names))
            for part in parts
        ),
        f"Mean {table.measure.label} over the datasets. Thirds are by number of parameters."
        + ("" if len(parts) > 1 else " Neither the parameters nor the families of the models are known."),
    )
