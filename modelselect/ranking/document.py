"""A ranking as a JSON document: its format and its plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from modelselect.errors import Failure

FORMAT = "modelselect leaderboard"
FORMAT_VERSION = 1

EXPECTED = "expected a file that Leaderboard.save() or modelselect select --json has written"


def plain_value(value: Any) -> Any:
    """The value as JSON has it: arrays and sets as lists; not-a-number as null, since JSON has no word for it."""
    if isinstance(value, Failure):
        return asdict(value)
    if isinstance(value, Mapping | MappingProxyType):
        return {str(k): plain_value(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain_value(v) for v in value]
    if isinstance(value, Set):  # in an order that does not change from run to run
        return sorted(
            map(plain_value, value), key=lambda v: (v, "") if isinstance(v, int | float) else (math.inf, repr(v))
        )
    if hasattr(value, "tolist"):  # a NumPy array or scalar, a tensor
        plain = value.tolist()
        return str(value) if isinstance(plain, type(value)) else plain_value(plain)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
