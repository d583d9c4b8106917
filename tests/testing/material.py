"""Which checks fail."""

from __future__ import annotations

from collections.abc import Iterable

from modelselect.testing.checks import Check


def failing(checks: Iterable[Check]) -> dict[str, str]:
    """What fails, by the check's name, with its message."""
    faults = {}
    for name, check in checks:
        try:
            check()
        except AssertionError as fault:
            faults[name] = str(fault)
    return faults
