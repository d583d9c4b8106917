"""The report's charts, drawn with Bokeh: score against cost, verified against predicted, learning curves, the map."""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from modelselect.ranking.pareto import pareto_front
from modelselect.ranking.ranking import Ranking
from modelselect.ranking.row import RankedCandidate
from modelselect.report.costs import Cost, costs_of
from modelselect.report.map import Map, family_of
from modelselect.report.names import display_names
from modelselect.utils.text import short_number

if TYPE_CHECKING:
    from bokeh.plotting import figure as Figure  # noqa: N812 (a class with a lower-case name)

PALETTE = ("#3b82f6", "#f97316", "#10b981", "#a855f7", "#eab308", "#ef4444", "#06b6d4", "#ec4899")
"""Colours of the largest families: distinct, and readable on light and dark backgrounds."""

GREY = "#8b93a1"
HEIGHT = 420
LONGEST_LABEL = 24
MOST_LABELS = 12
MOST_TICKS = 8
RIGHT = 0.4
"""Right of this share of the width, labels stand to the left of their points."""

LOWEST, HIGHEST = (226, 190, 96), (29, 78, 216)
"""Colours of the lowest and the highest score on the map."""


def cost_chart(board: Ranking) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The chart for the first cost and the first quality, and the data with which a page shows the others.

    Returns:
        The chart; and, by quality and cost, the axes' `label` and `quality`, `points`, `front`, `ticks`, and the
        `names` of the candidates on the front, the cheapest first. None if no cost is known.
    """
    costs = costs_of(board)
    if not costs:
        return None
    qualities = {"score": [row.score for row in board.rows]}
    accuracies = [row.verified_accuracy for row in board.rows]
    if sum(accuracy is not None for accuracy in accuracies) > 1:
        qualities["accuracy, fine-tuned"] = accuracies
    choices = {
        quality: {cost.key: choice for cost in costs if (choice := _against(board, cost, quality, values))}
        for quality, values in qualities.items()
    }
    first = next(iter(next(iter(choices.values())).values()))
    tips = [("candidate", "@name"), ("rank", "@rank"), ("quality", "@value"), ("cost", "@shown")]
    figure = _figure("cost", x_axis_type="log", x_axis_label=first["label"], y_axis_label=first["quality"])
    figure.segment("x", "low", "x", "high", source=(source := _source(first["points"], "cost-points")), color=GREY)
    figure.line("x", "y", source=_source(first["front"], "cost-front"), color=PALETTE[0], line_width=2, line_alpha=0.6)
    dots = figure.scatter("x", "y", source=source, size="size", color="colour", line_color=None)
    _labels(figure, source)
    figure.xaxis.ticker = _ticker(first["ticks"])
    round_values = [m / 2 * 10.0**k for k in range(-3, 14) for m in range(2, 20)]
    figure.xaxis.major_label_overrides = {value: short_number(value) for value in round_values}
    return _item(figure, tips, [dots]), choices


def _against(board: Ranking, cost: Cost, quality: str, values: Sequence[float | None]) -> dict[str, Any] | None:
    """One quality against one cost; None if fewer than two candidates have both."""
    rows = [i for i, value in enumerate(values) if value is not None and cost.values[i] is not None]
    if len(rows) < 2:
        return None
    called = display_names(board)
    x, y = [float(cost.values[i] or 0) for i in rows], [float(values[i] or 0) for i in rows]
    front = pareto_front(x, y)
    ranges = [_range(board.rows[i], value, quality) for i, value in zip(rows, y, strict=True)]
    steps = [(x[i], y[i]) for i in front]
    corners = [p for a, b in itertools.pairwise(steps) for p in (a, (b[0], a[1]))] + steps[-1:]
    names = [called[i] for i in rows]
    points = {
        "x": x,
        "y": y,
        "name": names,
        "rank": [board.rows[i].rank for i in rows],
        "shown": [short_number(value) for value in x],
        "value": [f"{value:.4g}" if quality == "score" else f"{value:.1%}" for value in y],
        "low": [low for low, _ in ranges],
        "high": [high for _, high in ranges],
        "colour": [PALETTE[0] if i in front else GREY for i in range(len(rows))],
        "size": [11 if i in front else 8 for i in range(len(rows))],
    }
    return {
        "label": cost.label,
        "quality": quality,
        "points": points | _label_columns(names, [math.log(value) for value in x], front),
        "front": {"x": [corner[0] for corner in corners], "y": [corner[1] for corner in corners]},
        "ticks": _ticks(min(x), max(x)),
        "names": [called[rows[i]] for i in front],
    }


def _range(row: RankedCandidate, value: float, quality: str) -> tuple[float, float]:
    """The uncertainty of a value: its 95% interval, or one standard error on each side."""
    if quality == "score":
        error = row.standard_error or 0.0
        return value - error, value + error
    return row.verified_interval or (value, value)


def verified_chart(board: Ranking) -> dict[str, Any] | None:
    """Verified accuracy, with its interval, against the predicted score; None if fewer than two were verified."""
    rows = [i for i, row in enumerate(board.rows) if row.verified_accuracy is not None and row.score is not None]
    if len(rows) < 2:
        return None
    called = display_names(board)
    accuracy = [float(board.rows[i].verified_accuracy or 0) for i in rows]
    intervals = [_range(board.rows[i], a, "accuracy") for i, a in zip(rows, accuracy, strict=True)]
    tips = [
        ("candidate", "@name"),
        ("predicted rank", "@predicted"),
        ("verified rank", "@verified"),
        ("accuracy", "@y{0.0%}"),
    ]
    figure = _figure("verified", x_axis_label="score, before fine-tuning", y_axis_label="accuracy, fine-tuned")
    x = [float(board.rows[i].score or 0) for i in rows]
    points: dict[str, Any] = {
        "x": x,
        "y": accuracy,
        "low": [low for low, _ in intervals],
        "high": [high for _, high in intervals],
        "name": [called[i] for i in rows],
        "predicted": [board.rows[i].predicted_rank for i in rows],
        "verified": [board.rows[i].rank for i in rows],
    }
    points |= _label_columns(points["name"], x, range(min(len(rows), MOST_LABELS)))
    source = _source(points, "verified-points")
    figure.segment("x", "low", "x", "high", source=source, color=GREY, line_width=2)
    dots = figure.scatter("x", "y", source=source, size=11, color=PALETTE[0], line_color=None)
    _labels(figure, source)
    figure.yaxis.formatter = _percent_ticks()
    return _item(figure, tips, [dots])


def curves_chart(board: Ranking) -> tuple[dict[str, Any], list[tuple[str, str]], str] | None:
    """The learning curves of the best candidates that have one, at most as many as there are colours.

    They show the accuracy on rows that were not trained on, if it was measured in more than one epoch of every curve;
    else the training loss.

    Returns:
        The chart; the name and the colour of each candidate; and what the chart shows. None without a curve of at least
        two epochs.
    """
    rows = [i for i, row in enumerate(board.rows) if len(row.learning_curve) > 1][: len(PALETTE)]
    if not rows:
        return None
    curves = [board.rows[i].learning_curve for i in rows]
    measured = all(sum(accuracy is not None for _, _, accuracy in curve) > 1 for curve in curves)
    shown = "accuracy on validation rows" if measured else "training loss"
    called = display_names(board)
    legend = [(called[i], PALETTE[number]) for number, i in enumerate(rows)]
    figure = _figure("curves", x_axis_label="epoch", y_axis_label=shown)
    drawn = []
    for number, ((name, colour), curve) in enumerate(zip(legend, curves, strict=True)):
        points = [(epoch, accuracy if measured else loss) for epoch, loss, accuracy in curve]
        points = [(epoch, value) for epoch, value in points if value is not None]
        columns = {"x": [epoch for epoch, _ in points], "y": [value for _, value in points]}
        source = _source({**columns, "name": [name] * len(points)}, f"curves-{number}")
        figure.line("x", "y", source=source, color=colour, line_width=2)
        drawn.append(figure.scatter("x", "y", source=source, size=6, color=colour, line_color=None))
    if measured:
        figure.yaxis.formatter = _percent_ticks()
    tips = [("candidate", "@name"), ("epoch", "@x"), (shown, "@y{0.0%}" if measured else "@y{0.000}")]
    return _item(figure, tips, drawn), legend, shown


def map_chart(board: Ranking, plane: Map) -> tuple[dict[str, Any], list[tuple[str, str, int]]]:
    """The map, coloured by family, and the legend of the families. A page can colour the points by score instead.

    Returns:
        The chart, and (family, colour, number of candidates), the largest family first.
    """
    called = display_names(board)
    families = [family_of(board.rows[i]) for i in plane.rows]
    sizes = collections.Counter(families)
    largest = [name for name, _ in sizes.most_common() if name][: len(PALETTE)]
    colours = dict(zip(largest, PALETTE, strict=False))
    scores = np.array([math.nan if (s := board.rows[i].score) is None else s for i in plane.rows])
    tips = [("candidate", "@name"), ("family", "@family"), ("score", "@shown")]
    figure = _figure("map", match_aspect=True)
    figure.axis.visible = False
    hovered = []
    if len(plane.background):
        behind = {"x": plane.background[:, 0].tolist(), "y": plane.background[:, 1].tolist()}
        behind |= {"name": list(plane.background_names), "family": ["in the atlas"] * len(behind["x"])}
        behind["shown"] = ["–"] * len(behind["x"])
        source = _source(behind, "map-background")
        hovered = [figure.scatter("x", "y", source=source, size=4, color=GREY, alpha=0.35, line_color=None)]
    points = {
        "x": plane.points[:, 0].tolist(),
        "y": plane.points[:, 1].tolist(),
        "name": [called[i] for i in plane.rows],
        "family": [name or "unknown" for name in families],
        "shown": ["–" if math.isnan(score) else f"{score:.4g}" for score in scores],
        "colour": [colours.get(name, GREY) for name in families],
        "family_colour": [colours.get(name, GREY) for name in families],
        "score_colour": _by_value(scores),
    }
    source = _source(points, "map-points")
    dots = figure.scatter("x", "y", source=source, size=12, color="colour", alpha=0.85, line_color=None)
    legend = [(name, colours[name], sizes[name]) for name in largest]
    if others := sum(count for name, count in sizes.items() if name not in colours):
        legend.append(("others", GREY, others))
    return _item(figure, tips, [*hovered, dots]), legend


def _figure(name: str, **settings: Any) -> Figure:
    from bokeh.models import DataRange1d
    from bokeh.plotting import figure

    drawn = figure(
        name=name,
        sizing_mode="stretch_width",
        height=HEIGHT,
        tools="pan,box_zoom,reset",
        x_range=DataRange1d(range_padding=0.15),
        y_range=DataRange1d(range_padding=0.15),
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        **settings,
    )
    drawn.toolbar.logo = None
    drawn.toolbar.autohide = True
    drawn.axis.axis_label_text_font_style = "normal"
    return drawn


def _source(columns: Mapping[str, Any], name: str) -> Any:
    from bokeh.models import ColumnDataSource

    return ColumnDataSource(dict(columns), name=name)


def _item(figure: Figure, tips: list[tuple[str, str]], hovered: list[Any]) -> dict[str, Any]:
    """The figure as a page embeds it, with a tooltip for the point under the mouse."""
    from bokeh.embed import json_item
    from bokeh.models import HoverTool

    figure.add_tools(HoverTool(tooltips=tips, renderers=hovered))
    return dict(json_item(figure))


def _label_columns(names: Sequence[str], x: Sequence[float], labelled: Collection[int]) -> dict[str, list[Any]]:
    """Columns for `_labels`: a text for each point that gets a label, and the side that has room for the text."""
    low, width = min(x), (max(x) - min(x)) or 1.0
    right = [(value - low) / width > RIGHT for value in x]
    return {
        "label": [shortened(name) if i in labelled else "" for i, name in enumerate(names)],
        "side": ["right" if is_right else "left" for is_right in right],
        "shift": [-7 if is_right else 7 for is_right in right],
    }


def shortened(name: str) -> str:
    """The name; of one longer than `LONGEST_LABEL` characters, its beginning and its end.

    >>> shortened("a" * 20 + "b" * 20)
    'aaaaaaaaaaaa…bbbbbbbbbbbb'
    """
    half = LONGEST_LABEL // 2
    return name if len(name) <= LONGEST_LABEL else f"{name[:half]}…{name[-half:]}"


def _labels(figure: Figure, source: Any) -> None:
    """Names above points. A point on the Pareto front has free space to the left and above."""
    figure.text(
        "x",
        "y",
        text="label",
        source=source,
        text_align="side",
        x_offset="shift",
        y_offset=-7,
        text_font_size="11px",
        text_color=GREY,
        name=f"{figure.name}-labels",
    )


def _ticks(low: float, high: float) -> list[float]:
    """Round values for a logarithmic axis; at most `MOST_TICKS` of them between the lowest and the highest value."""
    first, last = math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1
    for mantissas in ((1.0, 2.0, 3.0, 5.0, 7.0), (1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
        ticks = [m * 10.0**k for k in range(first, last + 1) for m in mantissas]
        if sum(low <= tick <= high for tick in ticks) <= MOST_TICKS:
            break
    return ticks


def _ticker(ticks: list[float]) -> Any:
    from bokeh.models import FixedTicker

    return FixedTicker(ticks=ticks)


def _percent_ticks() -> Any:
    from bokeh.models import NumeralTickFormatter

    return NumeralTickFormatter(format="0.[0]%")


def _by_value(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[str]:
    """A colour for each value, mixed from the colours of the lowest and the highest value; grey for NaN."""
    known = values[~np.isnan(values)]
    low, width = (known.min(), np.ptp(known) or 1.0) if len(known) else (0.0, 1.0)
    colours = []
    for value in values:
        if math.isnan(value):
            colours.append(GREY)
            continue
        share = (value - low) / width
        mixed = (round(a + share * (b - a)) for a, b in zip(LOWEST, HIGHEST, strict=True))
        colours.append("#" + "".join(f"{part:02x}" for part in mixed))
    return colours
