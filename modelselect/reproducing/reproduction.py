"""`Reproduction`: our figures of a published experiment, next to the published ones."""

from __future__ import annotations

import csv
import io
import json
import os
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelselect.errors import InvalidInputError
from modelselect.evidence.evidence import Evidence
from modelselect.protocols.protocol import MEAN, Protocol
from modelselect.report.plots import agreement_against_time, scores_against_accuracies
from modelselect.store.files import write_text
from modelselect.utils.text import UNKNOWN, WIDEST, csv_cell, escaped, plain_text, printable
from modelselect.verification.dynamics import plot_dynamics

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, ConsoleOptions, Group

SUFFIXES = (".md", ".csv", ".json", ".txt")
PLOTS = ("scores", "time", "dynamics", "picture")

_LONGEST = 60
"""Rows of a table in a terminal; a file holds all."""


@dataclass(frozen=True, slots=True)
class ReproducedFigure:
    """One figure of an experiment.

    Attributes:
        measure: an attribute of `modelselect.Agreement`, or `score`, `similarity`, or a measure of training dynamics.
        method: the label of the method.
        dataset: the name of the dataset, `mean` for the mean over the datasets, or the model of a score.
        probe: which probe, if it is not that of the table.
        ours: our figure, the mean over the seeds; None if there is none.
        deviation: standard deviation between the seeds (n - 1); None for one seed.
        seeds: number of seeds.
        published: the figure of the document; None if it prints none.
    """

    measure: str
    method: str
    dataset: str
    probe: str = ""
    ours: float | None = None
    deviation: float | None = None
    seeds: int = 1
    published: float | None = None

    @property
    def difference(self) -> float | None:
        """Ours minus the published figure."""
        return None if self.ours is None or self.published is None else self.ours - self.published


