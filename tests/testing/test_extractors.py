"""The kit for authors of extractors: every kind of broken extractor is caught, and every registered one passes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import modelselect as ms
from modelselect.candidates.backbone import Backbone
from modelselect.evidence.evidence import Evidence
from modelselect.host.host import get_host
from modelselect.testing.extractors import check_extractor, extractor_checks
from modelselect_plugins.extractors.cpu import CpuExtractor
from tests.testing.material import failing


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda", marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
        ),
    ],
)
def test_every_extractor_of_a_device_keeps_its_promises(device: str) -> None:
    check_extractor(get_host().extractor(device), device)


@pytest.mark.parametrize("name", ["fused", "onnx"])
def test_every_extractor_on_request_keeps_its_promises(name: str) -> None:
    check_extractor(get_host().extractor(name))


class Picky(CpuExtractor):
    def supports(self, backbone: Backbone, device: str) -> bool:
        return False


class Noisy(CpuExtractor):
    def on_device(self, *given: Any) -> torch.Tensor:
        return super().on_device(*given) + 0.1


class BatchBound(CpuExtractor):
    def on_device(self, *given: Any) -> torch.Tensor:
        batch = super().on_device(*given)
        return batch - batch.mean(dim=0)


class Generous(CpuExtractor):
    def extract(self, backbone: Backbone, probe: ms.Probe, fields: frozenset[str], **options: Any) -> Evidence:
        return super().extract(backbone, probe, fields | {"source_probabilities"}, **options)


class Careless(CpuExtractor):
    def extract(self, backbone: Backbone, probe: ms.Probe, fields: frozenset[str], **options: Any) -> Evidence:
        evidence = super().extract(backbone, probe, fields, **options)
        backbone.module.train()
        return evidence


@pytest.mark.parametrize(
    ("extractor", "check"),
    [
        (Picky(), "supports_the_device"),
        (Noisy(), "same_features_as_a_bare_loop"),
        (BatchBound(), "batch_size_does_not_matter"),
        (Generous(), "gives_what_is_asked_for"),
        (Careless(), "backbone_comes_back_as_it_was"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_broken_extractor_is_caught_by_name(extractor: ms.Extractor, check: str) -> None:
    assert check in failing(extractor_checks(extractor))
