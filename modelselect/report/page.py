"""A report as one self-contained web page: markup, style and script in a file that loads nothing.

The template escapes every text. The page's Content-Security-Policy allows only the page's own script, by its digest,
and no requests.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from importlib.util import find_spec

from modelselect.errors import InvalidInputError
from modelselect.report import labels
from modelselect.report.decision import decision
from modelselect.report.names import dataset_name
from modelselect.report.sections import sections
from modelselect.report.subject import Subject
from modelselect.utils.versions import __version__

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
        loader=FunctionLoader(_asset), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
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
        placed=labels.placed,
        percent=_percent,
        up=_up,
        ticks_that_fit=labels.ticks_that_fit,
        height=labels.HEIGHT,
        version=__version__,
    )


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
