"""A dataset of stripes and spots, candidates that go wrong, and short ways to rank them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import modelselect as ms
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.preprocessing import ImagePreprocessing
from modelselect.candidates.readers import HeadInput
from modelselect.errors import CandidateError
from modelselect.verification import FineTuning
from modelselect_plugins.executors.local import Local
from modelselect_plugins.executors.process import Process

SOME = ["embedded:plain*", "embedded:resnet*", "embedded:vit*"]
QUICK = FineTuning(epochs=1, batch_size=16)


def stripes(folder: Path) -> Path:
    """60 images of three classes: stripes across, stripes down, and spots; easy for some backbones, not for all."""
    rng = np.random.default_rng(0)
    for name in ("across", "down", "spots"):
        (folder / name).mkdir()
        for index in range(20):
            wave = 127 + 60 * np.sin(np.arange(32) * rng.uniform(0.5, 1.5) + rng.uniform(0, 6))
            pattern = {"across": wave[:, None] + 0 * wave, "down": wave + 0 * wave[:, None]}.get(
                name, np.where((wave[:, None] > 127) & (wave > 127), 190, 90)
            )
            pixels = np.clip(pattern[..., None] + rng.normal(0, 25, (32, 32, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{index}.png")
    return folder


def rank(dataset: Any, candidates: Any = "embedded:*", **settings: Any) -> ms.Leaderboard:
    return ms.select(dataset, candidates, progress=False, **{"estimators": "logme", **settings})


class WorkersFor(Process):
    """Worker processes for the tasks of one kind. This process runs all others: each worker takes seconds to start."""

    def __init__(self, kind: type) -> None:
        super().__init__()
        self.kind = kind

    def map(self, function: Any, items: Any) -> Iterator[ms.Outcome]:
        return super().map(function, items) if isinstance(function, self.kind) else Local().map(function, items)


class Flaky(ms.Zoo):
    """Candidates that go wrong, between good ones."""

    name = "flaky"
    names = ("good", "raises", "killed", "nan", "good-too")

    def search(self, pattern: str) -> Iterator[ms.Candidate]:
        for name in self.names if pattern == "*" else [pattern]:
            yield ms.Candidate(self.name, name, "1")

    def load(self, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> Backbone:
        if candidate.name == "raises":
            raise CandidateError("its weights\nare missing")
        if candidate.name == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if candidate.name == "killed-once" and not (mark := Path(os.environ["FLAKY_MARK"])).exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        torch.manual_seed(len(candidate.name))
        head = torch.nn.Linear(12, 4)
        module = torch.nn.Sequential(torch.nn.Conv2d(3, 12, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), head)
        if candidate.name == "nan":
            torch.nn.init.constant_(module[0].weight, float("nan"))  # type: ignore[arg-type]
        return Backbone(candidate, module.eval(), ImagePreprocessing((32, 32), 32), HeadInput("3"), "weights")
