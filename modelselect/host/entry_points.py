"""Which installed plugins are loaded, and in which order."""

from __future__ import annotations

import os
import re
from importlib.metadata import EntryPoint

from modelselect.utils.versions import DISTRIBUTION

PROJECT = "modelselect"
"""Name of the hooks' project, and of the entry-point group of plugins."""

PLUGINS_VARIABLE = "MODELSELECT_PLUGINS"
"""Which plugins of others to load, by entry point or distribution, comma-separated. Unset: all. Empty: none."""


def chosen_names() -> list[str] | None:
    """What the environment variable names; None where it is not set."""
    chosen = os.environ.get(PLUGINS_VARIABLE)
    return None if chosen is None else [name.strip() for name in chosen.split(",") if name.strip()]


def is_chosen(point: EntryPoint) -> bool:
    distribution, names = distribution_of(point)[0], chosen_names()
    if names is None or distribution == DISTRIBUTION:
        return True
    return not {plain_name(point.name), plain_name(distribution)}.isdisjoint(map(plain_name, names))


def plain_name(name: str) -> str:
    """A name as package indexes compare it: `My_Plugin` is `my-plugin`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def shipped_first(point: EntryPoint) -> tuple[bool, str, str]:
    return distribution_of(point)[0] != DISTRIBUTION, point.name, point.value


def distribution_of(point: EntryPoint) -> tuple[str, str]:
    if point.dist is None:
        return "unknown", "unknown"
    return point.dist.metadata["Name"] or "unknown", point.dist.version or "unknown"
