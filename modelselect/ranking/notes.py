"""A budget in words, as the notes under a ranking say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelselect.utils.text import duration


def describe_budget(record: Mapping[str, Any]) -> list[str]:
    """What was done with a budget, from a leaderboard's provenance: a line for each stage, and what was spent."""
    lines = []
    for stage in record["stages"]:
        rows = f" on {stage['rows']} rows" if stage.get("rows") else ""
        took = duration(stage["seconds"])
        lines.append(f"{stage['stage']}{rows}: {stage['candidates']} candidates, {took}; {stage['decision']}")
    spent = f"{duration(record['spent']['seconds'])} and {record['spent']['passes']:,} forward passes"
    return [f"budget of {record['asked']}: took {spent}", *lines]
