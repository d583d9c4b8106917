"""Rows that are easy or hard to learn, small backbones, and what kills a training."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from modelselect.candidates.backbone import Backbone, Outputs
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.preprocessing import CallablePreprocessing
from modelselect.candidates.readers import WholeOutput
from modelselect.probe.images import Reading
from modelselect.verification import FineTuning, Verified

DIMENSIONS = 6
QUICK = FineTuning(epochs=12, backbone_learning_rate=0.02, head_learning_rate=0.05, batch_size=16)


@dataclass
class Rows:
    """The part of a probe that fine-tuning reads."""

    inputs: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...] = ("a", "b", "c")
    modality: str = "array"
    reading: Reading = field(default_factory=Reading)
    target_kind: str = "classes"
    unit: str = "row"
    wholes: None = None
    groups: None = None
    name: str = "rows"

    @property
    def target_names(self) -> tuple[str, ...]:
        return self.class_names

    @property
    def labels_in_own_type(self) -> tuple[str, ...]:
        return self.class_names

    def __len__(self) -> int:
        return len(self.inputs)

    def item(self, row: int) -> np.ndarray:
        return self.inputs[row]


def rows(per_class: int, *, classes: tuple[int, ...] = (0, 1, 2), seed: int = 0) -> Rows:
    """Three clusters that any line can tell apart."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.array(classes, dtype=np.int64), per_class)
    inputs = random.normal(size=(len(labels), DIMENSIONS)).astype(np.float32)
    inputs[np.arange(len(labels)), labels] += 8
    return Rows(inputs, labels)


def backbone(module: nn.Module | None = None, read: Any = None) -> Backbone:
    if module is None:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            module = nn.Sequential(nn.Linear(DIMENSIONS, 8), nn.BatchNorm1d(8), nn.Dropout(0.1))
    preprocessing = CallablePreprocessing(torch.from_numpy, "rows")
    return Backbone(Candidate("test", "tiny"), module.eval(), preprocessing, read or WholeOutput(), "key")


class FitsOnly:
    """A reader on a device with memory for this number of rows; records the sizes of its batches."""

    def __init__(self, room: int, error: Callable[[], Exception] = torch.OutOfMemoryError) -> None:
        self.room, self.error = room, error

    def __call__(self, module: nn.Module, batch: torch.Tensor) -> Outputs:
        if len(batch) > self.room:
            raise self.error()
        return Outputs(module(batch), None)


HARD = FineTuning(epochs=6, backbone_learning_rate=0.01, head_learning_rate=0.02, batch_size=16)
FORK = multiprocessing.get_context("fork")  # what is imported here need not be imported again


def overlapping(per_class: int, seed: int = 0) -> Rows:
    """Three clusters that no line tells apart altogether, so that results of trainings differ."""
    made = rows(per_class, seed=seed)
    noise = np.random.default_rng(100 + seed).normal(scale=4, size=made.inputs.shape)
    return replace(made, inputs=(made.inputs + noise).astype(np.float32))


def with_dropout() -> Backbone:
    """What depends on random numbers and keeps statistics, so that a resumed training shows what it has lost."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return backbone(nn.Sequential(nn.Linear(DIMENSIONS, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3)))


def result(found: Verified) -> dict[str, Any]:
    return {**asdict(found), "seconds": 0.0}


class Killed(BaseException):
    """In place of a signal."""


def killed_after(epochs: int) -> Any:
    def progress(done: int, _: int, __: float) -> None:
        if done == epochs:
            raise Killed

    return progress
