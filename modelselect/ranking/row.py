"""The columns of a ranking, and the names of its candidates."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelselect.leaderboard.leaderboard import Row


FIRST_COLUMNS = ("rank", "candidate", "score")
COST_COLUMNS = ("latency_ms", "throughput", "memory_bytes", "license", "download_bytes")
"""Before `seconds`, where the costs of some row were measured."""

MEASURED_COLUMNS = ("latency_ms", "throughput", "memory_bytes")
"""Only there where somebody asked for them: shown before others where width is short."""

LAST_COLUMNS = ("verified_accuracy", "parameters", "macs", "feature_dim", "seconds", "status")

COSTS = ("parameters", "macs", "feature_dim", "latency_ms", "memory_bytes", "download_bytes", "seconds")
"""What quality can be weighed against: the less the better."""


def name_of(row: Row) -> str:
    return f"{row.candidate.zoo}:{row.candidate.name}"
