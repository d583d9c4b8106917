"""How well two rankings of the same candidates agree."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Agreement:
    """To be filled in."""


def agreement(predicted: object, truth: object) -> Agreement:
    """To be filled in."""
    raise NotImplementedError
