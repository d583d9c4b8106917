"""`ReportSection`: a section that a plugin adds to the report, and the check of what it gives."""

from __future__ import annotations

import abc
import copy
import math
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, ClassVar, Union, get_args, get_origin, get_type_hints

from modelselect.errors import PluginError, contained
from modelselect.ranking.blocks import Block, Chart, Intervals, Section, Table
from modelselect.ranking.ranking import Ranking
from modelselect.utils.process_state import unchanged
from modelselect.utils.text import valid_text

MOST_VALUES = 50_000
"""Texts and numbers in one section. A section without an end must not fill the memory."""

MOST_CHARACTERS = 1_000_000
"""Characters in one section; a whole page without added sections has a tenth to a quarter of this."""

_PATTERNS: Mapping[str, tuple[str, str]] = {
    "link": (r"https?://[^\s\"'<>]+", "an address that begins with https://"),
    "address": (r"data:image/(png|jpeg|webp|gif);base64,[A-Za-z0-9+/=]+", "a picture as a base64 `data:` address"),
    "colour": (r"(#[0-9a-fA-F]{6})?", "a colour such as '#1f77b4'"),
    "tone": (r"((heat|cold)-[0-8]|front|other|behind)?", "'', 'heat-1' to 'heat-8', 'cold-1' to 'cold-8' or 'front'"),
    "style": (r"plain|bars|heat", "'plain', 'bars' or 'heat'"),
    "language": (r"[\w+-]*", "the name of a language, such as 'python'"),
    "group": (r"[\w-]*", "letters, digits, _ and -"),
}
"""What texts must be that are not only shown, by the name of their field; and how a message says it."""

_SHARES = frozenset({"x", "y"})
"""Fields that are places in a chart, from 0 to 1."""


