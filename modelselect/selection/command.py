"""The command line that repeats a run."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from modelselect.evaluation.settings import RECIPE_PARTS, Settings
from modelselect.verification.recipe import FineTuning

_SIZES = ("max_download", "max_training_memory")
"""The settings that are numbers of bytes in Python, and need a unit on the command line."""


def command_line(settings: Settings, dataset: Any, candidates: Any) -> list[str] | None:
    """The words of a command that repeats the run; None if an argument is a Python object without a text form.

    >>> command_line(Settings(top_k=3, probe_size=None), "photos", ["embedded:*", "dir:models/*"])
    ['modelselect', 'select', 'photos', '-c', 'embedded:*', '-c', 'dir:models/*', '--top-k', '3', '--probe-size', 'all']
    """
    expressions = [] if candidates is None else candidates if isinstance(candidates, list | tuple) else [candidates]
    if not all(isinstance(each, str | os.PathLike) for each in (dataset, *expressions)):
        return None
    words = ["modelselect", "select", os.fspath(dataset)]
    words += [word for each in expressions for word in ("-c", os.fspath(each))]
    for each in fields(Settings):
        value = getattr(settings, each.name)
        if each.name in ("progress", "confirm") or value == each.default:
            continue
        option = _recipe_options(value) if each.name == "fine_tuning" else _option(each.name, value)
        if option is None:
            return None
        words += option
    return words


def _option(name: str, value: Any) -> list[str] | None:
    """The words of one option; None if its value has no text form."""
    option = f"--{name.replace('_', '-')}"
    if name == "history" and value is False:
        return ["--no-history"]
    if value is True:
        return [option]
    if name == "executor_options":
        plain = all(isinstance(each, str | int | float) for each in value.values())
        return [w for key, each in value.items() for w in ("--executor-option", f"{key}={each}")] if plain else None
    if name in ("license", "language", "prompt"):
        return [word for each in ([value] if isinstance(value, str) else value) for word in (option, each)]
    if name in _SIZES and isinstance(value, int | float):
        return [option, f"{int(value)}B"] if math.isfinite(value) else None
    if name == "probe_size" and value is None:
        return [option, "all"]
    if isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(each, str) for each in value):
        return [option, ",".join(value)]
    return [option, str(value)] if isinstance(value, str | int | float | os.PathLike) else None


def _recipe_options(recipe: FineTuning) -> list[str] | None:
    """The options of a recipe; None if it differs from the default in something that no option sets.

    The epochs are always named: without a recipe, fewer epochs may fit into `max_time`.
    """
    usual = FineTuning()
    changed = {
        each.name: value
        for each in fields(recipe)
        if (value := getattr(recipe, each.name)) != getattr(usual, each.name) or each.name == "epochs"
    }
    if not changed.keys() <= set(RECIPE_PARTS):
        return None
    return [word for name, value in changed.items() for word in (f"--{name}", str(value))]
