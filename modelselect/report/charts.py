"""The report's charts, as Bokeh draws them: score against cost, verified against predicted, and the map."""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from modelselect.cost import pareto_front
from modelselect.report import content

if TYPE_CHECKING:
    from bokeh.plotting import figure as Figure  # noqa: N812 (a class, whatever its name)

    from modelselect.leaderboard import Leaderboard

PALETTE = ("#3b82f6", "#f97316", "#10b981", "#a855f7", "#eab308", "#ef4444", "#06b6d4", "#ec4899")
"""Of the largest families; told apart, and readable on light and on dark."""

GREY = "#8b93a1"
HEIGHT = 420
LOWEST, HIGHEST = (226, 190, 96), (29, 78, 216)
"""Colours of the lowest and the highest score on the map."""


def cost_chart(board: Leaderboard) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The chart for the first cost, and what a page needs to change to another one; None where no cost is known."""
    costs = content.costs(board)
    if not costs:
        return None
    called = content.names(board)
    choices: dict[str, dict[str, Any]] = {}
    for cost in costs:
        rows = [i for i, row in enumerate(board.rows) if row.score is not None and (cost.values[i] or 0) > 0]
        x = [float(cost.values[i] or 0) for i in rows]
        y = [float(board.rows[i].score or 0) for i in rows]
        front = pareto_front(x, y)
        on_front = set(front)
        errors = [board.rows[i].standard_error or 0.0 for i in rows]
        steps = [(x[i], y[i]) for i in front]
        corners = [p for a, b in itertools.pairwise(steps) for p in (a, (b[0], a[1]))] + steps[-1:]
        choices[cost.key] = {
            "label": cost.label,
            "points": {
                "x": x,
                "y": y,
                "name": [called[i] for i in rows],
                "rank": [board.rows[i].rank for i in rows],
                "shown": [short(value) for value in x],
                "low": [value - error for value, error in zip(y, errors, strict=True)],
                "high": [value + error for value, error in zip(y, errors, strict=True)],
                "colour": [PALETTE[0] if i in on_front else GREY for i in range(len(rows))],
                "size": [11 if i in on_front else 8 for i in range(len(rows))],
            },
            "front": {"x": [corner[0] for corner in corners], "y": [corner[1] for corner in corners]},
            "names": [called[rows[i]] for i in front],
        }
    first = next(iter(choices.values()))
    tips = [("candidate", "@name"), ("rank", "@rank"), ("score", "@y{0.0000}"), ("cost", "@shown")]
    figure = _figure("cost", x_axis_type="log", x_axis_label=first["label"], y_axis_label="score")
    figure.segment("x", "low", "x", "high", source=(source := _source(first["points"], "cost-points")), color=GREY)
    figure.line("x", "y", source=_source(first["front"], "cost-front"), color=PALETTE[0], line_width=2, line_alpha=0.6)
    dots = figure.scatter("x", "y", source=source, size="size", color="colour", line_color=None)
    round_values = [m / 2 * 10.0**k for k in range(-3, 14) for m in range(2, 20)]
    figure.xaxis.major_label_overrides = {value: short(value) for value in round_values}
    return _item(figure, tips, [dots]), choices


def verified_chart(board: Leaderboard) -> dict[str, Any] | None:
    """Verified accuracy, with its interval, against the predicted score; None where fewer than two were verified."""
    rows = [i for i, row in enumerate(board.rows) if row.verified_accuracy is not None and row.score is not None]
    if len(rows) < 2:
        return None
    called = content.names(board)
    accuracy = [float(board.rows[i].verified_accuracy or 0) for i in rows]
    intervals = [board.rows[i].verified_interval or (a, a) for i, a in zip(rows, accuracy, strict=True)]
    tips = [
        ("candidate", "@name"),
        ("predicted rank", "@predicted"),
        ("verified rank", "@verified"),
        ("accuracy", "@y{0.0%}"),
    ]
    figure = _figure("verified", x_axis_label="score, before fine-tuning", y_axis_label="accuracy, fine-tuned")
    points: dict[str, Any] = {
        "x": [float(board.rows[i].score or 0) for i in rows],
        "y": accuracy,
        "low": [low for low, _ in intervals],
        "high": [high for _, high in intervals],
        "name": [called[i] for i in rows],
        "predicted": [board.rows[i].predicted_rank for i in rows],
        "verified": [board.rows[i].rank for i in rows],
    }
    source = _source(points, "verified-points")
    figure.segment("x", "low", "x", "high", source=source, color=GREY, line_width=2)
    dots = figure.scatter("x", "y", source=source, size=11, color=PALETTE[0], line_color=None)
    figure.yaxis.formatter = _percent_ticks()
    return _item(figure, tips, [dots])


def map_chart(board: Leaderboard, plane: content.Map) -> tuple[dict[str, Any], list[tuple[str, str, int]]]:
    """The map, coloured by family (`family` in its points' source; `score`: by score), and the families' legend.

    Returns:
        The chart, and (family, colour, candidates) from the largest on.
    """
    called = content.names(board)
    families = [content.family(board.rows[i]) for i in plane.rows]
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


def short(value: float) -> str:
    """`1234567` -> `1.23M`.

    >>> short(1234567), short(12.5), short(0.25)
    ('1.23M', '12.5', '0.25')
    """
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


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
    """The figure as a page embeds it, with what is said of a point that the mouse is on."""
    from bokeh.embed import json_item
    from bokeh.models import HoverTool

    figure.add_tools(HoverTool(tooltips=tips, renderers=hovered))
    return dict(json_item(figure))


def _percent_ticks() -> Any:
    from bokeh.models import NumeralTickFormatter

    return NumeralTickFormatter(format="0.[0]%")


def _by_value(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[str]:
    """A colour for each between the lowest and the highest of them; grey for NaN."""
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