class ReportSection(abc.ABC):
    """Adds a section to the report. Register an instance with `modelselect_register_report_sections`.

    Attributes:
        name: unique among report sections.
        title: the heading.
        folded: whether the page shows only the heading at first.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    folded: ClassVar[bool] = False

    @abc.abstractmethod
    def blocks(self, board: Ranking) -> Sequence[Block]:
        """What the section says of a ranking, as plain data; nothing if it has nothing to say.

        The page and the Markdown render the blocks, and escape every text. The ranking is a copy: a change to it has no
        effect.
        """


def section_of(added: ReportSection, board: Ranking) -> Section | None:
    """The section of a plugin, checked and rebuilt from plain texts and numbers; None if it has nothing to say.

    Raises:
        PluginError: what the plugin gives is no list of blocks, or a block holds what cannot be shown.
        Exception: whatever the plugin raises.
    """
    with unchanged(imports=True), contained():
        given = added.blocks(copy.deepcopy(board))
        blocks = _Copy().sequence(given, Block, "blocks()")
    if not blocks:
        return None
    return Section(f"section-{added.name}", valid_text(str.__str__(added.title)), blocks, folded=bool(added.folded))


class _Copy:
    """Copies blocks, and counts what they hold.

    A text of a subclass becomes a plain one: markup that calls itself safe would not be escaped. A block of a subclass
    is refused.
    """

    def __init__(self) -> None:
        self.values = MOST_VALUES
        self.characters = MOST_CHARACTERS

    def sequence(self, value: Any, hint: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise PluginError(f"{where} is a {type(value).__name__}; expected a list")
        return tuple(self.value(each, hint, f"{where}[{i}]") for i, each in enumerate(value))

    def value(self, value: Any, hint: Any, where: str) -> Any:
        self.values -= 1
        if self.values < 0:
            raise PluginError(f"the section holds more than {MOST_VALUES:,} texts and numbers; show fewer")
        origin = get_origin(hint)
        if origin in (Union, types.UnionType):
            return self.one_of(value, get_args(hint), where)
        if origin is tuple:
            kinds = get_args(hint)
            if not isinstance(value, list | tuple) or len(value) != len(kinds):
                raise PluginError(f"{where} is {value!r:.80}; expected {len(kinds)} values")
            return tuple(self.value(value[i], kind, f"{where}[{i}]") for i, kind in enumerate(kinds))
        if origin is not None:
            return self.sequence(value, get_args(hint)[0], where)
        return self.block(value, hint, where) if is_dataclass(hint) else self.plain(value, hint, where)

    def one_of(self, value: Any, kinds: Sequence[Any], where: str) -> Any:
        if value is None and type(None) in kinds:
            return None
        known = [kind for kind in kinds if kind is not type(None)]
        if len(known) == 1 or get_origin(known[0]) is not None:
            return self.value(value, known[0], where)
        for kind in known:
            if type(value) is kind:
                return self.block(value, kind, where)
        names = ", ".join(kind.__name__ for kind in known)
        raise PluginError(f"{where} is a {type(value).__name__}; expected one of {names}, from modelselect.report")

    def block(self, value: Any, kind: Any, where: str) -> Any:
        hints = _hints(kind)
        if type(value) is not kind:
            raise PluginError(f"{where} is a {type(value).__name__}; expected a modelselect.report.{kind.__name__}")
        parts = {
            field.name: self.field(getattr(value, field.name), hints[field.name], field.name, f"{where}.{field.name}")
            for field in fields(kind)
        }
        copied = kind(**parts)
        for fault in _misfits(copied):
            raise PluginError(f"{where} {fault}")
        return copied

    def field(self, value: Any, hint: Any, name: str, where: str) -> Any:
        copied = self.value(value, hint, where)
        pattern, meaning = _PATTERNS.get(name, ("", ""))
        if pattern and isinstance(copied, str) and not re.fullmatch(pattern, copied):
            raise PluginError(f"{where} is {copied!r:.80}; expected {meaning}")
        if name in _SHARES and isinstance(copied, float) and not 0 <= copied <= 1:
            raise PluginError(f"{where} is {copied}; expected a place in the chart, from 0 to 1")
        return copied

    def plain(self, value: Any, hint: Any, where: str) -> Any:
        if hint is str and isinstance(value, str):
            self.characters -= len(value)
            if self.characters < 0:
                raise PluginError(f"the section holds more than {MOST_CHARACTERS:,} characters; show fewer")
            return valid_text(str.__str__(value))
        if hint is bool and isinstance(value, bool):
            return value
        if hint in (int, float) and not isinstance(value, bool | str):
            try:
                number = hint(value)
            except (TypeError, ValueError, OverflowError):
                number = math.nan
            if math.isfinite(number):
                return number
        expected = {str: "a text", bool: "True or False", int: "a whole number", float: "a finite number"}[hint]
        raise PluginError(f"{where} is {value!r:.80}; expected {expected}")


def _misfits(block: Any) -> Iterator[str]:
    """What does not fit together in a block."""
    if isinstance(block, Table):
        lengths = {len(column.cells) for column in block.columns}
        if len(lengths) > 1:
            yield f"has columns of {' and '.join(map(str, sorted(lengths)))} cells; expected the same number in each"
        if not block.columns or not 0 <= block.head < len(block.columns):
            yield f"has {len(block.columns)} columns, and head={block.head}; expected the place of one of its columns"
        if block.tones and len(block.tones) != len(block.columns[0].cells):
            yield f"has {len(block.tones)} tones; expected one for each of its {len(block.columns[0].cells)} rows"
    if isinstance(block, Intervals) and not block.low < block.high:
        yield f"has a scale from {block.low} to {block.high}; expected low < high"
    if isinstance(block, Chart):
        if not block.dots:
            yield "has no dots"
        places = [place for axis in (block.x, block.y) for place, _ in axis.ticks]
        places += [place for line in block.lines for point in line.points for place in point]
        if outside := [place for place in places if not 0 <= place <= 1]:
            yield f"has a tick or a line at {outside[0]}; expected places in the chart, from 0 to 1"
        pattern, meaning = _PATTERNS["colour"]
        if wrong := [colour for _, colour in block.legend if not re.fullmatch(pattern, colour)]:
            yield f"has {wrong[0]!r:.80} in its legend; expected {meaning}"


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
