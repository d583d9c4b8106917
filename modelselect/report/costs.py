"""The costs that a report shows."""

from __future__ import annotations

from dataclasses import dataclass

from modelselect.candidates.candidate import download_bytes_of
from modelselect.ranking.ranking import Ranking
from modelselect.ranking.row import COSTS, RankedCandidate

COST_LABELS = {
    "parameters": "parameters",
    "macs": "multiply-accumulates for one input",
    "feature_dim": "width of the features",
    "latency_ms": "milliseconds for one row",
    "memory_bytes": "bytes of memory",
    "training_memory_bytes": "bytes of memory to fine-tune",
    "download_bytes": "bytes to download",
    "seconds": "seconds to extract and score",
}
"""The label of each cost on a chart."""


@dataclass(frozen=True)
class Cost:
    """One kind of cost. `values` has one number for each row, and None where the cost is unknown."""

    key: str
    label: str
    values: tuple[float | None, ...]


def costs_of(board: Ranking) -> list[Cost]:
    """The costs that are known for at least two ranked rows."""
    found = [Cost(key, COST_LABELS[key], tuple(cost_of(row, key) for row in board.rows)) for key in COSTS]
    ranked = [row.rank is not None for row in board.rows]
    return [c for c in found if sum(v is not None and r for v, r in zip(c.values, ranked, strict=True)) > 1]


def cost_of(row: RankedCandidate, key: str) -> float | None:
    """One cost of a row; None if it is unknown or not above 0."""
    value = getattr(row, key)
    if value is None and key == "download_bytes":
        value = download_bytes_of(row.candidate)
    return value if value and value > 0 else None
