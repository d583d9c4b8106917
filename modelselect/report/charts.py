"""The report's charts: quality against cost, accuracy with its interval, learning curves, the map of architectures."""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from modelselect.ranking.blocks import (
    Axis,
    Cell,
    Chart,
    Column,
    Dot,
    Interval,
    Intervals,
    Line,
    Table,
    column_of_names,
    column_of_texts,
)
from modelselect.ranking.pareto import pareto_front
from modelselect.ranking.ranking import Ranking
from modelselect.ranking.row import RankedCandidate
from modelselect.report.costs import Cost, costs_of
from modelselect.report.map import Map, family_of
from modelselect.report.names import display_names
from modelselect.utils.measures import Measure
from modelselect.utils.text import short_number

PALETTE = ("#3b82f6", "#f97316", "#10b981", "#a855f7", "#ca8a04", "#ef4444", "#0891b2", "#ec4899")
"""Colours of curves and of the largest families: distinct, and visible on light and dark backgrounds."""

GREY = "#8b93a1"
MOST_BEHIND = 1500
"""Number of the atlas's other architectures that the map shows."""

MOST_DOTS = 500
"""Number of candidates that a chart shows: the front and the first ones of the ranking."""

LOWEST, HIGHEST = (226, 190, 96), (29, 78, 216)
"""Colours of the lowest and the highest score on the map."""

SCORE = "score"
"""The name of the quality before fine-tuning."""

LOWEST_DRAWN = -1.0
"""The lowest place on the axis of a measure that has no lower bound, such as R²: what is below is drawn at the end."""

Show = Callable[[float], str]
"""How a value is written."""

PADDING = 0.06
"""Free space at each end of an axis, as a share of it."""


def cost_charts(board: Ranking) -> list[tuple[str, Chart]]:
    """A chart of the quality for each cost, with the cost's name; none if no cost is known.

    The quality is the metric after fine-tuning, such as the accuracy, if two candidates have one, else the score.
    """
    accuracies = [row.verified_accuracy for row in board.rows]
    measured = sum(accuracy is not None for accuracy in accuracies) > 1
    quality = f"{board.metric}, fine-tuned" if measured else SCORE
    values = accuracies if measured else [row.score for row in board.rows]
    charts = [(cost.label, _against(board, cost, quality, values)) for cost in costs_of(board)]
    return [(name, chart) for name, chart in charts if chart is not None]


def _against(board: Ranking, cost: Cost, quality: str, values: Sequence[float | None]) -> Chart | None:
    """One quality against one cost; None if fewer than two candidates have both."""
    rows = [i for i, value in enumerate(values) if value is not None and cost.values[i] is not None]
    if len(rows) < 2:
        return None
    called = display_names(board)
    x, y = [float(cost.values[i] or 0) for i in rows], [float(values[i] or 0) for i in rows]
    front = pareto_front(x, y)
    show = _plain if quality == SCORE else _showing(board.measure)
    ranges = [_range(board.rows[i], value, quality) for i, value in zip(rows, y, strict=True)]
    across = _Scale.logarithmic(x)
    up = _Scale.linear(
        [end for each in ranges for end in each], show, share=quality != SCORE and board.measure.in_percent
    )
    steps = [(across.place(x[i]), up.place(y[i])) for i in front]
    corners = [p for a, b in itertools.pairwise(steps) for p in (a, (b[0], a[1]))] + steps[-1:]
    order = sorted(range(len(rows)), key=lambda i: (rows[i] != 0, i not in front, rows[i]))
    dots = [
        Dot(
            x=across.place(x[i]),
            y=up.place(y[i]),
            text=f"{called[rows[i]]}: {quality} {show(y[i])}, {short_number(x[i])} {cost.label}",
            label=called[rows[i]] if i in front or rows[i] == 0 else "",
            tone="front" if i in front else "other",
            star=rows[i] == 0,
            low=up.place(ranges[i][0]) if ranges[i][0] < y[i] else None,
            high=up.place(ranges[i][1]) if ranges[i][1] > y[i] else None,
        )
        for i in order[:MOST_DOTS]
    ]
    few = f" (only {MOST_DOTS} of {len(rows):,} candidates are drawn)" if len(rows) > MOST_DOTS else ""
    return Chart(
        name=f"{quality} against {cost.label}; the line connects the candidates that no other beats in both{few}",
        x=Axis(cost.label, across.ticks),
        y=Axis(quality, up.ticks),
        dots=dots,
        lines=[Line(corners)],
        numbers=Table(
            f"The front of {quality} and {cost.label}",
            [
                column_of_names("candidate", [called[rows[i]] for i in front]),
                column_of_texts(cost.label, [short_number(x[i]) for i in front]),
                column_of_texts(quality, [show(y[i]) for i in front]),
            ],
        ),
    )


def _range(row: RankedCandidate, value: float, quality: str) -> tuple[float, float]:
    """The uncertainty of a value: its 95% interval, or one standard error on each side."""
    if quality == SCORE:
        error = row.standard_error or 0.0
        return value - error, value + error
    return row.verified_interval or (value, value)


