"""The command `estimators`: all of them on one screen, or one in detail."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelselect.cli.options import JsonFlag
from modelselect.cli.streams import answering
from modelselect.cli.terminal import console, loaded_host, print_json

if TYPE_CHECKING:
    from modelselect.estimators.estimator import Estimator

FAMILIES: tuple[tuple[str, Callable[[Estimator], bool]], ...] = (
    ("Facts and history: no forward pass", lambda e: e.cost == "free"),
    ("Several kinds of evidence together", lambda e: not e.requires or "members" in e.parameters),
    ("Classes of the data that it was pre-trained on", lambda e: "source_probabilities" in e.requires),
    ("Another network, or the data that it was pre-trained on", lambda e: not e.requires <= {"features", "labels"}),
    ("Features, no labels", lambda e: "labels" not in e.requires),
    ("Features and labels, fast", lambda e: e.cost == "closed form"),
    ("Features and labels, slower", lambda e: True),
)
"""The title of each family, and whether an estimator belongs to it. The first that fits counts."""


def estimators(
    name: Annotated[str | None, typer.Argument(help="Show this estimator in detail.", show_default=False)] = None,
    as_json: JsonFlag = False,
) -> None:
    """List estimators, or show one in detail."""
    host = loaded_host()
    known = dict(sorted(host.estimators.items())) if name is None else {name: host.estimator(name)}
    listed = [_described(host, e) for e in known.values()]
    if as_json:
        print_json(listed)
    elif name is not None:
        _print_one(known[name], listed[0])
    else:
        _print_all(known.values())


def _described(host: Any, estimator: Estimator) -> dict[str, Any]:
    from modelselect.estimators.unusable import usable

    parameters = usable(estimator, "its plugin").parameters
    return {
        "name": estimator.name,
        "summary": summary(estimator),
        "requires": sorted(estimator.requires),
        "cost": estimator.cost,
        "targets": sorted(estimator.targets) if "labels" in estimator.reads else [],
        "relative": estimator.relative,
        "stochastic": estimator.stochastic,
        "parameters": {k: repr(v) for k, v in parameters.items()},
        "citation": estimator.citation,
        "plugin": host.owner("estimators", estimator.name).owner,
    }


def summary(estimator: Estimator) -> str:
    """What it asks, in one sentence: the paragraph `In short:` of the class's docstring, else its first line."""
    doc = inspect.cleandoc(type(estimator).__doc__ or "")
    found = re.search(r"^In short: (.+)$", doc, re.MULTILINE)
    return found[1] if found else doc.split("\n", 1)[0]


def _print_all(known: Iterable[Estimator]) -> None:
    """One line each, by family. A sentence that is too long for the line is cut off."""
    from rich.text import Text

    from modelselect.host.defaults import DEFAULT_ESTIMATORS
    from modelselect.utils.text import printable

    families: dict[str, list[Estimator]] = {title: [] for title, _ in FAMILIES}
    for estimator in known:
        families[next(title for title, belongs in FAMILIES if belongs(estimator))].append(estimator)
    names = max((len(e.name) for group in families.values() for e in group), default=0)
    with answering():
        out = console()
        for title, group in families.items():
            if group:
                out.print(Text(title, style="bold"))
            for e in group:
                mark = "*" if e.name in DEFAULT_ESTIMATORS else " "
                line = printable(f"{mark} {e.name:<{names}}  {summary(e)}")
                out.print(Text(line, overflow="ellipsis", no_wrap=True), no_wrap=True)
        out.print("* is the default. modelselect estimators NAME shows one in detail, --json all.", markup=False)


def _print_one(estimator: Estimator, described: dict[str, Any]) -> None:
    """The docstring of the class up to its examples, and what it takes."""
    from rich.text import Text

    from modelselect.utils.text import printable

    prose = re.split(r"^>>> ", inspect.cleandoc(type(estimator).__doc__ or ""), maxsplit=1, flags=re.MULTILINE)[0]
    parameters = ", ".join(f"{name}={value}" for name, value in described["parameters"].items())
    facts = {
        "requires": ", ".join(described["requires"]) or "nothing",
        "labels": ", ".join(described["targets"]) or "none",
        "cost": described["cost"],
        "relative to a pool": "yes" if described["relative"] else "no",
        "random": "yes, from the seed" if described["stochastic"] else "no",
        "parameters": parameters or "none",
        "citation": described["citation"],
        "plugin": described["plugin"],
    }
    prose = re.sub(r"(?<=\S)\n(?=\S)", " ", prose.rstrip())  # lines of a paragraph are as long as the terminal's
    lines = [estimator.name, "", *map(printable, prose.splitlines()), ""]
    lines += [printable(f"{what}: {value}") for what, value in facts.items()]
    with answering():
        console().print(Text("\n".join(lines)))
