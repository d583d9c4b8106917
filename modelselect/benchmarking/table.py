"""`BenchmarkTable`: the figures of a benchmark, with all the forms in which they are shown and written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from modelselect.benchmarking import rendering
from modelselect.benchmarking.figures import BenchmarkFigures
from modelselect.benchmarking.verdict import verdicts
from modelselect.errors import InvalidInputError
from modelselect.store.files import write_text
from modelselect.utils.text import WIDEST, interactive_text, plain_text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, Group

SUFFIXES = (".md", ".tex", ".html", ".csv", ".json", ".txt")


class BenchmarkTable(BenchmarkFigures):
    """The papers' table: agreement with the truth by estimator and dataset. `Benchmark.table` makes it.

    It prints itself in a terminal and in a notebook. The attributes are those of `BenchmarkFigures`.
    """

    @classmethod
    def of(cls, figures: BenchmarkFigures) -> BenchmarkTable:
        """The table of these figures."""
        return cls(**{field.name: getattr(figures, field.name) for field in fields(figures)})

    def sentences(self) -> list[str]:
        """The verdict: which methods do not beat the baselines, and which differ from them by no more than chance."""
        return verdicts(self)

    def to_rich(self, intervals: bool = True, detail: bool = False) -> Group:
        """The table, verdict and notes for Rich.

        Args:
            intervals: whether to show the intervals of single datasets.
            detail: whether to show the details: the truth itself, differences, win rates and parts of the pool. Probes
                of several sizes are always shown.
        """
        return rendering.terminal(self, intervals, detail)

    def to_text(self, intervals: bool = True, detail: bool = False) -> str:
        """The table as a terminal shows it, with verdict and notes below."""
        return plain_text(self.to_rich(intervals, detail), WIDEST)

    def to_markdown(self, intervals: bool = True, detail: bool = False) -> str:
        """A Markdown table with verdict and notes below; text from outside is escaped."""
        return rendering.markdown(self, intervals, detail)

    def to_latex(self, intervals: bool = True, detail: bool = False) -> str:
        """A LaTeX tabular (package booktabs) with verdict and notes as comments above; text from outside is escaped."""
        return rendering.latex(self, intervals, detail)

    def to_html(self, intervals: bool = True) -> str:
        """A web page in one file that loads nothing from any host, with all details; text from outside is escaped."""
        return rendering.page(self, intervals)

    def to_csv(self) -> str:
        """One line for each figure: estimator, kind, dataset (empty for the mean), value, low, high, n, of."""
        return rendering.comma_separated(self)

    def to_json(self) -> str:
        """Everything: figures, intervals, verdict, details, scores, truth, failures and provenance."""
        return rendering.document(self)

    def save(self, path: str | os.PathLike[str], *, intervals: bool = True, detail: bool = False) -> None:
        """Writes the table into a file. Its suffix chooses the form: .md, .tex, .html, .csv, .json or .txt.

        A page and a JSON file always hold the details.

        Raises:
            InvalidInputError: the suffix is another, or the file cannot be written.
        """
        suffix = check_suffix(path)
        if suffix == ".csv":
            text = self.to_csv()
        elif suffix == ".json":
            text = self.to_json()
        elif suffix == ".html":
            text = self.to_html(intervals)
        else:
            forms = {".md": self.to_markdown, ".tex": self.to_latex, ".txt": self.to_text}
            text = forms[suffix](intervals, detail)
        write_text(path, text)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Group]:
        yield self.to_rich(intervals=rendering.width(self) <= options.max_width)

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return interactive_text(self)

    def _repr_html_(self) -> str:
        return rendering.fragment(self, intervals=True)


def check_suffix(path: str | os.PathLike[str]) -> str:
    """The suffix of a file's name, in lower case.

    Raises:
        InvalidInputError: a table cannot be written in a form with this suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InvalidInputError(
            f"{str(path)!r} ends in {suffix!r}; expected {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        )
    return suffix
