"""A report as one self-contained web page: markup, style and script in a file that loads nothing.

The template escapes every text. The page's Content-Security-Policy allows only the page's own script, by its digest,
and no requests.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from typing import Any

from modelselect.errors import InvalidInputError
from modelselect.ranking.blocks import Cell
from modelselect.report import labels
from modelselect.report.decision import decision
from modelselect.report.names import dataset_name
from modelselect.report.sections import sections
from modelselect.report.subject import Subject
from modelselect.utils.text import printable_lines
from modelselect.utils.versions import __version__

ROWS_OF_A_PAGE = 250
"""Number of rows of the leaderboard that stand in the markup, so that they are there without a script. The others are
data, and the script shows this number of rows at a time."""

MOST_DATA = 4_000_000
"""Bytes of these data, so that the page has less than 5 MB."""

_COMMIT = re.compile(r"@([0-9a-f]{7})[0-9a-f]{33}$")
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[-+]\d+)?")

LONG_NAME = 18
"""Length of a name, in characters, above which the column of names is wide."""


def check_drawable() -> None:
    """Raises `InvalidInputError` if a library that draws the page is missing. Call it before the work."""
    if absent := missing():
        raise InvalidInputError(
            f"a report needs {' and '.join(absent)}; install with: pip install 'modelselect-automl[report]'"
        )


def missing() -> list[str]:
    """Names of the libraries that draw the page and are not installed."""
    return [name for name in ("jinja2",) if find_spec(name) is None]


def html(subject: Subject) -> str:
    """The page. See `Leaderboard.report`."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    script = _asset("script.js")
    return environment.get_template("page.html.jinja").render(
        policy=_policy(script),
        style=Markup(_asset("style.css")),
        script=Markup(script),
        dataset=dataset_name(subject.board),
        decision=decision(subject),
        sections=sections(subject),
        count=len(subject.board.rows),
        ranked=len(subject.board.ranked),
        long=max(map(len, subject.called), default=0) > LONG_NAME,
        rows_of_a_page=ROWS_OF_A_PAGE,
        packed=packed,
        placed=labels.placed,
        percent=_percent,
        up=_up,
        ticks_that_fit=labels.ticks_that_fit,
        height=labels.HEIGHT,
        version=__version__,
    )


@dataclass(frozen=True)
class Rest:
    """The rows of a table that do not stand in the markup.

    Attributes:
        text: JSON that may stand in a script element.
        held: number of rows in it.
    """

    text: str
    held: int


def packed(rows: Sequence[Sequence[Cell]], tones: Sequence[str]) -> Rest:
    """Rows of a table as JSON: of each row, its class and its cells. What exceeds `MOST_DATA` is left out.

    A cell is its text, or a list: text, sort key, bar, tone, link, note, about. What is empty at the end is left out,
    and so is a sort key that the text has, too. A bar is in percent.
    """
    lines: list[str] = []
    size = 0
    for tone, row in zip(tones, rows, strict=True):
        line = json.dumps([tone, *map(_content, row)], separators=(",", ":"), ensure_ascii=False)
        line = line.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
        size += len(line.encode()) + 1
        if size > MOST_DATA:
            break
        lines.append(line)
    return Rest(f"[{','.join(lines)}]", len(lines))


def _content(cell: Cell) -> str | list[str | float]:
    bar = "" if cell.bar is None else round(100 * cell.bar, 1)
    sort = "" if cell.sort == cell.text.lower() or _is_number(cell.text) else cell.sort or "-"
    about = _COMMIT.sub(r"@\1", cell.about)
    parts = list(map(_shown, (cell.text, sort, bar, cell.tone, cell.link or "", cell.note, about)))
    while len(parts) > 1 and parts[-1] == "":
        parts.pop()
    return parts[0] if len(parts) == 1 else parts


_JOINERS = "\u200c\u200d"
"""Characters within emoji, and within words of Persian and of Indian languages; they turn nothing."""


def _shown(value: Any) -> Any:
    """A text of somebody else without control characters and marks that turn its direction; other values as they are.

    Markup is as it is, too. What jinja2 escapes is markup, and none of these.
    """
    if not isinstance(value, str) or hasattr(value, "__html__") or (value.isascii() and value.isprintable()):
        return value
    return "".join(part if part in _JOINERS else printable_lines(part) for part in re.split(f"([{_JOINERS}])", value))


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _percent(place: float) -> str:
    """A place on the horizontal axis, which is as wide as the page allows."""
    return f"{100 * place:.2f}%"


def _up(place: float) -> str:
    """A place on the vertical axis, in pixels from the top."""
    return f"{(1 - place) * labels.HEIGHT:.1f}"


def _asset(name: str) -> str:
    return (resources.files("modelselect.report") / name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
