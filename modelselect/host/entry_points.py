"""Which installed plugins are loaded, and in which order."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from modelselect.errors import Failure, PluginError, Stage
from modelselect.utils.text import valid_text
from modelselect.utils.versions import DISTRIBUTION

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

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


def kind_in_name(point: EntryPoint) -> str:
    """The kind that a shipped plugin brings, by its name: `zoos.timm` brings zoos, and nothing else."""
    family = point.name.partition(".")[0]
    return {"encoders": "architecture_encoders", "sections": "report_sections"}.get(family, family)


def distribution_of(point: EntryPoint) -> tuple[str, str]:
    return ("unknown", "unknown") if point.dist is None else _name_and_version(point.dist)


def installed() -> tuple[list[EntryPoint], dict[str, str]]:
    """The entry points of installed plugins, and the faults of damaged distributions by the folder that names them.

    Each distribution is read by itself: an interrupted installation leaves files that cannot be read.
    """
    from importlib.metadata import distributions

    points: dict[str, list[EntryPoint]] = {}
    faults: dict[str, str] = {}
    for distribution in distributions():
        try:
            _check_no_pipe(distribution)
            text = distribution.read_text("entry_points.txt")
            if text is None or f"[{PROJECT}]" not in text:
                continue
            found = list(distribution.entry_points.select(group=PROJECT))
        except Exception as error:
            where = _folder(distribution)
            reason = Failure.from_exception(Stage.RUN, error).reason
            faults[where] = f"the entry points in {where} cannot be read ({reason}); install the distribution again"
            continue
        points.setdefault(plain_name(_name_and_version(distribution)[0]), found)  # the first on the path counts
    return [point for each in points.values() for point in each], faults


def others_may_be_installed() -> bool:
    """False if no distribution but modelselect's own brings plugins, as far as the folders of `sys.path` show.

    `--help` asks this. `installed` would answer, too, but importing `importlib.metadata` and reading with it takes
    longer than the rest of `--help`.
    """
    for place in dict.fromkeys(sys.path):
        try:
            names = os.listdir(place or os.curdir)
        except FileNotFoundError:
            continue
        except OSError:  # an archive, or a folder that may not be read: `installed` knows what to do
            return True
        for name in names:
            if not name.endswith((".dist-info", ".egg-info", ".egg")):
                continue
            if plain_name(name.partition("-")[0]) == DISTRIBUTION:
                continue
            if name.endswith(".egg"):
                return True
            path = Path(place, name, "entry_points.txt")
            with contextlib.suppress(OSError):
                if path.is_fifo() or f"[{PROJECT}]".encode() in path.read_bytes():
                    return True
    return False


def _check_no_pipe(distribution: Distribution) -> None:
    """Raises PluginError if reading what the distribution says of itself would wait for another process."""
    folder = getattr(distribution, "_path", None)
    for name in ("entry_points.txt", "METADATA", "PKG-INFO"):
        if isinstance(folder, Path) and (folder / name).is_fifo():
            raise PluginError(f"{name} is a named pipe; expected a file")


@functools.lru_cache(maxsize=1024)  # a distribution is read once, and not for each of its entry points
def _name_and_version(distribution: Distribution) -> tuple[str, str]:
    """What the metadata say, else the name of the folder."""
    known = {}
    for field in ("Name", "Version"):
        with contextlib.suppress(Exception):  # damaged
            known[field] = valid_text(distribution.metadata[field] or "")
    name, _, version = _folder(distribution).removesuffix(".dist-info").partition("-")
    return known.get("Name") or name or "unknown", known.get("Version") or version or "unknown"


def _folder(distribution: Distribution) -> str:
    """Name of the folder that an installer wrote, such as `plugin-1.0.dist-info`."""
    return valid_text(Path(str(getattr(distribution, "_path", ""))).name)
