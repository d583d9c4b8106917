"""Candidates of one column each, and short ways to rank and to fine-tune them under a budget."""

from __future__ import annotations

import time
from typing import Any

import torch

import modelselect as ms
from modelselect.probe.probe import DEFAULT_HOLDOUT
from modelselect.verification import FineTuning
from tests.estimators.test_resampling import Columns, two_classes

CLEAR = [0.0, 0.3, 0.6, 0.9, 3.5, 0.2, 0.1, 0.4]
"""Gaps between the classes, a column each: the fifth column tells them apart, the others hardly do."""

CLOSE = [1.0, 1.02, 1.01, 0.99, 0.2, 0.1]


def single_columns(gaps: list[float]) -> list[torch.nn.Module]:
    return [Columns(i) for i in range(len(gaps))]


def run(gaps: list[float], rows: int = 480, **settings: Any) -> ms.Leaderboard:
    """A leaderboard of all these rows: none is held out, unless `holdout` says so."""
    candidates = settings.pop("candidates", None) or single_columns(gaps)
    probe = ms.Probe.of(two_classes(rows, gaps), size=None, holdout=settings.pop("holdout", 0.0))
    return ms.select(probe, candidates, progress=False, **{"estimators": "centroid", **settings})


class Slow(Columns):
    """Takes its time for every row, but for the examples that it is loaded with."""

    def __init__(self, column: int, seconds: float) -> None:
        super().__init__(column)
        self.seconds = seconds

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        if rows.device.type == "cpu" and len(rows) > 2:
            time.sleep(self.seconds * len(rows))
        return super().forward(rows)


QUICK = FineTuning(epochs=8, batch_size=64)


def tune(gaps: list[float], **settings: Any) -> ms.Leaderboard:
    candidates = [torch.nn.Sequential(Columns(i), torch.nn.Linear(1, 2)) for i in range(len(gaps))]
    torch.manual_seed(0)
    return run(gaps, rows=400, candidates=candidates, fine_tuning=QUICK, holdout=DEFAULT_HOLDOUT, **settings)
