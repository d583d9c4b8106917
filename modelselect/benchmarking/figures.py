"""The figures of a benchmark table, as data."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from modelselect.benchmarking.measures import Measure
from modelselect.benchmarking.table import check_suffix
from modelselect.store.files import write_text
from modelselect.utils.text import PLAIN_WIDTH

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, Group

    from modelselect.benchmarking.results import Benchmark

Kind = Literal["method", "static", "history"]
METHOD: Kind = "method"
STATIC: Kind = "static"
"""A baseline that looks at metadata alone."""
HISTORY: Kind = "history"
"""A baseline that remembers how the models did on the other datasets."""

CONFIDENCE = 0.95

FEWEST_FOR_A_FIGURE = 2
"""Models: with one there is nothing to order."""

FEWEST_FOR_AN_INTERVAL = 5
"""Models: of fewer, resamples are much alike, and an interval would pretend to know."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and its 95% bootstrap interval.

    Attributes:
        value: the figure.
        interval: None where it was not asked for, or where there is too little to tell.
        n: models that it is over; datasets, for a mean.
        of: those with a known accuracy; all datasets, for a mean. Where `n` is smaller, some have no score.
    """

    value: float
    interval: tuple[float, float] | None
    n: int
    of: int


@dataclass(frozen=True, slots=True)
class EstimatorRow:
    """One estimator in the table.

    Attributes:
        estimator: its name.
        kind: `"method"`, `"static"` (a static baseline) or `"history"` (the mean rank on the other datasets).
        figures: by dataset; a dataset on which it scored fewer than two models is not there.
        mean: over the datasets.
        gains: by baseline, how much better than it, in the mean over datasets, among the models that both score;
            above 0 is better, whatever the measure.
        seconds: for one model, in the mean, without the forward pass; None where it is not known.
    """

    estimator: str
    kind: Kind
    figures: Mapping[str, Figure]
    mean: Figure
    gains: Mapping[str, Figure]
    seconds: float | None


@dataclass(frozen=True)
class BenchmarkTable:
    """What `Benchmark.table` gives: rows in order, best first, baselines last.

    Attributes:
        rows: of estimators with a figure.
        datasets: columns.
        measure: what the figures are.
        resamples: of the bootstrap.
        static: the best static baseline by mean, of those that score half of the models or more if there is one; None
            if there is none.
        history: the mean rank on the other datasets; None with fewer than three datasets.
        absent: of the estimators without any figure, why.
        evidence_seconds: the forward pass's time for one model and dataset.
        notes: what a reader must know besides.
        benchmark: what it was made of.
    """

    rows: tuple[EstimatorRow, ...]
    datasets: tuple[str, ...]
    measure: Measure
    resamples: int
    static: str | None
    history: str | None
    absent: Mapping[str, str]
    evidence_seconds: float | None
    notes: tuple[str, ...]
    benchmark: Benchmark

    def sentences(self) -> list[str]:
        """In plain words: which methods do not beat the baselines, and which cannot be told apart from them."""
        from modelselect.benchmarking.rendering import verdicts

        return verdicts(self)

    def to_rich(self, intervals: bool = True) -> Group:
        """What Rich prints: the table, and what there is to say. Intervals: also those of single datasets."""
        from modelselect.benchmarking.rendering import terminal

        return terminal(self, intervals)

    def to_text(self, intervals: bool = True) -> str:
        """The table as a terminal shows it, with what there is to say below."""
        from rich.console import Console

        console = Console(file=io.StringIO(), width=PLAIN_WIDTH, color_system=None)
        console.print(self.to_rich(intervals))
        return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]

    def to_markdown(self, intervals: bool = True) -> str:
        """A Markdown table, the verdict and notes below; text from outside is escaped."""
        from modelselect.benchmarking.rendering import markdown

        return markdown(self, intervals)

    def to_latex(self, intervals: bool = True) -> str:
        """A LaTeX tabular (package booktabs), the verdict as a comment above; text from outside is escaped."""
        from modelselect.benchmarking.rendering import latex

        return latex(self, intervals)

    def to_html(self, intervals: bool = True) -> str:
        """A web page in one file that asks nothing of any host; text from outside is escaped."""
        from modelselect.benchmarking.rendering import page

        return page(self, intervals)

    def to_csv(self) -> str:
        """Every figure on a line: estimator, kind, dataset (empty for the mean), value, low, high, n, of."""
        from modelselect.benchmarking.rendering import comma_separated

        return comma_separated(self)

    def to_json(self) -> str:
        """Everything: figures, intervals, verdict, scores, truth, failures and provenance."""
        from modelselect.benchmarking.rendering import document

        return document(self)

    def save(self, path: str | os.PathLike[str], *, intervals: bool = True) -> None:
        """Writes the table as the file's name ends: .md, .tex, .html, .csv, .json or .txt.

        Raises:
            InvalidInputError: it ends otherwise, or cannot be written.
        """
        suffix = check_suffix(path)
        if suffix == ".csv":
            text = self.to_csv()
        elif suffix == ".json":
            text = self.to_json()
        else:
            forms = {".md": self.to_markdown, ".tex": self.to_latex, ".html": self.to_html, ".txt": self.to_text}
            text = forms[suffix](intervals)
        write_text(path, text)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Group]:
        from modelselect.benchmarking.rendering import width

        yield self.to_rich(intervals=width(self) <= options.max_width)

    def __str__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        from modelselect.benchmarking.rendering import fragment

        return fragment(self, intervals=True)


def plain_figure(figure: Figure | None) -> dict[str, Any] | None:
    """As JSON has it."""
    if figure is None:
        return None
    return {"value": figure.value, "interval": figure.interval, "n": figure.n, "of": figure.of}
