"""Which installed plugins are loaded, and in which order."""

from __future__ import annotations

import os
import re
from importlib.metadata import EntryPoint

from modelselect.utils.versions import DISTRIBUTION

PROJECT = "modelselect"
"""Name of the hooks' project, and of the entry-point group of plugins."""

PLUGINS_VARIABLE = "MODELSELECT_PLUGINS"
"""Third-party plugins to load, by entry point or distribution, separated by commas. Unset: all. Empty: none.

A name after a minus is left out: `-slow_zoo` means all plugins but that one.
"""


def chosen_names() -> list[str] | None:
    """The names in the environment variable; None if the variable is not set."""
    chosen = os.environ.get(PLUGINS_VARIABLE)
    return None if chosen is None else [name.strip() for name in chosen.split(",") if name.strip()]


def is_chosen(point: EntryPoint) -> bool:
    distribution, names = distribution_of(point)[0], chosen_names()
    if names is None or distribution == DISTRIBUTION:
        return True
    known = {plain_name(point.name), plain_name(distribution)}
    left_out = {plain_name(name[1:]) for name in names if name.startswith("-")}
    kept = {plain_name(name) for name in names if not name.startswith("-")}
    return known.isdisjoint(left_out) and (not known.isdisjoint(kept) or (bool(left_out) and not kept))


def plain_name(name: str) -> str:
    """The name as package indexes compare it: `My_Plugin` is `my-plugin`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def shipped_first(point: EntryPoint) -> tuple[bool, str, str]:
    return distribution_of(point)[0] != DISTRIBUTION, point.name, point.value


def distribution_of(point: EntryPoint) -> tuple[str, str]:
    if point.dist is None:
        return "unknown", "unknown"
    return point.dist.metadata["Name"] or "unknown", point.dist.version or "unknown"
