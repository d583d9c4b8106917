"""Candidate expressions: `zoo:pattern`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from modelselect.errors import ExpressionError

LAYERS = "layer"
"""The zoo of models that are read at one of their layers, and the setting in a pattern that names the layer."""

_AT_A_LAYER = re.compile(rf".*\?([^?]*&)?{LAYERS}=[^?]*", re.DOTALL)

_EXPRESSION = re.compile(r"(?P<zoo>[A-Za-z][A-Za-z0-9_-]*):(?P<pattern>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Expression:
    """A candidate expression, taken apart: `zoo:pattern[@revision]`.

    With the setting `layer`, which every zoo's models have, it is one of the zoo `layer`.

    >>> Expression.parse("timm:resnet*"), Expression.parse("timm:resnet18?layer=2")
    (Expression(zoo='timm', pattern='resnet*'), Expression(zoo='layer', pattern='timm:resnet18?layer=2'))
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
        if match["zoo"] != LAYERS and _AT_A_LAYER.fullmatch(match["pattern"]):
            return cls(LAYERS, match[0])
        return cls(match["zoo"], match["pattern"])
