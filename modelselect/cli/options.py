"""Options that several commands share; those of `select` and `benchmark` are made from the fields of `Settings`."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import Field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

import typer

from modelselect.cli.terminal import shown_records
from modelselect.evaluation.keywords import settings_in
from modelselect.evaluation.settings import Option

Command = TypeVar("Command", bound=Callable[..., None])

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
AllFlag = Annotated[bool, typer.Option("--all", help="Show all rows, also if they are more than a screen.")]
TrustFlag = Annotated[bool, typer.Option("--trust-remote-code", help="Let candidates run the code that they bring.")]
CacheOption = Annotated[Path | None, typer.Option("--cache-dir", help="Folder of the store.", show_default=False)]


def _shown_if(context: typer.Context, wanted: bool) -> bool:
    if wanted and not context.resilient_parsing:
        context.with_resource(shown_records(logging.DEBUG))
    return wanted


VerboseFlag = Annotated[
    bool, typer.Option("--verbose", "-v", callback=_shown_if, help="Show the log: what is done, found and downloaded.")
]


def option_name(field: Field[Any]) -> str:
    """`--top-k` for `top_k`."""
    option: Option = field.metadata["option"]
    return option.name or f"--{field.name.replace('_', '-')}"


def with_settings(keywords: type, shown: Mapping[str, str] = MappingProxyType({})) -> Callable[[Command], Command]:
    """Gives a command that takes `**settings` an option for each of these keywords, after what it cannot do without.

    Args:
        keywords: a `TypedDict` of keywords.
        shown: by keyword, what `--help` shows as the default, if this command has another default.
    """

    def decorated(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        needed = [each for each in own if each.default is inspect.Parameter.empty]
        further = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own if each not in needed]
        made = [
            _parameter(field, shown.get(field.name, field.metadata["option"].shown))
            for field in settings_in(keywords)
            if field.metadata["option"] is not None
        ]
        command.__signature__ = signature.replace(parameters=[*needed, *made, *further])  # type: ignore[attr-defined]
        return command

    return decorated


def meant(options: Mapping[str, Any], keywords: type) -> dict[str, Any]:
    """The keywords that the options of a command line mean; `Settings` has the default of those that were left out."""
    found = {}
    for field in settings_in(keywords):
        option: Option | None = field.metadata["option"]
        value = options.get(field.name)
        if option is not None and value != _left_out(field) and (value or option.type is not list):
            found[field.name] = not value if option.negates else value
    return found


def _left_out(field: Field[Any]) -> Any:
    """The value of an option that is not on the command line."""
    option: Option = field.metadata["option"]
    if option.type is bool:
        return False
    return None if option.shown else field.default


def _parameter(field: Field[Any], shown: str) -> inspect.Parameter:
    option: Option = field.metadata["option"]
    default = _left_out(field)
    of_value: Any = list[str] if option.type is list else option.type
    described = typer.Option(
        option_name(field),
        *([option.short] if option.short else []),
        help=field.metadata["help"],
        show_default=shown or (default is not None and option.type is not bool),
        parser=option.parser,
        metavar=option.metavar or None,
    )
    annotation: Any = Annotated[of_value if default is not None else of_value | None, described]
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
