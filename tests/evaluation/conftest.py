"""What tests of the evaluation share."""

from __future__ import annotations

import pytest


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelselect.evaluation.timing.LATENCY_SECONDS", 0.02)
    monkeypatch.setattr("modelselect.evaluation.timing.THROUGHPUT_SECONDS", 0.02)
