"""Sizes and times as people write them."""

from __future__ import annotations

import math

import pytest

from modelselect.budget.bounds import Bounds, parse_bytes
from modelselect.errors import InvalidInputError


@pytest.mark.parametrize(
    ("given", "seconds"), [(90, 90), ("90", 90), ("1h30m", 5400), (" 2.5 ", 2.5), ("inf", math.inf)]
)
def test_a_time_is_the_same_in_python_and_in_the_shell(given: str | float, seconds: float) -> None:
    assert Bounds.of(max_time=given).seconds == seconds


@pytest.mark.parametrize("given", ["0", "-5", "nan", "soon", "3 EUR", True, 0, 10**400])
def test_what_is_no_time_is_refused(given: str | float) -> None:
    with pytest.raises(InvalidInputError, match="expected a time such as '10m' or '1h30m', or seconds above 0"):
        Bounds.of(max_time=given)


@pytest.mark.parametrize("given", [f"{'9' * 400}GB", "1" + "0" * 4000 + "B"])
def test_a_size_beyond_all_numbers_is_refused(given: str) -> None:
    with pytest.raises(InvalidInputError, match="is more than any disk holds"):
        parse_bytes(given)


@pytest.mark.parametrize("given", [10**400, -1, math.nan, True])
def test_what_is_no_size_is_refused(given: float) -> None:
    with pytest.raises(InvalidInputError, match="expected a size such as '2GB' or a number of bytes"):
        Bounds.of(max_download=given)


def test_a_decimal_size_is_exact() -> None:
    assert parse_bytes("0.3GB") == 300_000_000
