"""What fine-tuning trains: adapters of low rank, and steps as torch's optimizers take them."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from modelselect.candidates.readers import HeadInput
from modelselect.errors import CandidateError
from modelselect.verification import FineTuning, verify
from tests.verification.material import DIMENSIONS, QUICK, Rows, backbone, rows


def test_lora_learns_where_the_frozen_features_tell_nothing() -> None:
    module = nn.Sequential(nn.Linear(DIMENSIONS, 8), nn.Linear(8, 8))
    nn.init.zeros_(module[1].weight)
    settings = replace(QUICK, epochs=30, lora_rank=4)
    kept: dict[str, Any] = {}
    found = verify(
        backbone(module), rows(20), rows(30, seed=1), settings, method="lora", keep=lambda a, _: kept.update(a)
    )
    assert verify(backbone(module), rows(20), rows(30, seed=1), settings, method="head").accuracy < 0.5
    assert found.accuracy > 0.9
    assert set(kept) == {"head.weight", "head.bias", *(f"body.{name}" for name in module.state_dict())}
    change = kept["body.1.weight"] - module[1].weight.detach().numpy()
    assert np.linalg.matrix_rank(change, tol=1e-5) <= 4
    assert np.array_equal(kept["body.0.bias"], module[0].bias.detach().numpy())


def test_lora_puts_adapters_into_convolutions_and_leaves_the_source_classifier() -> None:
    class Convolutional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
            self.classifier = nn.Linear(8, 5)

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return self.classifier(self.trunk(batch).mean((2, 3)))

    module = Convolutional()
    training = Rows(np.random.default_rng(0).normal(size=(20, 1, 6, 6)).astype(np.float32), np.arange(20) % 3)
    kept: dict[str, Any] = {}
    verify(
        backbone(module, HeadInput("classifier")),
        training,
        training,
        QUICK,
        method="lora",
        keep=lambda a, _: kept.update(a),
    )
    changed = {name for name, before in module.state_dict().items() if not np.array_equal(kept[f"body.{name}"], before)}
    assert changed == {"trunk.0.weight"}


def fine_tune_a_strided_convolution_of_eight_channels() -> None:
    trunk = nn.Sequential(nn.Conv2d(1, 8, 1), nn.Conv2d(8, 8, 1, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images = np.random.default_rng(0).normal(size=(32, 1, 60, 60)).astype(np.float32)
    training = Rows(images, np.arange(32) % 3)
    verify(backbone(trunk), training, training, replace(QUICK, epochs=4))


def test_a_strided_convolution_of_few_channels_does_not_end_the_process() -> None:
    process = multiprocessing.get_context("spawn").Process(target=fine_tune_a_strided_convolution_of_eight_channels)
    process.start()
    process.join()
    assert process.exitcode == 0


def test_lora_does_not_apply_without_layers_and_says_so() -> None:
    with pytest.raises(CandidateError, match=r"neither linear layers nor plain convolutions.*Use verify='full'"):
        verify(backbone(nn.LayerNorm(DIMENSIONS)), rows(10), rows(5), QUICK, method="lora")


def test_sgd_follows_torchs() -> None:
    """One step of one batch, against torch's optimizer by hand."""
    training = rows(5)
    kept: dict[str, Any] = {}
    settings = FineTuning(
        epochs=1, batch_size=64, optimizer="sgd", momentum=0.0, warm_up=0.0, weight_decay=0.0,
        backbone_learning_rate=0.1, head_learning_rate=0.1,
    )  # fmt: skip
    module = nn.Linear(DIMENSIONS, 4)
    verify(backbone(module), training, training, settings, seed=7, keep=lambda a, _: kept.update(a))
    with torch.random.fork_rng():
        torch.manual_seed(7)
        head = nn.Linear(4, 3)
    whole = nn.Sequential(module, head)
    loss = nn.functional.cross_entropy(whole(torch.from_numpy(training.inputs)), torch.from_numpy(training.labels))
    expected = [
        p - 0.1 * g for p, g in zip(whole.parameters(), torch.autograd.grad(loss, [*whole.parameters()]), strict=True)
    ]
    names = ["body.weight", "body.bias", "head.weight", "head.bias"]
    for name, value in zip(names, expected, strict=True):
        np.testing.assert_allclose(kept[name], value.detach().numpy(), rtol=1e-5, atol=1e-6)
