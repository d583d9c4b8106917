"""Hooks, and arguments of hooks, that have a new name. The old name works for a release, and using it warns.

A plugin's own tests show the warning: pytest prints every `DeprecationWarning`, with the line of the plugin.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pluggy

from modelselect.utils.versions import DISTRIBUTION


@dataclass(frozen=True)
class Renamed:
    """What the contract called otherwise before.

    Attributes:
        new: the new name.
        since: the version of the distribution that renamed it.
        until: the first version without the old name.
    """

    new: str
    since: str
    until: str

    def warning(self, old: str) -> DeprecationWarning:
        """What an author of a plugin reads."""
        return DeprecationWarning(
            f"{old} is called {self.new} since {DISTRIBUTION} {self.since}; the old name works until {self.until}. "
            f"Rename it, and ask for {DISTRIBUTION}>={self.since}"
        )


RENAMED_HOOKS: Mapping[str, Renamed] = {}
"""By the old name of a hook. Remove an entry with the release that it names, and raise `CONTRACT` with it."""

RENAMED_ARGUMENTS: Mapping[str, Mapping[str, Renamed]] = {}
"""By the name of a hook, and the old name of an argument. The specification of the hook keeps the old argument."""


class PluginManager(pluggy.PluginManager):
    """Takes an implementation of a renamed hook for one of the new hook."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        options = super().parse_hookimpl_opts(plugin, name)
        renamed = RENAMED_HOOKS.get(options["specname"] or name) if options else None
        if options is None or renamed is None:
            return options
        function = getattr(plugin, name)
        code = getattr(getattr(function, "__func__", function), "__code__", None)
        file, line = (code.co_filename, code.co_firstlineno) if code else ("<plugin>", 1)
        warnings.warn_explicit(renamed.warning(name), None, file, line)
        return {**options, "specname": renamed.new}


def with_old_names(hook: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a hook, also under the names that they had before."""
    renamed = RENAMED_ARGUMENTS.get(hook, {})
    return {**arguments, **{old: arguments[each.new] for old, each in renamed.items() if each.new in arguments}}


def implements(plugin: object, hook: str) -> bool:
    """Whether a plugin has a hook, under this name or an old one."""
    return any(hasattr(plugin, name) for name in (hook, *(old for old, r in RENAMED_HOOKS.items() if r.new == hook)))
