"""The papers' table: agreement with the truth by estimator and dataset, with intervals and what they allow to say."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from modelselect.benchmarking.measures import Measure, Vector, find_measure
from modelselect.errors import InvalidInputError
from modelselect.leaderboard import PLAIN_WIDTH, write_text

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

SUFFIXES = (".md", ".tex", ".html", ".csv", ".json", ".txt")


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
class Row:
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

    rows: tuple[Row, ...]
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
        from modelselect.benchmarking.text import verdicts

        return verdicts(self)

    def to_rich(self, intervals: bool = True) -> Group:
        """What Rich prints: the table, and what there is to say. Intervals: also those of single datasets."""
        from modelselect.benchmarking.text import terminal

        return terminal(self, intervals)

    def to_text(self, intervals: bool = True) -> str:
        """The table as a terminal shows it, with what there is to say below."""
        from rich.console import Console

        console = Console(file=io.StringIO(), width=PLAIN_WIDTH, color_system=None)
        console.print(self.to_rich(intervals))
        return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]

    def to_markdown(self, intervals: bool = True) -> str:
        """A Markdown table, the verdict and notes below; text from outside is escaped."""
        from modelselect.benchmarking.text import markdown

        return markdown(self, intervals)

    def to_latex(self, intervals: bool = True) -> str:
        """A LaTeX tabular (package booktabs), the verdict as a comment above; text from outside is escaped."""
        from modelselect.benchmarking.text import latex

        return latex(self, intervals)

    def to_html(self, intervals: bool = True) -> str:
        """A web page in one file that asks nothing of any host; text from outside is escaped."""
        from modelselect.benchmarking.text import page

        return page(self, intervals)

    def to_csv(self) -> str:
        """Every figure on a line: estimator, kind, dataset (empty for the mean), value, low, high, n, of."""
        from modelselect.benchmarking.text import comma_separated

        return comma_separated(self)

    def to_json(self) -> str:
        """Everything: figures, intervals, verdict, scores, truth, failures and provenance."""
        from modelselect.benchmarking.text import document

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
        from modelselect.benchmarking.text import width

        yield self.to_rich(intervals=width(self) <= options.max_width)

    def __str__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        from modelselect.benchmarking.text import fragment

        return fragment(self, intervals=True)


def check_suffix(path: str | os.PathLike[str]) -> str:
    """How the file's name ends.

    Raises:
        InvalidInputError: in none of the ways that a table can be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InvalidInputError(
            f"{str(path)!r} ends in {suffix!r}; expected {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        )
    return suffix


def judge(
    benchmark: Benchmark,
    scores: Mapping[str, Mapping[str, Mapping[str, float]]],
    kinds: Mapping[str, Kind],
    measure_name: str,
    resamples: int,
    seed: int,
) -> BenchmarkTable:
    """Every estimator against the truth, and against the baselines. See `Benchmark.table`.

    The bootstrap draws models and datasets with replacement, each drawn model with all its datasets (A. B. Owen: The
    pigeonhole bootstrap, Annals of Applied Statistics 2007): the models of a benchmark are the same on every dataset,
    so that a lucky pool is lucky on all. Every estimator is judged on the same draws. Scores are not computed anew.
    """
    measure = find_measure(measure_name)
    truth = {d: by_model for d, by_model in benchmark.truth.items() if len(by_model) >= FEWEST_FOR_A_FIGURE}
    datasets = tuple(truth)
    models = benchmark.models
    random = np.random.default_rng(seed)
    bootstrap = _Bootstrap(
        {model: column for column, model in enumerate(models)},
        random.multinomial(len(models), np.full(len(models), 1 / len(models)), size=resamples),
        random.integers(0, len(datasets), (resamples, len(datasets))),
    )
    judged: dict[str, dict[str, _Judged]] = {}
    for name, by_dataset in scores.items():
        judged[name] = {}
        for dataset in datasets:
            known = by_dataset.get(dataset, {})
            if len(known) >= FEWEST_FOR_A_FIGURE:
                judged[name][dataset] = bootstrap.judge(measure, known, truth[dataset])
    shown = {name: by_dataset for name, by_dataset in judged.items() if by_dataset}
    sign = 1.0 if measure.higher_is_better else -1.0
    means = {name: float(np.mean([cell.value for cell in cells.values()])) for name, cells in shown.items()}

    def best(kind: Kind) -> str | None:
        """By mean; what has no score for half of the models comes after what has: few are easily ordered by chance."""
        of_kind = [name for name in shown if kinds[name] == kind]
        half = sum(map(len, truth.values())) / 2
        covers = {name: sum(cell.n for cell in shown[name].values()) >= half for name in of_kind}
        return max(of_kind, key=lambda name: (covers[name], sign * means[name]), default=None)

    static, history = best(STATIC), best(HISTORY)
    rows = []
    for name, cells in shown.items():
        gains = {}
        for baseline in (static, history):
            if baseline is not None and baseline != name:
                gain = _gain(bootstrap, measure, sign, scores[name], scores[baseline], truth)
                if gain is not None:
                    gains[baseline] = gain
        figures = {
            dataset: Figure(cell.value, _interval(cell.replicates, cell.n), cell.n, len(truth[dataset]))
            for dataset, cell in cells.items()
        }
        rows.append(
            Row(name, kinds[name], figures, bootstrap.mean(cells, datasets), gains, benchmark.seconds.get(name))
        )
    rows.sort(key=lambda row: (row.kind != METHOD, -sign * row.mean.value, row.estimator))
    absent = {name: _why_absent(benchmark, name) for name in (*scores, *benchmark.failures) if name not in shown}
    return BenchmarkTable(
        tuple(rows),
        datasets,
        measure,
        resamples,
        static,
        history,
        absent,
        benchmark.evidence_seconds,
        benchmark.notes,
        benchmark,
    )


@dataclass(frozen=True, slots=True)
class _Judged:
    """A figure on one dataset, and the (B,) same on resamples; NaN where those hold fewer than two models."""

    value: float
    replicates: Vector
    n: int


@dataclass(frozen=True, slots=True)
class _Bootstrap:
    """The draws: (B, models) how often each model is there; (B, datasets) which datasets."""

    columns: Mapping[str, int]
    counts: NDArray[np.int64]
    drawn: NDArray[np.int64]

    def judge(self, measure: Measure, scores: Mapping[str, float], truth: Mapping[str, float]) -> _Judged:
        names = list(scores)
        x, y = np.array([scores[name] for name in names]), np.array([truth[name] for name in names])
        value = float(measure.resampled(x, y, np.ones((1, len(names)), np.int64))[0])
        counts = self.counts[:, [self.columns[name] for name in names]]
        replicates = np.full(len(counts), np.nan)
        enough = (counts > 0).sum(axis=1) >= FEWEST_FOR_A_FIGURE
        if enough.any():
            replicates[enough] = measure.resampled(x, y, counts[enough])
        return _Judged(value, replicates, len(names))

    def mean(self, cells: Mapping[str, _Judged], datasets: Sequence[str]) -> Figure:
        """Over the datasets there are; its interval draws datasets, too."""
        value = float(np.mean([cell.value for cell in cells.values()]))
        table = np.stack([cells[d].replicates if d in cells else np.full(len(self.counts), np.nan) for d in datasets])
        drawn = table[self.drawn, np.arange(len(self.counts))[:, None]]
        there = ~np.isnan(drawn)
        replicates = np.full(len(drawn), np.nan)
        np.divide(np.where(there, drawn, 0.0).sum(axis=1), there.sum(axis=1), out=replicates, where=there.any(axis=1))
        return Figure(value, _interval(replicates, max(cell.n for cell in cells.values())), len(cells), len(datasets))


def _gain(
    bootstrap: _Bootstrap,
    measure: Measure,
    sign: float,
    scores: Mapping[str, Mapping[str, float]],
    baseline: Mapping[str, Mapping[str, float]],
    truth: Mapping[str, Mapping[str, float]],
) -> Figure | None:
    """How much better than a baseline, among the models that both score, on the same draws."""
    cells = {}
    for dataset, known in truth.items():
        both = [m for m in scores.get(dataset, {}) if m in baseline.get(dataset, {})]
        if len(both) >= FEWEST_FOR_A_FIGURE:
            own, other = (
                bootstrap.judge(measure, {m: given[dataset][m] for m in both}, known) for given in (scores, baseline)
            )
            cells[dataset] = _Judged(
                sign * (own.value - other.value), sign * (own.replicates - other.replicates), len(both)
            )
    return bootstrap.mean(cells, tuple(truth)) if cells else None


def _interval(replicates: Vector, n: int) -> tuple[float, float] | None:
    known = replicates[~np.isnan(replicates)]
    if not len(known) or n < FEWEST_FOR_AN_INTERVAL:
        return None
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _why_absent(benchmark: Benchmark, name: str) -> str:
    reasons = [f.reason for by_model in benchmark.failures.get(name, {}).values() for f in by_model.values()]
    return reasons[0] if reasons else "it scores fewer than two models on every dataset"


def plain_figure(figure: Figure | None) -> dict[str, Any] | None:
    """As JSON has it."""
    if figure is None:
        return None
    return {"value": figure.value, "interval": figure.interval, "n": figure.n, "of": figure.of}
