"""What the shell completes: names of estimators, zoos and pools.

Every press of the Tab key asks for a completion. So no plugin is imported: the names are read in the sources of the
shipped ones. Only plugins of others are loaded, which is slower.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

from typer.models import ParameterInfo

from modelselect.cli.terminal import loaded_host

VARIABLE = "_MODELSELECT_COMPLETE"
"""The environment variable in which the shell asks for completions."""

SHIPPED = "modelselect_plugins."
CLASS_NAME = re.compile(r'^    name = "(\w+)"$', re.MULTILINE)
ALIASES = re.compile(r'^    aliases = \("(\w+)",\)$', re.MULTILINE)
POOL_NAME = re.compile(r'\b_?[Pp]ool\(\s*"([\w-]+)"')


def estimators(incomplete: str) -> list[str]:
    """The names of estimators after the last comma, without those that are there already."""
    given, comma, _ = incomplete.rpartition(",")
    names = ["all", *_names("estimators", CLASS_NAME)]
    return [f"{given}{comma}{name}" for name in names if name not in given.split(",")]


def candidates(incomplete: str) -> list[str]:
    """Pools, and the beginnings of candidate expressions."""
    zoos = [*_names("zoos", CLASS_NAME), *_names("zoos", ALIASES)]
    return [f"pool:{name}" for name in _names("pools", POOL_NAME)] + [f"{name}:" for name in sorted(set(zoos))]


COMPLETERS: dict[str, Callable[[str], list[str]]] = {
    "estimators": estimators,
    "candidates": candidates,
    "further": candidates,
    "more": candidates,
    "expressions": candidates,
}
"""What completes a parameter of a command, by its name."""


def completing(command: Callable[..., None]) -> Callable[..., None]:
    """The command, whose parameters complete as `COMPLETERS` says."""
    import inspect

    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        for info in get_args(parameter.annotation):
            if isinstance(info, ParameterInfo) and name in COMPLETERS:
                info.autocompletion = COMPLETERS[name]
    return command


@contextlib.contextmanager
def words_as_typed() -> Iterator[None]:
    """Undoes what Bash does to words with colons: `pool:images` is three words, and the last is completed."""
    if os.environ.get(VARIABLE) != "complete_bash":
        yield
        return
    words, cursor = _joined(os.environ.get("COMP_WORDS", "").split("\n"), int(os.environ.get("COMP_CWORD", "0")))
    os.environ |= {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(cursor)}
    current = words[cursor] if cursor < len(words) else ""
    known = current[: current.rfind(":") + 1]
    answer = io.StringIO()
    try:
        with contextlib.redirect_stdout(answer):
            yield
    finally:
        print("\n".join(line.removeprefix(known) for line in answer.getvalue().splitlines()))


def _joined(words: list[str], cursor: int) -> tuple[list[str], int]:
    """The words with colons put together again, and the number of the word with the cursor."""
    joined: list[str] = []
    at = cursor
    for number, word in enumerate(words):
        if number > 1 and joined[-1] and (word == ":" or words[number - 1] == ":"):
            joined[-1] += word
            at -= number <= cursor
        else:
            joined.append(word)
    return joined, at


def _names(kind: str, pattern: re.Pattern[str]) -> list[str]:
    """The names of what plugins register of this kind, sorted."""
    from importlib.metadata import entry_points  # a twentieth of a second, which `--help` need not pay

    from modelselect.host.entry_points import PROJECT, is_chosen

    points = [point for point in entry_points(group=PROJECT) if is_chosen(point)]
    if not all(point.value.startswith(SHIPPED) for point in points):
        registered: dict[str, Any] = getattr(loaded_host(), kind)
        aliases = [alias for each in registered.values() for alias in getattr(each, "aliases", ())]
        return sorted({*registered, *aliases})
    return sorted(
        {name for point in points if point.name.startswith(f"{kind}.") for name in _read(point.value, pattern)}
    )


def _read(module: str, pattern: re.Pattern[str]) -> list[str]:
    from importlib.util import find_spec

    found = find_spec(module)
    return pattern.findall(Path(found.origin).read_text(encoding="utf-8")) if found and found.origin else []
