"""What fine-tuning will cost is forecast from what scoring has cost."""

from __future__ import annotations

from typing import Any

import pytest

from modelselect.probe.probe import DEFAULT_HOLDOUT
from modelselect.selection import forecast, verifying
from modelselect.selection.affordable import Affordable, affordable_fine_tuning
from modelselect.verification import FineTuning
from tests.selection.budgeted import Slow, run, tune

pytestmark = pytest.mark.usefixtures("cache")


def test_fine_tuning_is_priced_by_its_arithmetic_where_no_row_was_passed_forward(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forecast, "macs_per_second", lambda _: 1.0)  # 400 seconds for each pass over the rows
    board = tune([1.0, 0.9], budget="1m", estimators="parameters", top_k=2)
    assert board.provenance["budget"]["stages"][-1]["decision"].endswith("do not pay for 2 candidates")
    assert all(row.verified_accuracy is None for row in board.rows)


def test_fine_tuning_costs_the_same_whether_the_whole_probe_has_been_scored_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    priced: list[Affordable] = []

    def noting(*given: Any, **settings: Any) -> Affordable:
        priced.append(affordable_fine_tuning(*given, **settings))
        return priced[-1]

    monkeypatch.setattr(verifying, "affordable_fine_tuning", noting)
    candidates = [Slow(column, 0.001) for column in range(2)]
    settings: dict[str, Any] = {
        "candidates": candidates,
        "top_k": 1,
        "fine_tuning": FineTuning(epochs=1),
        "holdout": DEFAULT_HOLDOUT,
    }
    run([2.0, 0.0], **settings)
    board = run([2.0, 0.0], budget="1m", **settings)
    assert board.best.probe_rows == 96  # of 384, whose evidence was there
    (price,) = priced[0].prices.values()
    assert price / priced[0].passes < 0.0025
