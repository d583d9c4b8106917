"""One value of a ranking as people read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelselect.ranking.row import COST_COLUMNS, LAST_COLUMNS
from modelselect.utils.text import UNKNOWN, with_unit

if TYPE_CHECKING:
    from modelselect.leaderboard.leaderboard import Row


def shown_value(column: str, value: Any, row: Row) -> str:
    if value is None:
        return UNKNOWN
    error = row.standard_error if column == "score" else row.standard_errors.get(column)
    if error is not None and column not in (*COST_COLUMNS, *LAST_COLUMNS):
        return f"{value:.4g} ± {error:.2g}"
    if column == "verified_accuracy" and row.verified_interval is not None:
        low, high = row.verified_interval
        return f"{value:.1%} [{low:.1%}, {high:.1%}]"
    if column in ("parameters", "macs"):
        return with_unit(value)
    if column in ("memory_bytes", "download_bytes"):
        return f"{with_unit(value)}B"
    if column == "throughput" and value >= 1000:
        return with_unit(value)
    if column in ("latency_ms", "throughput"):
        return f"{value:.3g}"
    if column == "seconds":
        return f"{value:.1f}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
