"""The section `layers`: how well each layer of a model does, where a run ranked several layers of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from modelselect import hookimpl
from modelselect.report.parts import Axis, Chart, Dot, Line, ReportSection, Table, column_of_names, column_of_texts

_NUMBER = re.compile(r"(?<=[?&])layer=(?P<layer>\d+)&?")
"""The setting in the name of a candidate that is read at a layer."""


class ScoresByLayer(ReportSection):
    """A line for each model that was ranked at several layers: its score at each of them."""

    name = "layers"
    title = "Scores by layer"

    def blocks(self, board: Any) -> Sequence[Any]:
        found: dict[str, list[tuple[int, float]]] = {}
        for row in board.ranked:
            match = _NUMBER.search(row.candidate.name) if row.candidate.zoo == "layer" else None
            if match is not None and row.score is not None:
                model = row.candidate.name.replace(match[0], "", 1).rstrip("?&")
                found.setdefault(model, []).append((int(match["layer"]), float(row.score)))
        lines = {model: sorted(points) for model, points in found.items() if len(points) > 1}
        if not lines:
            return []
        layers = [layer for points in lines.values() for layer, _ in points]
        scores = [score for points in lines.values() for _, score in points]
        first, last, low, high = min(layers), max(layers), min(scores), max(scores)

        def place(layer: int, score: float) -> tuple[float, float]:
            return (layer - first) / max(last - first, 1), (score - low) / (high - low) if high > low else 0.5

        best = {model: max(points, key=lambda point: point[1]) for model, points in lines.items()}
        dots = [
            Dot(
                *place(*point),
                text=f"{model}, layer {point[0]}: {point[1]:.4g}",
                label=f"{model}, layer {point[0]}" if point == best[model] else "",
                star=point == best[model],
            )
            for model, points in lines.items()
            for point in points
        ]
        order = [(model, *point) for model, points in lines.items() for point in points]
        numbers = Table(
            "Scores by layer",
            [
                column_of_names("model", [model for model, _, _ in order]),
                column_of_texts("layer", [str(layer) for _, layer, _ in order]),
                column_of_texts("score", [f"{score:.4g}" for _, _, score in order]),
            ],
        )
        across = Axis("layer", [(place(layer, low)[0], str(layer)) for layer in sorted(set(layers))])
        up = Axis("score", [(0.0, f"{low:.3g}"), (1.0, f"{high:.3g}")] if high > low else [(0.5, f"{low:.3g}")])
        drawn = [Line([place(*point) for point in points]) for points in lines.values()]
        return [Chart("Scores by layer", across, up, dots, drawn, numbers=numbers)]


@hookimpl
def modelselect_register_report_sections() -> list[ReportSection]:
    return [ScoresByLayer()]
