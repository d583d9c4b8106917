"""Candidate expressions: `zoo:pattern`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from modelselect.errors import ExpressionError

LAYERS = "layer"
"""The zoo of models that are read at one of their layers, and the setting in a pattern that names the layer."""

BEST = "best"
"""The value of that setting that stands for the layer that suits a dataset best."""

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

    @classmethod
    def at_layer(cls, candidate: str, layer: str) -> Expression:
        """The expression for a candidate, by its id, at this layer.

        >>> Expression.at_layer("dir:bert?pooling=mean@a1b2", "best").pattern
        'dir:bert?layer=best&pooling=mean@a1b2'
        """
        name, at, revision = candidate.partition("@")
        name, question, settings = name.partition("?")
        return cls(LAYERS, f"{name}?{LAYERS}={layer}{'&' if question else ''}{settings}{at}{revision}")

    def __str__(self) -> str:
        return f"{self.zoo}:{self.pattern}"
