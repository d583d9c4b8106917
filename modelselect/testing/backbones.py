"""Backbones and probes that the checks use."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from modelselect.candidates.backbone import Backbone
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.modules import weights_digest
from modelselect.candidates.preprocessing import ImagePreprocessing
from modelselect.candidates.readers import HeadInput
from modelselect.probe.probe import Probe

if TYPE_CHECKING:
    import torch


def probe_items(backbone: Backbone, n: int) -> list[Any]:
    if backbone.candidate.metadata.get("modality", "image") == "text":
        return [f"the {word} cat sat on the mat" for word in ("small", "grey", "third")[:n]]
    from PIL import Image

    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (48, 60 + side, 3), dtype=np.uint8)) for side in range(n)]


def example_rows(backbone: Backbone, items: list[Any]) -> torch.Tensor:
    import torch

    return backbone.preprocessing.finish(torch.stack([backbone.preprocessing.prepare(item) for item in items]))


def read_module(backbone: Backbone, items: list[Any]) -> Any:
    import torch

    with torch.inference_mode():
        return backbone.read(backbone.module, example_rows(backbone, items))


ROWS = 11


def tiny_backbone() -> Backbone:
    import torch

    generator = torch.Generator().manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, stride=2),
        torch.nn.BatchNorm2d(6),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(6, 4),
    ).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 3)
    preprocessing = ImagePreprocessing((16, 16), 16, mean=(0.5,) * 3, std=(0.25,) * 3)
    return Backbone(Candidate("checks", "tiny"), module, preprocessing, HeadInput("6"), weights_digest(module))


@cache
def tiny_probe() -> Any:
    pixels = np.random.default_rng(0).integers(0, 256, (ROWS, 20, 24, 3), dtype=np.uint8)
    return Probe.of((pixels, np.arange(ROWS) % 3), size=None)
