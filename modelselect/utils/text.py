"""Numbers and names for people to read, and escaping for Markdown, LaTeX and terminals."""

from __future__ import annotations

import io
import math
import re
import shutil
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any


def duration(seconds: float | None) -> str:
    """`4 s`, `3 min`, `2.5 h`.

    >>> duration(200.0)
    '3 min'
    """
    if seconds is None:
        return "unknown"
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


PLAIN_WIDTH = 100
"""Characters in a line if there is no terminal, and COLUMNS does not say otherwise."""

WIDEST = 200
"""Characters in a line of a text file of figures with intervals, whose lines cannot be shorter."""


def line_width() -> int:
    """Characters in a line: of the terminal, or as the environment variable COLUMNS says, or `PLAIN_WIDTH`."""
    return shutil.get_terminal_size((PLAIN_WIDTH, 0)).columns


def plain_text(shown: Any, width: int = PLAIN_WIDTH) -> str:
    """What Rich prints of an object, without colours, in lines of this many characters."""
    from rich.console import Console

    # In a notebook, Rich would show the text instead of writing it into the file.
    console = Console(file=io.StringIO(), width=width, color_system=None, force_jupyter=False)
    console.print(shown)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def in_lines(sentences: Sequence[str], width: int) -> list[str]:
    """The sentences in lines of this many characters. One that begins with a space is a command, and stays whole.

    >>> in_lines(["one two three", "  a command", ""], 8)
    ['one two', 'three', '  a command', '']
    """
    return [
        line
        for text in sentences
        for line in ([text] if text.startswith(" ") or not text else textwrap.wrap(text, width, break_on_hyphens=False))
    ]


def interactive_text(shown: Any) -> str:
    """What Rich prints of an object, as wide as the terminal: what an interactive interpreter shows of a value."""
    return plain_text(shown, line_width()).rstrip()


REGISTERED_NAME = re.compile(r"[a-z][a-z0-9_-]*")
"""What names of registered objects and of plugins look like."""

UNKNOWN = "–"


def printable(text: str) -> str:
    r"""The text without control characters, which a terminal would execute, and without marks that turn its direction.

    >>> printable("a\x1b[31m"), printable("a\u202egnp.exe")
    ('a�[31m', 'a�gnp.exe')

    Spaces of other kinds, such as those between the digits of 30\u00a0000, become plain ones.
    """
    return text if text.isprintable() else "".join(map(_printable_character, text))


def _printable_character(character: str) -> str:
    if character.isprintable():
        return character
    return " " if unicodedata.category(character) == "Zs" else "\ufffd"


def printable_lines(text: str) -> str:
    """The text as `printable` makes it, with its line breaks."""
    return "\n".join(map(printable, text.split("\n")))


def valid_text(text: str) -> str:
    r"""The text without halves of surrogate pairs, which no file and no terminal takes.

    >>> valid_text("caf\udce9")
    'caf�'
    """
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def as_python(value: Any) -> Any:
    """A number or a text of NumPy, alone or in a list, as the one of Python, whose `repr` is what a person types.

    >>> import numpy as np
    >>> as_python(np.str_("a")), as_python([np.float64(0.5), 2])
    ('a', [0.5, 2])
    """
    if type(value) in (list, tuple):
        return type(value)(map(as_python, value))
    return value.item() if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0 else value


def with_unit(count: float) -> str:
    """A count in three digits: `999` -> `999`, `1234567` -> `1.23M`."""
    return f"{count:.0f}" if count < 999.5 else short_number(count)


def chance_text(probability: float) -> str:
    """An estimated probability in words that claim no more precision than it has.

    >>> chance_text(0.876), chance_text(0.998), chance_text(0.001)
    ('88%', 'more than 99%', 'less than 1%')
    """
    return "more than 99%" if probability > 0.99 else "less than 1%" if probability < 0.01 else f"{probability:.0%}"


