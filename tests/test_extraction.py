"""Extraction: one pass, each image prepared once, memory that runs out costs batch size and not the run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import modelselect as ms
from modelselect.backbone import Backbone, HeadInput, ImagePreprocessing
from modelselect.errors import CandidateError, InvalidInputError, OutOfMemoryError
from modelselect.extraction import Extractor, InputSpool, choose_device, choose_extractor
from modelselect.host import get_host

ROWS = 37
FIELDS = frozenset({"features", "source_probabilities"})
CPU = get_host().extractor("cpu")
BATCH_TOLERANCE = 1e-5
"""Features may differ by this much, relative to their largest, when the batch size does."""


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


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (ROWS, 20, 24, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def probe(images: np.ndarray) -> ms.Probe:
    return ms.Probe.of((images, np.arange(ROWS) % 3), size=None)


def test_features_and_probabilities_are_those_of_a_bare_loop(probe: ms.Probe) -> None:
    net = Net().eval()
    evidence = CPU.extract(backbone(net), probe, FIELDS, batch_size=8)
    assert evidence.features is not None
    assert evidence.source_probabilities is not None
    for row in range(ROWS):
        image: Image.Image = probe.item(row)
        resized = image.resize((int(16 * 24 / 20), 16), Image.Resampling.BILINEAR)
        left = round((resized.width - 16) / 2)
        pixels = np.array(resized.crop((left, 0, left + 16, 16)))
        x = (torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.25
        with torch.no_grad():
            features = net.norm(net.conv(x)).relu().mean((2, 3))
            probabilities = net.head(features).softmax(1)
        np.testing.assert_allclose(evidence.features[row], features[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(evidence.source_probabilities[row], probabilities[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(evidence.labels, probe.labels)


def test_every_row_goes_through_the_network_once(probe: ms.Probe) -> None:
    net = Net()
    CPU.extract(backbone(net), probe, FIELDS, batch_size=8)
    assert net.calls == [8, 8, 8, 8, 5]


def test_features_do_not_depend_on_the_batch_size(probe: ms.Probe) -> None:
    found = [CPU.extract(backbone(), probe, FIELDS, batch_size=size).features for size in (1, 7, 64)]
    for features in found[1:]:
        assert np.abs(features - found[0]).max() <= BATCH_TOLERANCE * np.abs(found[0]).max()


def test_the_module_comes_back_as_it_was(probe: ms.Probe) -> None:
    net = Net().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    CPU.extract(backbone(net), probe, FIELDS)
    assert net.training
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_backbone_without_source_classes_gives_no_probabilities(probe: ms.Probe) -> None:
    evidence = CPU.extract(backbone(has_logits=False), probe, FIELDS)
    assert evidence.source_probabilities is None
    assert evidence.features is not None


def test_an_image_is_prepared_once_for_all_candidates_that_see_it_alike(probe: ms.Probe, tmp_path: Path) -> None:
    CountingPreprocessing.prepared = 0
    with InputSpool.temporary(tmp_path) as spool:
        for name in ("a", "b", "c"):
            CPU.extract(backbone(name=name), probe, FIELDS, spool=spool)
        assert CountingPreprocessing.prepared == ROWS
        assert spool.folder is not None
        assert len(list(spool.folder.iterdir())) == 1
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_behind_is_removed(tmp_path: Path) -> None:
    (tmp_path / "999999999-left").mkdir()
    (tmp_path / f"{os.getpid()}-mine").mkdir()
    with InputSpool.temporary(tmp_path):
        names = {path.name for path in tmp_path.iterdir()}
    assert "999999999-left" not in names
    assert f"{os.getpid()}-mine" in names


class Hungry(Net):
    """Runs out of memory above a batch size, as CUDA and the CPU allocator say it."""

    def __init__(self, limit: int, error: Exception) -> None:
        super().__init__()
        self.limit, self.error = limit, error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.limit:
            self.calls.append(-len(x))
            raise self.error
        return super().forward(x)


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried ..."),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_out_of_memory_halves_the_batch_and_is_remembered(probe: ms.Probe, error: Exception) -> None:
    net = Hungry(5, error)
    hungry = backbone(net, name=f"hungry-{type(error).__name__}")
    evidence = CPU.extract(hungry, probe, FIELDS, batch_size=16)
    assert net.calls[:3] == [-16, -8, 4]
    plain = CPU.extract(backbone(), probe, FIELDS, batch_size=4)
    np.testing.assert_allclose(evidence.features, plain.features, rtol=1e-5, atol=1e-6)
    net.calls.clear()
    CPU.extract(hungry, probe, FIELDS, batch_size=16)
    assert net.calls[0] == 4


def test_a_model_that_does_not_fit_at_all_says_so(probe: ms.Probe) -> None:
    with pytest.raises(OutOfMemoryError, match="one row alone"):
        CPU.extract(backbone(Hungry(0, OUT_OF_MEMORY[0]), name="giant"), probe, FIELDS)


class Raising(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise KeyError("nothing here")


class Overflowing(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x * float("inf"))


def test_a_forward_pass_that_raises_is_a_failed_candidate(probe: ms.Probe) -> None:
    with pytest.raises(CandidateError, match="KeyError"):
        CPU.extract(backbone(Raising()), probe, FIELDS)


def test_features_that_are_not_finite_are_refused(probe: ms.Probe) -> None:
    with pytest.raises(ms.errors.EvidenceError, match="NaN or infinity"):
        CPU.extract(backbone(Overflowing()), probe, FIELDS)


def test_the_device_is_chosen_and_checked() -> None:
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == "cpu"
    with pytest.raises(InvalidInputError, match="abacus"):
        choose_device("abacus")
    extractors: dict[str, Extractor] = get_host().extractors
    assert choose_extractor(extractors, backbone(), "cpu").name == "cpu"
    assert choose_extractor(extractors, backbone(), "cuda:1").name == "cuda"
    with pytest.raises(CandidateError, match="no extractor"):
        choose_extractor(extractors, backbone(), "xpu")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_gives_the_same_features_as_the_processor(probe: ms.Probe) -> None:
    cuda = get_host().extractor("cuda")
    on_cpu = CPU.extract(backbone(), probe, FIELDS).features
    on_gpu = cuda.extract(backbone(), probe, FIELDS, device="cuda").features
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-4, atol=1e-5)
