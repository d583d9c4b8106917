"""Score against cost as a matplotlib figure, for notebooks and papers."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from modelselect.errors import InvalidInputError
from modelselect.ranking.pareto import pareto_front
from modelselect.ranking.ranking import Ranking
from modelselect.report.costs import costs_of
from modelselect.report.names import display_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(board: Ranking, cost: str) -> Figure:
    """See `Leaderboard.plot`."""
    known = {each.key: each for each in costs_of(board)}
    if cost not in known:
        raise InvalidInputError(
            f"cost is {cost!r}; expected a cost that is known for at least two ranked candidates: "
            f"{', '.join(known) or 'there is none on this leaderboard'}"
        )
    called = display_names(board)
    rows = [i for i, row in enumerate(board.rows) if row.score is not None and known[cost].values[i]]
    x = [float(known[cost].values[i] or 0.0) for i in rows]
    y = [float(board.rows[i].score or 0.0) for i in rows]
    front = pareto_front(x, y)
    figure = _notebook_figure()
    axes = figure.subplots()
    errors = [board.rows[i].standard_error for i in rows]
    if any(error is not None for error in errors):
        axes.errorbar(x, y, [error or 0.0 for error in errors], fmt="none", ecolor="0.7", zorder=1)
    axes.scatter(x, y, color="0.6", label="candidates", zorder=2)
    axes.step([x[i] for i in front], [y[i] for i in front], where="post", color="C0", zorder=2)
    axes.scatter([x[i] for i in front], [y[i] for i in front], color="C0", label="Pareto front", zorder=3)
    for i in front:
        name = called[rows[i]].replace("$", r"\$")
        right = x[i] > (min(x) * max(x)) ** 0.5  # where there is more room to the left
        offset, side = ((-5, 4), "right") if right else ((5, -10), "left")
        axes.annotate(name, (x[i], y[i]), offset, textcoords="offset points", fontsize=8, ha=side)
    axes.set_xscale("log")
    axes.set_xlabel(known[cost].label)
    axes.set_ylabel("score")
    axes.legend(loc="lower right")
    return figure


def _notebook_figure() -> Figure:
    """An empty figure that a notebook shows, whether pyplot was imported or not."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InvalidInputError(
            f"a plot needs matplotlib ({error}); install it with: pip install 'modelselect-automl[plots]'"
        ) from error

    class NotebookFigure(Figure):
        def _repr_png_(self) -> bytes:
            picture = io.BytesIO()
            self.savefig(picture, format="png")
            return picture.getvalue()

    return NotebookFigure(figsize=(8, 5), layout="constrained")
