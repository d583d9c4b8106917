"""Reads values of a document that anybody may have written: each has its type, or an error names the field."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any

from modelselect.candidates.candidate import Candidate
from modelselect.candidates.metadata import metadata_fault
from modelselect.errors import LeaderboardError
from modelselect.utils.text import valid_text

DEEPEST = 60
"""Levels of objects and lists in a document. Those that modelselect writes have about 10."""

LARGEST = 10**18
"""Of whole numbers. Larger ones count nothing, and break arithmetic."""

LARGEST_FLOAT = 1e300
"""Of other numbers. Larger ones overflow where they are shown in per cent."""


def plain(value: Any, where: str, depth: int = 0) -> Any:
    """The JSON value with valid texts.

    Raises:
        LeaderboardError: a number is not finite or too large, or values are nested too deeply.
    """
    if isinstance(value, str):
        return valid_text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        largest = LARGEST if isinstance(value, int) else LARGEST_FLOAT
        if not abs(value) <= largest:
            raise refused(where, value, f"a finite number up to {largest:.0e}")
        return value
    if depth > DEEPEST:
        raise LeaderboardError(f"{where} is nested more than {DEEPEST} levels deep")
    if isinstance(value, list):
        return [plain(part, f"{where}[{index}]", depth + 1) for index, part in enumerate(value)]
    return {valid_text(key): plain(part, f"{where}.{key}", depth + 1) for key, part in value.items()}


def typed(value: Any, kind: Any, where: str) -> Any:
    """The plain value as the type of a field: a dataclass, a tuple, a mapping, a number or a text.

    Args:
        value: what `plain` returned.
        kind: the annotation of the field.
        where: the path of the field.

    Raises:
        LeaderboardError: the value is of another type.
    """
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _record(value, kind, where)
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else typed(value, next(part for part in parts if part is not type(None)), where)
    if origin is tuple:
        return _tuple(value, parts, where)
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            raise refused(where, value, "an object")
        return {key: typed(part, parts[1], f"{where}.{key}") for key, part in value.items()}
    allowed: Any = (int, float) if kind is float else kind
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
        raise refused(where, value, _EXPECTED[kind])
    return value


def refused(where: str, value: Any, expected: str) -> LeaderboardError:
    """The error for a field with a wrong value."""
    shown = "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else repr(value)
    return LeaderboardError(f"{where} is {shown if len(shown) <= 60 else shown[:60] + '…'}; expected {expected}")


_EXPECTED = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _record(value: Any, kind: Any, where: str) -> Any:
    """An object of a dataclass. Fields that it does not have are ignored."""
    if not isinstance(value, dict):
        raise refused(where, value, "an object")
    known, hints = {}, _hints(kind)
    for field in dataclasses.fields(kind):
        if field.name in value:
            known[field.name] = typed(value[field.name], hints[field.name], f"{where}.{field.name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise LeaderboardError(f"{where} has no {field.name!r}")
    if kind is Candidate:
        _check_metadata(known.get("metadata", {}), f"{where}.metadata")
    return kind(**known)


def _check_metadata(metadata: Mapping[str, Any], where: str) -> None:
    for key, value in metadata.items():
        fault = None if value is None else metadata_fault(key, tuple(value) if isinstance(value, list) else value)
        if fault is not None:
            raise refused(f"{where}.{key}", value, fault)


def _tuple(value: Any, parts: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise refused(where, value, "a list")
    if parts[-1] is Ellipsis:
        return tuple(typed(part, parts[0], f"{where}[{index}]") for index, part in enumerate(value))
    if len(value) != len(parts):
        raise LeaderboardError(f"{where} has {len(value)} values; expected {len(parts)}")
    return tuple(
        typed(part, kind, f"{where}[{index}]") for index, (part, kind) in enumerate(zip(value, parts, strict=True))
    )


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)
