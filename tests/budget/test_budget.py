"""A budget is read as people write it."""

from __future__ import annotations

from typing import Any

import pytest

from modelselect.budget.budget import Budget
from modelselect.errors import InvalidInputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20m", Budget(seconds=1200.0)),
        ("1h30m", Budget(seconds=5400.0)),
        ("90s", Budget(seconds=90.0)),
        (" 1.5 h ", Budget(seconds=5400.0)),
        ("2h 5min 1s", Budget(seconds=7501.0)),
        ("50000 passes", Budget(passes=50000)),
        ("50,000 forward passes", Budget(passes=50000)),
        ("3 EUR at 1.20 EUR/h", Budget(seconds=9000.0)),
        ("0.5€ at 2€/h", Budget(seconds=900.0)),
        ("50000", Budget(passes=50000)),
        (12345, Budget(passes=12345)),
        (Budget(seconds=1.0), Budget(seconds=1.0)),
    ],
)
def test_a_budget_is_read_as_people_write_it(text: Any, expected: Budget) -> None:
    assert Budget.of(text) == expected


@pytest.mark.parametrize(
    "given",
    [
        "",
        "soon",
        "20 apples",
        "-5m",
        "0s",
        "3 EUR at 1.20 USD/h",
        "3 EUR at 0 EUR/h",
        "0 passes",
        0,
        -1,
        True,
        2.5,
        10**400,
    ],
)
def test_what_is_no_budget_is_refused(given: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"budget|Budget"):
        Budget.of(given)
