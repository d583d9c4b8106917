"""Candidate expressions: `zoo:pattern`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from modelselect.errors import ExpressionError

_EXPRESSION = re.compile(r"(?P<zoo>[A-Za-z][A-Za-z0-9_-]*):(?P<pattern>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Expression:
    """A candidate expression, taken apart: `zoo:pattern[@revision]`.

    >>> Expression.parse("timm:resnet*")
    Expression(zoo='timm', pattern='resnet*')
    """

    zoo: str
    pattern: str

    @classmethod
    def parse(cls, text: str) -> Expression:
        match = _EXPRESSION.fullmatch(text.strip())
        if match is None:
            raise ExpressionError(
                f"{text!r} is not a candidate expression. Expected 'zoo:name' or 'zoo:glob*', "
                "for example 'embedded:*', 'timm:resnet18*' or 'dir:path/to/models/*'."
            )
        return cls(match["zoo"], match["pattern"])
