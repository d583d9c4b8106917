"""JSON files that are too large to be held in memory: an object of lists, read entry by entry."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

MOST_CHARACTERS = 1 << 26
"""Characters of one entry, at most: 64 million."""

_CHUNK = 1 << 20
MOST_LEVELS = 500
"""Levels of lists and objects. A parser in C that calls itself for each ends the process at some thousands."""

_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_TEXT = re.compile(rb'"[^"\n]*(?:"|\n|\Z)')
_NO_MARKS = bytes(byte for byte in range(256) if byte not in b'"[]{}n\n')
_STEPS = bytes(1 if byte in b"[{" else 255 if byte in b"]}" else 0 for byte in range(256))
_AFTER_VALUES = frozenset(" \t\n\r,:]}")
_SPACE = re.compile(r"[ \t\n\r]*")


def read_lists(path: Path, takers: Mapping[str, Callable[[Any], None]]) -> frozenset[str]:
    """Gives each entry of some lists in a JSON object to a function, in the order of the file; skips other values.

    Args:
        path: of the file.
        takers: for the name of each list, what gets its entries.

    Returns:
        The names of those lists that the file holds.

    Raises:
        ValueError: the file is no JSON object in UTF-8, or an entry is larger than `MOST_CHARACTERS`.
        RecursionError: an entry is nested too deep.
    """
    found = set()
    with path.open(encoding="utf-8-sig") as file:
        text = _Text(file)
        text.expect("{")
        while text.next() != "}":
            name = text.value()
            if not isinstance(name, str):
                raise ValueError(f"{str(name)[:40]} is where a name is expected")
            text.expect(":")
            if name in takers and text.next() == "[":
                found.add(name)
                text.expect("[")
                while text.next() != "]":
                    takers[name](text.value())
                    text.expect(",", unless="]")
                text.expect("]")
            else:
                text.value()
            text.expect(",", unless="}")
        text.expect("}")
        text.expect("")
    return frozenset(found)


def fault_of_rows(file: IO[bytes]) -> str | None:
    """Why the JSON, or the lines of JSON, in a file must not be given to a parser in C, which could end the process.

    Returns:
        A part of a sentence, if there are more than `MOST_LEVELS` levels of lists and objects, null is in the place of
        a row, or a byte is zero; else None.
    """
    level, rest, of_rows = 0, b"", None
    while part := file.read(_CHUNK):
        if b"\0" in part:
            return "holds bytes of zero, as damaged files do"
        part = rest + part
        rest = b"\\" if (len(part) - len(part.rstrip(b"\\"))) % 2 else b""
        marks = _ESCAPED.sub(b"", part.removesuffix(rest)).translate(None, _NO_MARKS)
        if marks.count(b'"', marks.rfind(b"\n") + 1) % 2:
            rest = b'"' + rest  # a text goes on
        marks = _TEXT.sub(b"", marks)
        if of_rows is None and (first := marks.lstrip(b"\n")[:1]):
            of_rows = int(first == b"[")  # rows are entries of one list, or stand alone
        levels = level + np.cumsum(np.frombuffer(marks.translate(_STEPS), np.int8), dtype=np.int64)
        levels -= np.minimum.accumulate(np.minimum(levels, 0))
        if levels.max(initial=0) > MOST_LEVELS:
            return f"has more than {MOST_LEVELS} levels of lists and objects"
        is_null = np.frombuffer(marks, np.uint8) == ord("n")
        if (levels[is_null] <= (of_rows or 0)).any():
            return "has null in the place of a row"
        level = int(levels[-1]) if len(levels) else level
    return None


class _Text:
    """A part of a file, and where it is read."""

    def __init__(self, file: io.TextIOBase) -> None:
        self._file, self._text, self._place, self._ended = file, "", 0, False
        self._decode = json.JSONDecoder().raw_decode

    def next(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            found = _SPACE.match(self._text, self._place)
            assert found is not None
            self._place = found.end()
            if self._place < len(self._text):
                return self._text[self._place]
            if self._ended:
                return ""
            self._read()

    def expect(self, character: str, *, unless: str = "") -> None:
        """Goes past a character that has to come next, unless another one does, which stays."""
        found = self.next()
        if found == character:
            self._place += 1
        elif not found or found != unless:
            raise ValueError(f"{found!r} is where {character!r} is expected" if found else "the file ends too early")

    def value(self) -> Any:
        """The next value."""
        self.next()
        while True:
            try:
                value, end = self._decode(self._text, self._place)
            except json.JSONDecodeError as error:
                if self._ended:
                    raise ValueError(error.msg) from None
            else:
                if self._text[end : end + 1] in _AFTER_VALUES or self._ended:  # a number may go on
                    self._place = end
                    return value
            if len(self._text) - self._place > MOST_CHARACTERS:
                raise ValueError(f"an entry is damaged, or has more than {MOST_CHARACTERS:,} characters")
            self._read()

    def _read(self) -> None:
        """Reads as much as is left over, so that a long value is not read too often."""
        rest = self._text[self._place :]
        more = self._file.read(max(_CHUNK, len(rest)))
        self._text, self._place, self._ended = rest + more, 0, not more
