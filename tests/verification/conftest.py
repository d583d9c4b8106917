"""Trainings of tests save after every epoch, however fast: that is where they are killed."""

from __future__ import annotations

import pytest

from modelselect.verification import checkpoint


@pytest.fixture(autouse=True)
def _saved_after_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0)
