"""Extraction: one pass in batches, whose features depend on nothing else; memory that runs out costs batch size."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import modelselect as ms
from modelselect.candidates.backbone import Outputs
from modelselect.candidates.preprocessing import ImagePreprocessing
from modelselect.candidates.readers import WholeOutput
from modelselect.errors import CandidateError, OutOfMemoryError
from modelselect.extraction.processor import keeps_freed_memory
from modelselect.host.host import get_host
from tests.extraction.material import CPU, FIELDS, ROWS, Net, Raising, backbone

BATCH_TOLERANCE = 1e-5
"""Features may differ by this much, relative to their largest, when the batch size does."""


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


# --- overlap ---------------------------------------------------------------------------------------------------------


class TwoUnderWay(type(CPU)):  # type: ignore[misc]
    """Collects a batch only when the next has been sent, as on a device that computes by itself."""

    in_flight = 2


def test_batches_under_way_at_once_keep_their_order_and_survive_a_smaller_batch(probe: ms.Probe) -> None:
    expected = CPU.extract(backbone(), probe, FIELDS, batch_size=4)
    found = TwoUnderWay().extract(backbone(), probe, FIELDS, batch_size=4)
    np.testing.assert_array_equal(found.features, expected.features)
    np.testing.assert_array_equal(found.source_probabilities, expected.source_probabilities)
    hungry = backbone(Hungry(4, OUT_OF_MEMORY[0], after=2), name="later hungry")
    found = TwoUnderWay().extract(hungry, probe, FIELDS, batch_size=8)
    assert hungry.module.calls[:4] == [8, 8, -8, 4]
    np.testing.assert_allclose(found.features, expected.features, rtol=1e-5, atol=1e-6)


# --- how it computes -------------------------------------------------------------------------------------------------


def test_large_rows_go_through_the_processor_a_few_at_a_time() -> None:
    pixels = np.zeros((20, 8, 8, 3), np.uint8)
    probe = ms.Probe.of((pixels, np.arange(20) % 2), size=None)
    for size, expected in ((224, [16, 4] if keeps_freed_memory() else [8, 8, 4]), (32, [20])):
        net = Net()
        candidate = backbone(net)
        candidate.preprocessing = ImagePreprocessing((size, size), size)
        CPU.extract(candidate, probe, FIELDS)
        assert net.calls == expected


def test_no_more_threads_compute_than_there_are_cores(probe: ms.Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(Net):
        threads: int

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.threads = torch.get_num_threads()
            return super().forward(x)

    before = torch.get_num_threads()
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    torch.set_num_threads(3)
    try:
        counting = backbone(Counting())
        CPU.extract(counting, probe, FIELDS)
        assert counting.module.threads == 1
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_less_precision_changes_features_a_little_and_they_stay_float32(probe: ms.Probe) -> None:
    full = CPU.extract(backbone(), probe, FIELDS).features
    half = CPU.extract(backbone(), probe, FIELDS, precision="bfloat16").features
    assert full is not None
    assert half is not None
    assert half.dtype == np.float32
    assert 0 < np.abs(half - full).max() <= 2**-6 * np.abs(full).max()


def test_a_compiled_candidate_gives_the_same_features(probe: ms.Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def compile(read: Any) -> Any:  # traced as ever; what follows needs a compiler, and half a minute
        compiled.append(read)
        return torch._dynamo.optimize("eager")(read)

    expected = CPU.extract(backbone(), probe, FIELDS, batch_size=8)
    monkeypatch.setattr(torch, "compile", compile)
    found = CPU.extract(backbone(), probe, FIELDS, batch_size=8, compile=True)
    assert len(compiled) == 1
    np.testing.assert_allclose(found.features, expected.features, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.source_probabilities, expected.source_probabilities, rtol=1e-5, atol=1e-6)


class Uneven(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(x), len(x))


def test_batches_of_different_widths_are_a_failed_candidate(probe: ms.Probe) -> None:
    uneven = backbone(Uneven())
    uneven.read = WholeOutput()
    with pytest.raises(CandidateError, match="8 dimensions in one batch and 5 in another"):
        CPU.extract(uneven, probe, FIELDS, batch_size=8)


def test_probabilities_of_some_batches_alone_are_a_failed_candidate(probe: ms.Probe) -> None:
    torn = backbone()
    whole, calls = torn.read, iter(range(100))

    def read(module: torch.nn.Module, batch: torch.Tensor) -> Outputs:
        outputs = whole(module, batch)
        return outputs if next(calls) < 2 else outputs._replace(logits=None)

    torn.read = read
    with pytest.raises(CandidateError, match="first batch has features and source_probabilities, but another has"):
        CPU.extract(torn, probe, FIELDS | {"source_probabilities"}, batch_size=8)


class Collecting:
    """A sink that remembers the sizes of what it is sent."""

    def __init__(self) -> None:
        self.sizes: dict[str, list[int]] = {}
        self.rows: dict[str, list[np.ndarray]] = {}

    def append(self, **rows: np.ndarray) -> None:
        for name, batch in rows.items():
            self.sizes.setdefault(name, []).append(len(batch))
            self.rows.setdefault(name, []).append(batch)

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: np.concatenate(batches) for name, batches in self.rows.items()}


def test_a_sink_is_sent_every_batch_as_it_comes(probe: ms.Probe) -> None:
    sink = Collecting()
    evidence = CPU.extract(backbone(), probe, FIELDS, batch_size=8, sink=sink)
    assert sink.sizes == {field: [8, 8, 8, 8, 5] for field in FIELDS}
    expected = CPU.extract(backbone(), probe, FIELDS, batch_size=8)
    np.testing.assert_array_equal(evidence.features, expected.features)
    np.testing.assert_array_equal(evidence.source_probabilities, expected.source_probabilities)


class Hungry(Net):
    """Runs out of memory above a batch size, as CUDA and the CPU allocator say it."""

    def __init__(self, limit: int, error: Exception, after: int = 0) -> None:
        super().__init__()
        self.limit, self.error, self.after = limit, error, after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.limit and len(self.calls) >= self.after:
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
    with pytest.raises(OutOfMemoryError, match="a single row"):
        CPU.extract(backbone(Hungry(0, OUT_OF_MEMORY[0]), name="giant"), probe, FIELDS)


class Overflowing(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x * float("inf"))


def test_a_forward_pass_that_raises_is_a_failed_candidate(probe: ms.Probe) -> None:
    with pytest.raises(CandidateError, match="KeyError"):
        CPU.extract(backbone(Raising()), probe, FIELDS)


def test_features_that_are_not_finite_are_refused(probe: ms.Probe) -> None:
    with pytest.raises(ms.errors.EvidenceError, match="NaN or infinity"):
        CPU.extract(backbone(Overflowing()), probe, FIELDS)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_gives_the_same_features_as_the_processor(probe: ms.Probe) -> None:
    cuda = get_host().extractor("cuda")
    on_cpu = CPU.extract(backbone(), probe, FIELDS).features
    on_gpu = cuda.extract(backbone(), probe, FIELDS, device="cuda").features
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-4, atol=1e-5)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("settings", [{"precision": "float16"}, {"compile": True}])
def test_the_gpu_gives_nearly_the_same_features_in_other_ways(probe: ms.Probe, settings: dict[str, Any]) -> None:
    cuda = get_host().extractor("cuda")
    expected = cuda.extract(backbone(), probe, FIELDS, device="cuda").features
    found = cuda.extract(backbone(), probe, FIELDS, device="cuda", batch_size=8, **settings).features
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-2)
