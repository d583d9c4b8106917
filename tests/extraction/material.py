"""A small network with a head, and preprocessing that counts what it prepares."""

from __future__ import annotations

from typing import Any

import torch

import modelselect as ms
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.preprocessing import ImagePreprocessing
from modelselect.candidates.readers import HeadInput
from modelselect.host.host import get_host

ROWS = 37
FIELDS = frozenset({"features", "source_probabilities"})
CPU = get_host().extractor("cpu")


class Net(torch.nn.Module):
    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 8, 3, stride=2)
        self.norm = torch.nn.BatchNorm2d(8)
        self.drop = torch.nn.Dropout(0.5)
        self.head = torch.nn.Linear(8, classes)
        self.calls: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(x))
        return self.head(self.drop(self.norm(self.conv(x)).relu().mean((2, 3))))


class CountingPreprocessing(ImagePreprocessing):
    prepared = 0

    def prepare(self, item: Any) -> torch.Tensor:
        type(self).prepared += 1
        return super().prepare(item)


def backbone(module: torch.nn.Module | None = None, name: str = "net", **reader: Any) -> Backbone:
    preprocessing = CountingPreprocessing((16, 16), 16, mean=(0.5,) * 3, std=(0.25,) * 3)
    return Backbone(ms.Candidate("shelf", name), module or Net(), preprocessing, HeadInput("head", **reader), "weights")


class Raising(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise KeyError("nothing here")
