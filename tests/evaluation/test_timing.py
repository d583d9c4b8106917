"""Latency, throughput and memory are those of the candidate."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import modelselect as ms
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.preprocessing import CallablePreprocessing
from modelselect.candidates.readers import WholeOutput
from modelselect.evaluation.own_modules import as_tensor
from modelselect.evaluation.timing import measure
from modelselect.extraction.devices import Compute
from modelselect.host.host import get_host
from tests.evaluation.material import Waiting, rank

pytestmark = pytest.mark.usefixtures("cache")


def test_latency_is_of_one_row_and_throughput_of_a_batch(quickly: None) -> None:
    board = rank(Waiting(0.03, 0.002), costs=True, batch_size=20)
    assert board.best.latency_ms is not None
    assert board.best.throughput is not None
    assert 32 <= board.best.latency_ms < 60
    assert 20 / 0.07 * 0.5 < board.best.throughput <= 20 / 0.07


def test_memory_is_that_of_weights_and_of_what_lives_at_once(quickly: None) -> None:
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 64, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(64, 64, 3, padding=1),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
    ).eval()
    weights = 4 * sum(parameter.numel() for parameter in module.parameters())
    inputs, activation = 4 * 3 * 100 * 100, 4 * 64 * 100 * 100
    probe = ms.Probe.of((np.zeros((6, 100, 100, 3), np.uint8), [0, 1] * 3))
    prepared = CallablePreprocessing(as_tensor, "as_tensor")
    backbone = Backbone(ms.Candidate("shelf", "a"), module, prepared, WholeOutput(), weights_key="")
    measured = measure(backbone, probe, get_host().extractor("cpu"), Compute())
    least = weights + 2 * activation
    assert least <= measured.memory_bytes <= least + activation + 3 * inputs
