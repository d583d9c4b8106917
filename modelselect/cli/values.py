"""Values that stay as they were typed. Typer would import pydantic to convert them, which takes a sixth of a second."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


def as_typed(command: Any) -> Any:
    """The Click command, and the commands in it, which convert only values that are no texts."""
    for inner in getattr(command, "commands", {}).values():
        as_typed(inner)
    command.get_params = functools.partial(_lazy, command.get_params)
    return command


def _lazy(parameters: Callable[[Any], list[Any]], ctx: Any) -> list[Any]:
    """The parameters of a command, `--help` included, which do not build their conversion before they need it."""
    found = parameters(ctx)
    for parameter in found:
        converter = getattr(parameter, "get_runtime_param", None)  # older versions of Typer have no pydantic
        if converter is not None and not isinstance(converter, functools.partial):
            parameter.get_runtime_param = functools.partial(_AsTyped, converter)
    return found


class _AsTyped:
    """Takes the place of Typer's conversion of one parameter."""

    def __init__(self, converter: Callable[[], Any]) -> None:
        self._converter = converter

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value of the parameter. A missing value, one of the right type, and texts are kept."""
        kind, several = param.type_descriptor.annotation, param.multiple or param.nargs == -1
        if value is None:
            return () if several else None
        if type(value) is kind and not several:
            return value
        if kind == list[str] and several and not isinstance(value, str) and all(isinstance(v, str) for v in value):
            return list(value)
        return self._converter().coerce(value, param=param, ctx=ctx)
