"""Where the names of a chart's points go, so that none covers another name or a point, at any width of the page."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from modelselect.ranking.blocks import Chart, Dot

HEIGHT = 300
"""Height of the area that a chart draws in, in pixels."""

NARROW_WIDTHS = (230.0, 300.0, 400.0, 540.0)
"""Widths of that area on a phone, in pixels."""

WIDE_WIDTHS = (480.0, 640.0, 820.0, 1100.0)
"""Widths of that area on larger screens."""

LONGEST_LABEL, LONGEST_NARROW = 24, 16
"""Length of a label in characters: a label of this length fits next to any point of the narrowest area."""

MOST_NARROW, MOST_WIDE = 5, 12

_CHARACTER, _LINE = 6.7, 14.0
"""Size of a character of a label, with some room, in pixels."""

_MARGIN = 12.0
"""How far a label may stand out of the area."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


class Label(NamedTuple):
    """A name and its place: next to the point (x, y), moved by (dx, dy) pixels, anchored as SVG says."""

    text: str
    x: float
    y: float
    dx: int
    dy: int
    anchor: str
    star: bool


def placed(chart: Chart, narrow: bool = False) -> list[Label]:
    """The labels that fit at each of the widths. Dots that stand first get theirs first."""
    widths, most = (NARROW_WIDTHS, MOST_NARROW) if narrow else (WIDE_WIDTHS, MOST_WIDE)
    longest = LONGEST_NARROW if narrow else LONGEST_LABEL
    taken = [[*_drawn(chart, width)] for width in widths]
    found: list[Label] = []
    for dot in chart.dots:
        if not dot.label or len(found) == most:
            continue
        covered = {label: _covered(label, widths, taken) for label in _choices(dot, longest)}
        best = min(covered, key=lambda label: covered[label])  # the first of equals
        if covered[best] == 0 or (dot.star and covered[best] < math.inf):  # the winner has its name in any case
            found.append(best)
            for width, others in zip(widths, taken, strict=True):
                others.append(box_of(best, width))
    return found


def _covered(label: Label, widths: Sequence[float], taken: Sequence[Sequence[Box]]) -> float:
    """The number of boxes that a label covers, at all widths together; infinite if it leaves the chart."""
    count = 0
    for width, others in zip(widths, taken, strict=True):
        box = box_of(label, width)
        if box[0] < -_MARGIN or box[2] > width + _MARGIN or box[1] < -_MARGIN:
            return math.inf
        count += sum(_overlap(box, other) for other in others)
    return count


def ticks_that_fit(ticks: Sequence[tuple[float, str]], narrow: bool = False) -> list[tuple[float, str]]:
    """The ticks of a horizontal axis whose texts do not touch each other; the first ones have the right of way."""
    width = (NARROW_WIDTHS if narrow else WIDE_WIDTHS)[0]
    kept: list[tuple[float, str]] = []
    for place, text in ticks:
        gaps = [abs(place - other) * width - (len(text) + len(shown)) * _CHARACTER / 2 for other, shown in kept]
        if all(gap > _CHARACTER for gap in gaps):
            kept.append((place, text))
    return sorted(kept)


def box_of(label: Label, width: float) -> Box:
    """The box that a label covers on an area of this width."""
    long = len(label.text) * _CHARACTER
    middle = label.x * width + label.dx
    left = {"start": middle, "end": middle - long, "middle": middle - long / 2}[label.anchor]
    bottom = (1 - label.y) * HEIGHT + label.dy + 3
    return left, bottom - _LINE, left + long, bottom


def shortened(name: str, longest: int) -> str:
    """The name; of one with more characters than `longest`, its beginning and its end.

    >>> shortened("a" * 20 + "b" * 20, 6)
    'aaa…bbb'
    """
    half = longest // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[-half:]}"


def _choices(dot: Dot, longest: int) -> Iterator[Label]:
    """A label to the right of a dot, to its left, above and below, and at its corners."""
    away = 11 if dot.star else 8
    above, below = -away - 2, away + 11
    places = [(away, 4, "start"), (-away, 4, "end"), (0, above, "middle"), (0, below, "middle")]
    places += [(side * away, dy, anchor) for dy in (-6, 15) for side, anchor in ((1, "start"), (-1, "end"))]
    for dx, dy, anchor in places:
        yield Label(shortened(dot.label, longest), dot.x, dot.y, dx, dy, anchor, dot.star)


def _drawn(chart: Chart, width: float) -> Iterator[Box]:
    """The boxes of the points, of their intervals, and of the lines that go straight across or up."""
    for dot in chart.dots:
        if dot.tone != "behind":
            yield _around(dot, width)
        if dot.low is not None or dot.high is not None:
            low, high = (dot.y if end is None else end for end in (dot.low, dot.high))
            yield dot.x * width - 1, (1 - high) * HEIGHT, dot.x * width + 1, (1 - low) * HEIGHT
    for line in chart.lines:
        for (x1, y1), (x2, y2) in itertools.pairwise(line.points):
            if x1 == x2 or y1 == y2:
                left, right, low, high = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
                yield left * width - 1, (1 - high) * HEIGHT - 1, right * width + 1, (1 - low) * HEIGHT + 1


def _around(dot: Dot, width: float) -> Box:
    size = 8.0 if dot.star else 5.0
    x, y = dot.x * width, (1 - dot.y) * HEIGHT
    return x - size, y - size, x + size, y + size


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
