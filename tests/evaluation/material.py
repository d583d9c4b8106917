"""A small dataset, images, and networks that take their time."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

import modelselect as ms
from tests.estimators.test_resampling import two_classes

DATASET = two_classes(60, [1.0, 0.5, 0.2])


def rank(candidates: Any, dataset: Any = DATASET, **settings: Any) -> ms.Leaderboard:
    return ms.select(dataset, candidates, progress=False, **{"estimators": "centroid", **settings})


def images(rows: int = 24) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(rows) % 2
    pixels = np.random.default_rng(0).integers(0, 150, (rows, 32, 32, 3)) + 60 * labels[:, None, None, None]
    return pixels.astype(np.uint8), labels


class Waiting(torch.nn.Module):
    """Takes some seconds for every batch, and more for every row."""

    def __init__(self, batch: float, row: float) -> None:
        super().__init__()
        self.batch, self.row = batch, row

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        if rows.device.type == "cpu":
            time.sleep(self.batch + self.row * len(rows))
        return rows * 1.0