def accuracy_list(board: Ranking) -> Intervals | None:
    """The accuracies of the fine-tuned candidates with their intervals, the best first; None if none was fine-tuned."""
    called, measure = display_names(board), board.measure
    show = _showing(measure)
    lines = []
    for name, row in zip(called, board.rows, strict=True):
        if (accuracy := row.verified_accuracy) is not None:
            low, high = _range(row, accuracy, "accuracy")
            interval = f" ({show(low)} to {show(high)})" if low < high else ""
            text = f"{measure.text(accuracy)}{interval}"
            lines.append(Interval(name, accuracy, low, high, text, row is board.rows[0]))
    if not lines:
        return None
    chance = board.chance
    mark = None if chance is None else (chance, f"guessing: {measure.text(chance, 0)}")
    values = [end for line in lines for end in (line.low, line.high)] + ([] if chance is None else [chance])
    high = min(1.0, max(0.1, math.ceil(10 * max(values)) / 10))
    low = min(math.floor(10 * min(values)) / 10, high - 0.1)
    low = max(0.0, low) if measure.in_percent else max(low, LOWEST_DRAWN)
    step = 0.1 if high - low <= 0.5 else 0.2
    places = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ticks = [(step * i, measure.text(step * i, 0)) for i in places]
    return Intervals(f"{measure.heading} on held-out rows, with its 95% interval", lines, low, high, ticks, mark)


def curves_chart(board: Ranking) -> Chart | None:
    """The learning curves of the best candidates that have one, at most as many as there are colours.

    They show the accuracy on rows that were not trained on, if it was measured in more than one epoch of every curve;
    else the training loss. None without a curve of at least two epochs.
    """
    rows = [i for i, row in enumerate(board.rows) if len(row.learning_curve) > 1][: len(PALETTE)]
    if not rows:
        return None
    curves = [board.rows[i].learning_curve for i in rows]
    measured = all(sum(accuracy is not None for _, _, accuracy in curve) > 1 for curve in curves)
    shown = "accuracy on validation rows" if measured else "training loss"
    points = [[(epoch, accuracy if measured else loss) for epoch, loss, accuracy in curve] for curve in curves]
    known = [[(epoch, value) for epoch, value in curve if value is not None] for curve in points]
    show = _percent if measured else _plain
    last = max(epoch for curve in known for epoch, _ in curve)
    up = _Scale.linear([value for curve in known for _, value in curve], show, share=measured)
    across = _Scale.whole(1, last)
    called = display_names(board)
    dots, lines = [], []
    for i, colour, curve in zip(rows, PALETTE, known, strict=False):
        places = [(across.place(epoch), up.place(value)) for epoch, value in curve]
        lines.append(Line(places, colour))
        dots += [
            Dot(x, y, f"{called[i]}: {shown} {show(value)} after epoch {epoch}", tone="curve", colour=colour)
            for (x, y), (epoch, value) in zip(places, curve, strict=True)
        ]
    numbers = [column_of_names("epoch", [str(epoch) for epoch in range(1, last + 1)])]
    for i, curve in zip(rows, known, strict=True):
        at = {epoch: show(value) for epoch, value in curve}
        numbers.append(column_of_texts(called[i], [at.get(epoch, "") for epoch in range(1, last + 1)]))
    return Chart(
        name=f"The {shown} after each epoch of fine-tuning",
        x=Axis("epoch", across.ticks),
        y=Axis(shown, up.ticks),
        dots=dots,
        lines=lines,
        legend=[(called[i], colour) for i, colour in zip(rows, PALETTE, strict=False)],
        numbers=Table(f"The {shown} by epoch", numbers),
    )


def map_charts(board: Ranking, plane: Map) -> list[tuple[str, Chart]]:
    """The map coloured by family, and coloured by score."""
    families = [family_of(board.rows[i]) for i in plane.rows]
    sizes = collections.Counter(families)
    largest = [name for name, _ in sizes.most_common() if name][: len(PALETTE)]
    colours = dict(zip(largest, PALETTE, strict=False))
    legend = [(f"{name} ({sizes[name]})", colours[name]) for name in largest]
    if others := sum(count for name, count in sizes.items() if name not in colours):
        legend.append((f"others ({others})", GREY))
    scores = [board.rows[i].score for i in plane.rows]
    by_value = _by_value(np.array([math.nan if score is None else score for score in scores]))
    ends = [("lowest score", _colour(LOWEST)), ("highest score", _colour(HIGHEST))]
    by_family = [colours.get(name, GREY) for name in families]
    return [
        ("coloured by family", _map(board, plane, by_family, legend)),
        ("coloured by score", _map(board, plane, by_value, ends)),
    ]


