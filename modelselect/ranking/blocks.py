"""What a section of a report is made of: blocks of plain data. The page and the Markdown each render all of them.

A block holds texts and numbers, never markup. The renderer escapes the texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

UNKNOWN = "–"

HEAT_LEVELS = 8
"""Number of shades of a cell: the style sheet has the classes `heat-1` to `heat-8`, and `cold-1` to `cold-8`."""


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str
    small: bool = False


@dataclass(frozen=True)
class Code:
    """A program or a command, which the page offers to copy."""

    kind: ClassVar[str] = "code"
    text: str
    language: str


@dataclass(frozen=True)
class Facts:
    """Names and their values."""

    kind: ClassVar[str] = "facts"
    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Items:
    """A list of lines: a name and what is said of it."""

    kind: ClassVar[str] = "items"
    lines: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what is shown.
        sort: the key to sort by; an empty one sorts last.
        bar: length of the cell's bar, from -1 to 1; None for no bar.
        tone: name of a class of the style sheet, such as `heat-3`.
        link: an address that the text leads to.
        note: further text, small.
        about: what a tooltip says.
    """

    text: str
    sort: str = ""
    bar: float | None = None
    tone: str = ""
    link: str | None = None
    note: str = ""
    about: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its head.
        cells: one for each row.
        numeric: whether it holds numbers.
        shown: whether the page shows it from the beginning.
        about: what a tooltip says of it.
    """

    name: str
    cells: Sequence[Cell]
    numeric: bool = True
    shown: bool = True
    about: str = ""


@dataclass(frozen=True)
class Table:
    """A table. The column `head` names the rows.

    Attributes:
        name: what it shows, for screen readers.
        columns: all of the same length.
        head: the place of the column that names the rows.
        style: `plain`, `bars`, `heat` (narrow cells, upright heads) or `board` (sorted, filtered, hidden columns).
        tones: a class of the style sheet for each row; empty for none.
    """

    kind: ClassVar[str] = "table"
    name: str
    columns: Sequence[Column]
    head: int = 0
    style: str = "plain"
    tones: Sequence[str] = ()

    @property
    def rows(self) -> list[tuple[Cell, ...]]:
        return list(zip(*(column.cells for column in self.columns), strict=True))


@dataclass(frozen=True)
class Interval:
    """A value with its interval, in a list of such. `text` shows both."""

    name: str
    value: float
    low: float
    high: float
    text: str
    best: bool = False


@dataclass(frozen=True)
class Intervals:
    """A list of dots with their intervals on one scale.

    Attributes:
        name: what is shown, for screen readers.
        lines: the values.
        low, high: the ends of the scale.
        ticks: (value, text) on the scale.
        mark: a value that is marked in every line, and its name; None for none.
    """

    kind: ClassVar[str] = "intervals"
    name: str
    lines: Sequence[Interval]
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    mark: tuple[float, str] | None = None

    def place(self, value: float) -> str:
        """Where a value stands on the scale, in per cent."""
        return f"{100 * min(max((value - self.low) / (self.high - self.low), 0.0), 1.0):.2f}"


@dataclass(frozen=True)
class Picture:
    """A picture as a `data:` address, and its caption."""

    address: str
    caption: str


@dataclass(frozen=True)
class Gallery:
    """Small pictures."""

    kind: ClassVar[str] = "gallery"
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Dot:
    """A point of a chart, with x and y from 0 (left, bottom) to 1.

    Attributes:
        text: what a tooltip says.
        label: the name next to it, if there is room; the first dots get theirs first. Empty for none.
        tone: a class of the style sheet: `front`, `other`, `behind`.
        colour: its own colour, for dots of groups.
        star: whether it is the winner.
        low, high: the ends of its interval on y; None for none.
    """

    x: float
    y: float
    text: str
    label: str = ""
    tone: str = "other"
    colour: str = ""
    star: bool = False
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """Points that a line connects, and its colour; without a colour, that of the front."""

    points: Sequence[tuple[float, float]]
    colour: str = ""


@dataclass(frozen=True)
class Axis:
    """The label of an axis, and its ticks: (position from 0 to 1, text)."""

    label: str = ""
    ticks: Sequence[tuple[float, str]] = ()


@dataclass(frozen=True)
class Chart:
    """A chart of points and lines.

    Attributes:
        name: what it shows, in one sentence: for screen readers, and for the Markdown.
        x, y: the axes.
        dots: those that are drawn last stand first.
        lines: below the dots.
        legend: (name, colour) of the groups.
        numbers: the same as a table.
    """

    kind: ClassVar[str] = "chart"
    name: str
    x: Axis
    y: Axis
    dots: Sequence[Dot]
    lines: Sequence[Line] = ()
    legend: Sequence[tuple[str, str]] = ()
    numbers: Table | None = None


@dataclass(frozen=True)
class Folded:
    """Blocks below a line that unfolds them. Of those in one group, one is open at a time."""

    kind: ClassVar[str] = "folded"
    summary: str
    blocks: Sequence[Block]
    open: bool = False
    group: str = ""


Block: TypeAlias = Text | Code | Facts | Items | Table | Intervals | Gallery | Chart | Folded
"""What a section is a list of."""


@dataclass(frozen=True)
class Section:
    """A section of a report.

    Attributes:
        key: its place in the page's address, such as `cost`.
        title: its heading.
        blocks: its content.
        folded: whether the page shows only the heading at first.
        short: the title in the list of sections.
    """

    key: str
    title: str
    blocks: Sequence[Block]
    folded: bool = False
    short: str = ""


def column_of_names(name: str, values: Sequence[str]) -> Column:
    """A column of texts that are no numbers."""
    return Column(name, [Cell(value, value.lower()) for value in values], numeric=False)


def column_of_texts(name: str, values: Sequence[str], about: str = "") -> Column:
    """A column of numbers as texts."""
    return Column(name, [Cell(value) for value in values], about=about)