def short_chance(probability: float) -> str:
    """The same in a cell of a table.

    >>> short_chance(0.876), short_chance(0.998), short_chance(0.001)
    ('88%', '>99%', '<1%')
    """
    return ">99%" if probability > 0.99 else "<1%" if probability < 0.01 else f"{probability:.0%}"


def short_number(value: float) -> str:
    """`1234567` -> `1.23M`.

    >>> short_number(1234567), short_number(12.5), short_number(0.25)
    ('1.23M', '12.5', '0.25')
    """
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:  # 999,500 and more are rounded to 1M
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def in_bytes(value: float) -> str:
    """`1234567` -> `1.23 MB`."""
    text = short_number(value)
    return f"{text[:-1]} {text[-1]}B" if text[-1].isalpha() else f"{text} B"


def too_many_rows(what: str, rows: int, needed: int, free: int | None) -> str | None:
    """Why rows do not fit into memory; None if they do, or if it is unknown what is free.

    >>> too_many_rows("x.csv", 1_000, 2_000_000, 500_000)
    'x.csv has 1,000 rows, which take about 2 MB of memory, and 500 kB are free'
    """
    if free is None or needed <= free:
        return None
    return f"{what} has {rows:,} rows, which take about {in_bytes(needed)} of memory, and {in_bytes(free)} are free"


def listed(items: Sequence[str], most: int = 3) -> str:
    """A list in words: `a, b and 4 more`.

    >>> listed(["a", "b", "c"]), listed(list("abcdef"), 2)
    ('a, b and c', 'a, b and 4 more')
    """
    shown = list(items) if len(items) <= most else [*items[:most], f"{len(items) - most} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def counted(number: int, one: str, several: str = "") -> str:
    """A number and what it counts.

    >>> counted(1, "row"), counted(2000, "row"), counted(2, "box", "boxes")
    ('1 row', '2,000 rows', '2 boxes')
    """
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def two_digits(amount: float) -> int:
    """A whole number of at least this amount with two digits that are not 0: what a person would type.

    >>> two_digits(0.2), two_digits(41.2), two_digits(1234)
    (1, 42, 1300)
    """
    step: int = 10 ** max(len(str(math.ceil(amount))) - 2, 0)
    return math.ceil(amount / step) * step


def csv_cell(value: Any) -> Any:
    """The value of a cell of a CSV file. A text that a spreadsheet would run as a formula gets an apostrophe.

    >>> csv_cell("=1+1"), csv_cell("resnet"), csv_cell(-1.5)
    ("'=1+1", 'resnet', -1.5)
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def text_of_csv(value: Any) -> Any:
    """What `csv_cell` was given.

    >>> text_of_csv("'=1+1"), text_of_csv("'tis")
    ('=1+1', "'tis")
    """
    is_escaped = isinstance(value, str) and value.startswith("'") and value[1:].startswith(_FORMULA)
    return value[1:] if is_escaped else value


_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a text begins with that a spreadsheet runs."""


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
    "±": r"$\pm$",
} | {c: f"\\{c}" for c in "&%$#_"}


def escaped(text: str) -> str:
    """The text escaped for Markdown: nothing in it is markup, a link or a new cell."""
    plain = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|~#!$])", r"\\\1", plain)


def latex_escaped(text: str) -> str:
    """The text escaped for LaTeX: nothing in it is a command, a comment or a new cell."""
    return "".join(_LATEX.get(c, c) for c in printable(text))


def percent(probability: float) -> str:
    """`97%`, `0.2%`, `less than 0.1%`, `more than 99.9%`.

    >>> percent(0.973), percent(0.002), percent(0.0)
    ('97%', '0.2%', 'less than 0.1%')
    """
    if probability < 0.001:
        return "less than 0.1%"
    if probability > 0.999:
        return "more than 99.9%"
    return f"{probability:.1%}" if min(probability, 1 - probability) < 0.02 else f"{probability:.0%}"