@dataclass(frozen=True)
class Reproduction:
    """A published experiment that was run here. `reproduce()` makes it.

    It prints itself in a terminal and in a notebook.

    Attributes:
        protocol: what was run.
        scale: `paper`, or `small` for a stand-in.
        figures: our figures and the published ones.
        points: by method and dataset, (score, accuracy) by model, for plots.
        seconds: by method, the mean time for one model, without the forward pass.
        curves: by architecture, the measures of each epoch of a training.
        notes: what a reader must know.
        provenance: where the results come from; values that JSON can hold.
        evidence: by dataset and candidate id, what a picture is drawn from.
    """

    protocol: Protocol
    scale: str
    figures: tuple[ReproducedFigure, ...]
    points: Mapping[str, Mapping[str, Mapping[str, tuple[float, float]]]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    evidence: Mapping[str, Mapping[str, Evidence]] = field(default_factory=dict)

    def figure(self, method: str, dataset: str = MEAN, measure: str | None = None, probe: str = "") -> ReproducedFigure:
        """One figure.

        Args:
            method: the label of the method.
            dataset: the name of the dataset; by default the mean over the datasets.
            measure: by default the first of the protocol.
            probe: which probe, if it is not that of the table.

        Raises:
            InvalidInputError: there is no such figure.
        """
        wanted = measure or self.protocol.measures[0]
        for each in self.figures:
            if (each.measure, each.method, each.dataset, each.probe) == (wanted, method, dataset, probe):
                return each
        known = sorted({each.method for each in self.figures})
        raise InvalidInputError(
            f"there is no figure of {method!r} on {dataset!r} by {wanted}; the methods are {', '.join(known)}"
        )

    def to_pandas(self) -> pd.DataFrame:
        """One row for each figure."""
        import pandas as pd

        return pd.DataFrame([asdict(each) | {"difference": each.difference} for each in self.figures])

    def to_rich(self, every: bool = False) -> Group:
        """The table for Rich.

        Args:
            every: whether to show the figures of single datasets, too, if there are many.
        """
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        shown, compares = self._shown(every), self.scale == "paper"
        parts: list[Any] = [Text(printable(self.protocol.title), style="bold"), Text(printable(self.protocol.document))]
        for heading, rows in _tables(shown):
            drawn = Table(title=printable(heading), title_justify="left", header_style="bold")
            for number, name in enumerate(_columns(rows, compares)):
                drawn.add_column(name, justify="left" if number < 2 else "right", overflow="fold")
            for each in rows:
                drawn.add_row(*(printable(cell) for cell in _cells(each, rows, compares)))
            parts.append(drawn)
        if len(shown) < len(self.figures):
            parts.append(Text(f"… and {len(self.figures) - len(shown)} figures of single datasets.", style="dim"))
        return Group(*parts, *(Text(printable(note), style="dim") for note in self.notes))

    def to_text(self, every: bool = True) -> str:
        """The table as a terminal shows it."""
        return plain_text(self.to_rich(every), WIDEST)

    def to_markdown(self) -> str:
        """The table in Markdown; text from outside is escaped."""
        compares = self.scale == "paper"
        lines = [f"**{escaped(self.protocol.title)}**", "", escaped(self.protocol.document), ""]
        for heading, rows in _tables(self.figures):
            columns = _columns(rows, compares)
            lines += [f"{escaped(heading)}:", "", f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
            lines += [f"| {' | '.join(escaped(cell) for cell in _cells(each, rows, compares))} |" for each in rows] + [
                ""
            ]
        return "\n".join([*lines, *(f"- {escaped(note)}" for note in self.notes)]) + "\n"

    def to_csv(self) -> str:
        """One line for each figure."""
        written = io.StringIO()
        writer = csv.writer(written, lineterminator="\n")
        names = ("measure", "method", "dataset", "probe", "ours", "deviation", "seeds", "published", "difference")
        writer.writerow(names)
        for each in self.figures:
            writer.writerow([csv_cell("" if (value := getattr(each, name)) is None else value) for name in names])
        return written.getvalue()

    def to_json(self) -> str:
        """Everything."""
        document = {
            "protocol": self.protocol.name,
            "document": self.protocol.document,
            "scale": self.scale,
            "figures": [asdict(each) for each in self.figures],
            "seconds": dict(self.seconds),
            "curves": {name: [dict(moment) for moment in epochs] for name, epochs in self.curves.items()},
            "notes": list(self.notes),
            "provenance": self.provenance,
        }
        return json.dumps(document, indent=1, default=str) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the figures into a file: .md, .csv, .json or .txt.

        Raises:
            InvalidInputError: the suffix is another, or the file cannot be written.
        """
        check_suffix(path)
        forms = {".md": self.to_markdown, ".csv": self.to_csv, ".json": self.to_json, ".txt": self.to_text}
        write_text(path, forms[Path(path).suffix.lower()]())

    def plot(self, kind: str | None = None, path: str | os.PathLike[str] | None = None) -> Any:
        """A figure of matplotlib: `pip install "modelselect-automl[plots]"`.

        Args:
            kind: `"scores"`: score against accuracy for each dataset; `"time"`: agreement against time for each method;
                `"dynamics"`: measures by epoch; `"picture"`: the document's picture. None for what the protocol has.
            path: where to write it, such as `figure.png`; None writes none.

        Raises:
            InvalidInputError: there is no such kind, or the experiment has nothing to show by it.
        """
        kind = kind or ("picture" if self.protocol.picture else "dynamics" if self.curves else "scores")
        if kind not in PLOTS:
            raise InvalidInputError(f"kind is {kind!r}; expected one of {', '.join(PLOTS)}")
        if kind == "dynamics":
            return plot_dynamics(self.curves, path)
        if kind == "picture" and not self.protocol.picture:
            raise InvalidInputError(f"{self.protocol.name} has no picture")
        if kind != "picture" and not self.points:
            raise InvalidInputError(f"{self.protocol.name} has no scores to plot")
        if kind == "picture":
            figure = pkgutil.resolve_name(self.protocol.picture)(self.evidence)
        elif kind == "scores":
            figure = scores_against_accuracies(self.points)
        else:
            figure = agreement_against_time(self.points, self.seconds, self.protocol.measures[0])
        if path is not None:
            figure.savefig(Path(path), dpi=110)
        return figure

    def _shown(self, every: bool) -> Sequence[ReproducedFigure]:
        if every or len(self.figures) <= _LONGEST:
            return self.figures
        return [each for each in self.figures if each.dataset == MEAN]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Group]:
        yield self.to_rich()

    def __str__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(self.to_text())}</pre>"


def check_suffix(path: str | os.PathLike[str]) -> None:
    """Raises InvalidInputError if figures cannot be written into a file of this name."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise InvalidInputError(f"{str(path)!r} ends in {Path(path).suffix!r}; expected {', '.join(SUFFIXES)}")


def _tables(figures: Sequence[ReproducedFigure]) -> Iterator[tuple[str, list[ReproducedFigure]]]:
    """The figures of each measure; the mean over the datasets comes first."""
    for measure in dict.fromkeys(each.measure for each in figures):
        of_it = [each for each in figures if each.measure == measure]
        yield measure.replace("_", " "), sorted(of_it, key=lambda each: each.dataset != MEAN)


def _columns(rows: Sequence[ReproducedFigure], compares: bool) -> list[str]:
    """A stand-in has other models and data, so a difference would mean nothing."""
    repeated = ["±"] if any(each.deviation is not None for each in rows) else []
    probe = ["probe"] if any(each.probe for each in rows) else []
    return ["method", "dataset", *probe, "ours", *repeated, "published", *(["difference"] if compares else [])]


def _cells(figure: ReproducedFigure, rows: Sequence[ReproducedFigure], compares: bool) -> list[str]:
    def number(value: float | None) -> str:
        return UNKNOWN if value is None else f"{value:.3f}"

    columns = _columns(rows, compares)
    cells = [figure.method, figure.dataset]
    cells += [figure.probe] if "probe" in columns else []
    cells += [number(figure.ours)] + ([number(figure.deviation)] if "±" in columns else [])
    difference = figure.difference
    cells.append(number(figure.published))
    return cells if not compares else [*cells, UNKNOWN if difference is None else f"{difference:+.3f}"]
