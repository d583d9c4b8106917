"""What tests of model folders ask of one: that it ranks, or what is said where it cannot be loaded."""

from __future__ import annotations

from typing import Any

import pytest

import modelselect as ms
from modelselect.errors import CandidateError
from modelselect_plugins.zoos.directory import DirectoryZoo

TEXTS = [f"the {animal} {end}" for animal in ("cat", "dog", "cat a", "dog b") for end in ("sat", "ran", "up", "on")]
LABELS = [0, 1] * 8


def ranked(rows: Any, expression: str) -> Any:
    """The only row of the board; its candidate was scored."""
    (row,) = ms.select((rows, LABELS), expression, estimators="logme", progress=False).rows
    assert row.status == "ok", row.status
    return row


def refusal(expression: str) -> str:
    """What is said when the only candidate of an expression is loaded; one line."""
    (candidate,) = ms.search(expression)
    with pytest.raises(CandidateError) as caught:
        DirectoryZoo().load(candidate)
    assert "\n" not in str(caught.value)
    return str(caught.value)