def _map(board: Ranking, plane: Map, colours: Sequence[str], legend: Sequence[tuple[str, str]]) -> Chart:
    called = display_names(board)
    behind = plane.background[:MOST_BEHIND]
    every = np.concatenate([plane.points, behind]) if len(behind) else plane.points
    low, width = every.min(axis=0), np.ptp(every, axis=0)
    places = PADDING + (1 - 2 * PADDING) * (every - low) / np.where(width == 0, 1.0, width)
    dots = []
    for number, i in enumerate(plane.rows[:MOST_DOTS]):
        row, (x, y) = board.rows[i], places[number].tolist()
        score = "no score" if row.score is None else f"score {row.score:.4g}"
        text = f"{called[i]}: {family_of(row) or 'unknown family'}, {score}"
        winner = i == 0 and row.rank is not None
        dots.append(Dot(x, y, text, called[i], "group", colours[number], star=winner))
    dots.sort(key=lambda dot: not dot.star)
    for (x, y), name in zip(places[len(plane.rows) :].tolist(), plane.background_names, strict=False):
        dots.append(Dot(x, y, f"{name}: in the atlas", tone="behind"))
    nearest = _nearest(board, plane, called)
    return Chart("Map of the candidates' architectures", Axis(), Axis(), dots, legend=legend, numbers=nearest)


def _nearest(board: Ranking, plane: Map, called: Sequence[str]) -> Table | None:
    """The most similar architecture of each of the first candidates."""
    names = {row.candidate.id: name for row, name in zip(board.rows, called, strict=True)}
    rows = [i for i in plane.rows if board.rows[i].nearest][:20]
    if not rows:
        return None
    pairs = [board.rows[i].nearest[0] for i in rows]
    return Table(
        "The most similar architecture",
        [
            column_of_names("candidate", [called[i] for i in rows]),
            column_of_names("family", [family_of(board.rows[i]) or "unknown" for i in rows]),
            column_of_names("most similar", [names.get(other, other) for other, _ in pairs]),
            Column("similarity", [Cell(f"{similarity:.2f}") for _, similarity in pairs]),
        ],
    )


class _Scale:
    """Values as places from 0 to 1 on an axis, and its ticks."""

    def __init__(self, low: float, high: float, ticks: Sequence[tuple[float, str]], log: bool = False) -> None:
        self._log = log
        self._low, self._high = (math.log(low), math.log(high)) if log else (low, high)
        self.values = [(value, text) for value, text in ticks if low <= value <= high]
        self.ticks = [(self.place(value), text) for value, text in self.values]

    def place(self, value: float) -> float:
        at = math.log(value) if self._log else value
        return round((at - self._low) / (self._high - self._low), 4)

    @classmethod
    def logarithmic(cls, values: Sequence[float]) -> _Scale:
        """A logarithmic scale; powers of ten have the right of way among its ticks."""
        ratio = max(max(values) / min(values), 1.1)
        low, high = min(values) / ratio**PADDING, max(values) * ratio**PADDING
        exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        mantissas = (1.0, 3.0, 2.0, 5.0, 7.0, 1.5, 4.0, 6.0, 8.0, 9.0, 1.2, 2.5)
        ticks = [(m * 10.0**k, short_number(m * 10.0**k)) for m in mantissas for k in exponents]
        if ratio < 4:  # hardly a power of ten between the ends
            ticks = cls.linear(values, short_number, share=False).values
        return cls(low, high, ticks, log=True)

    @classmethod
    def linear(cls, values: Sequence[float], show: Show, *, share: bool) -> _Scale:
        """A linear scale with about five round ticks; that of a share ends at 0 and 1."""
        low, high = min(values), max(values)
        spread = (high - low) or abs(high) or 1.0
        low, high = low - PADDING * spread, high + PADDING * spread
        if share:
            low, high = max(low, 0.0), min(high, 1.0)
        if low == high:
            low, high = low - 0.1, high + 0.1
        power = 10.0 ** math.floor(math.log10(spread / 5))
        step = next(m * power for m in (1, 2, 5, 10) if spread / (m * power) <= 6)
        first = math.ceil(low / step - 1e-9)
        count = math.floor(high / step + 1e-9) - first + 1
        return cls(low, high, [(round(i * step, 12), show(i * step)) for i in range(first, first + count)])

    @classmethod
    def whole(cls, first: int, last: int) -> _Scale:
        """A scale of whole numbers; both ends have a tick."""
        ends = [first, last] if last > first else [first]
        numbers = dict.fromkeys([*ends, *range(first, last + 1)])
        room = 0.05 * max(last - first, 1)
        return cls(first - room, last + room, [(number, str(number)) for number in numbers])


def _showing(measure: Measure) -> Show:
    return _percent if measure.in_percent else _thousandths


def _percent(value: float) -> str:
    return f"{100 * value:.3g}%"


def _plain(value: float) -> str:
    return f"{value:.4g}"


def _thousandths(value: float) -> str:
    return f"{round(value, 3):g}"


def _colour(parts: Sequence[float]) -> str:
    return "#" + "".join(f"{round(part):02x}" for part in parts)


def _by_value(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[str]:
    """A colour for each value, mixed from the colours of the lowest and the highest value; grey for NaN."""
    known = values[~np.isnan(values)]
    low, width = (known.min(), np.ptp(known) or 1.0) if len(known) else (0.0, 1.0)
    shares = [(value - low) / width for value in values.tolist()]
    return [
        GREY if math.isnan(share) else _colour([a + share * (b - a) for a, b in zip(LOWEST, HIGHEST, strict=True)])
        for share in shares
    ]
