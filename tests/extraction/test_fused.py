"""Features with fused layers are those of the network as it is, and the network is itself again afterwards."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils._python_dispatch import TorchDispatchMode

import modelselect as ms
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.preprocessing import ImagePreprocessing
from modelselect.candidates.readers import HeadInput, PreLogits, WholeOutput
from modelselect.errors import CandidateError
from modelselect.extraction.extractor import choose_extractor
from modelselect.host.host import get_host
from tests.extraction.material import CPU, FIELDS, ROWS, Net, backbone

FUSED = get_host().extractor("fused")


@pytest.fixture
def normalisations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows of each batch normalisation that is computed."""
    seen: list[int] = []
    computed = torch.batch_norm

    def count(rows: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        seen.append(len(rows))
        return computed(rows, *arguments, **named)

    monkeypatch.setattr(torch, "batch_norm", count)
    return seen


def trained(module: nn.Module) -> nn.Module:
    """With statistics of batch normalisation as after training, and not those of the start."""
    random = torch.Generator().manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_var is not None:
            part.running_mean.normal_(0, 0.3, generator=random)
            part.running_var.uniform_(0.3, 2, generator=random)
            if part.affine:
                nn.init.uniform_(part.weight, 0.3, 1.5, generator=random)
                nn.init.normal_(part.bias, 0, 0.3, generator=random)
    return module


def assert_same(network: Backbone, probe: ms.Probe, apart: float = 3e-6) -> None:
    before = {name: tensor.clone() for name, tensor in network.module.state_dict().items()}
    expected, given = (each.extract(network, probe, FIELDS, batch_size=8) for each in (CPU, FUSED))
    for name in FIELDS:
        one, other = getattr(expected, name), getattr(given, name)
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(other, one, rtol=0, atol=apart * np.abs(one).max(), err_msg=name)
    after = network.module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all("forward" not in vars(part) for part in network.module.modules())


def test_a_normalisation_after_a_convolution_is_not_computed(probe: ms.Probe, normalisations: list[int]) -> None:
    module = trained(Net())
    assert_same(backbone(module), probe)
    by_torch = [8, 8, 8, 8, 5]
    assert normalisations == [*by_torch, 2]  # the fused network computes it for the two rows that are compared


def test_affine_parameters_and_biases_may_be_absent(probe: ms.Probe, normalisations: list[int]) -> None:
    module = Net()
    module.conv = nn.Conv2d(3, 8, 3, bias=False)
    module.norm = nn.BatchNorm2d(8, affine=False)
    assert_same(backbone(trained(module)), probe)
    assert normalisations[-1] == 2


@pytest.mark.parametrize(
    ("make", "reads", "left"),
    [
        pytest.param(lambda: torchvision.models.mobilenet_v2(), {"head": "classifier"}, 0, id="mobilenet_v2"),
        pytest.param(lambda: torchvision.models.densenet121(), {"head": "classifier"}, 62, id="densenet"),
        pytest.param(lambda: torchvision.models.shufflenet_v2_x0_5(), {"head": "fc"}, 0, id="shufflenet"),
        pytest.param(lambda: timm.create_model("tf_efficientnet_b0"), {"head": "classifier"}, 0, id="efficientnet"),
        pytest.param(lambda: timm.create_model("resnetv2_50"), None, 17, id="resnetv2"),
        pytest.param(lambda: timm.create_model("vit_tiny_patch16_224", img_size=32), None, 0, id="vit"),
    ],
)
def test_real_architectures(
    make: Callable[[], nn.Module], reads: dict[str, str] | None, left: int, normalisations: list[int]
) -> None:
    torch.manual_seed(0)
    module = trained(make())
    reader = PreLogits.of(module) if reads is None else HeadInput(**reads)
    preprocessing = ImagePreprocessing((32, 32), 32, mean=(0.5,) * 3, std=(0.25,) * 3)
    made = replace(backbone(module), read=reader, preprocessing=preprocessing)
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    assert_same(made, ms.Probe.of((images, [0, 1, 0])), 2e-5)
    computed = len(normalisations)
    FUSED.extract(made, ms.Probe.of((images, [0, 1, 0])), FIELDS)
    assert normalisations[computed:].count(3) == left


class TwoReaders(Net):
    """Whose convolution is read by something else as well."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.conv(x)
        return self.head((self.norm(made).relu() + made).mean((2, 3)))


class Twice(Net):
    """Whose convolution has another normalisation at its second call."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)
        self.norm, self.second = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.head = nn.Linear(3, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.second(self.conv(self.norm(self.conv(x)).relu())).mean((2, 3)))


class Standardised(nn.Conv2d):
    """Whose weights are standardised in every call."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight
        deviations, means = torch.std_mean(weight, dim=(1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x, (weight - means) / deviations, self.bias)


def hooked() -> nn.Module:
    module = Net()
    module.conv.register_forward_hook(lambda _part, _given, output: output.clamp(min=0))
    return module


def of_subclass() -> nn.Module:
    module = Net()
    module.conv = Standardised(3, 8, 3)
    return module


def of_normed_weights() -> nn.Module:
    module = Net()
    parametrizations.weight_norm(module.conv)
    return module


def of_batch_statistics() -> nn.Module:
    module = Net()
    module.norm = nn.BatchNorm2d(8, track_running_stats=False)
    return module


@pytest.mark.parametrize("make", [TwoReaders, Twice, hooked, of_subclass, of_normed_weights, of_batch_statistics])
def test_what_cannot_be_fused_is_computed_as_it_is(
    make: Callable[[], nn.Module], probe: ms.Probe, normalisations: list[int]
) -> None:
    assert_same(backbone(trained(make())), probe)
    calls = len(normalisations)
    FUSED.extract(backbone(trained(make())), probe, FIELDS, batch_size=8)
    assert normalisations[calls:].count(8) == (8 if make is Twice else 4)


def test_an_error_in_the_forward_pass_leaves_the_network_as_it_was(probe: ms.Probe) -> None:
    class Late(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if len(self.calls) > 3:
                raise KeyError("the fourth batch")
            return super().forward(x)

    module = trained(Late())
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(CandidateError, match="the fourth batch"):
        FUSED.extract(backbone(module), probe, FIELDS, batch_size=8)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert "forward" not in vars(module.norm)


class Padding(nn.Conv2d):
    """Which calls the function by itself, with names."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padded = nn.functional.pad(x, (0, 1, 0, 1))
        return nn.functional.conv2d(input=padded, weight=self.weight, bias=self.bias, stride=self.stride)


def activated(activation: Callable[[torch.Tensor], torch.Tensor], *others: nn.Module) -> nn.Module:
    class Activated(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv(x)
            for part in others:
                x = part(x)
            return self.head(activation(x).mean((2, 3)))

    module = Activated()
    module.others = nn.ModuleList(others)
    return trained(module)


@pytest.mark.parametrize(
    ("activation", "kernel"),
    [
        pytest.param(nn.ReLU(inplace=True), "relu", id="ReLU"),
        pytest.param(nn.functional.relu, "relu", id="relu"),
        pytest.param(lambda x: x.relu(), "relu", id="method"),
        pytest.param(lambda x: torch.relu_(x), "relu", id="in place"),
        pytest.param(nn.ReLU6(), "relu6", id="ReLU6"),
        pytest.param(nn.functional.relu6, "relu6", id="relu6"),
        pytest.param(nn.Hardtanh(-0.5, 0.7), "hardtanh", id="hardtanh"),
        pytest.param(nn.Hardswish(), "hardswish", id="hardswish"),
        pytest.param(nn.SiLU(), "silu", id="silu"),
        pytest.param(nn.GELU(), "gelu", id="gelu"),
        pytest.param(nn.GELU("tanh"), "gelu", id="gelu by tanh"),
    ],
)
@pytest.mark.parametrize("norm", [(), (nn.BatchNorm2d(8),)], ids=["alone", "normalised"])
def test_a_convolution_does_the_activation_after_it(
    activation: Any, kernel: str, norm: tuple[nn.Module, ...], probe: ms.Probe
) -> None:
    network = backbone(activated(activation, *norm))
    assert_same(network, probe)
    counted = Counter[str]()

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            counted[function.overloadpacket.__name__.removesuffix("_")] += 1
            return function(*args, **(kwargs or {}))

    images = torch.randn(8, 3, 9, 9)
    with FUSED.ready(network.module, "cpu", "float32"):
        read = FUSED.reader(network, compile=False)
        read(images)
        with Count():
            read(images)
    assert counted["_convolution_pointwise"] == 1
    assert not {kernel, "clamp", "native_batch_norm", "batch_norm"} & counted.keys()


def test_a_convolution_of_a_subclass_is_fused(probe: ms.Probe, normalisations: list[int]) -> None:
    module = trained(Net())
    module.conv = Padding(3, 8, 3, stride=2)
    assert_same(backbone(module), probe)
    assert normalisations[-1] == 2


class ReadAfterwards(Net):
    """Whose normalised values are read beside their activation."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normalised = self.norm(self.conv(x))
        return self.head((normalised.relu() * normalised).mean((2, 3)))


def test_an_activation_of_what_is_read_twice_is_computed(probe: ms.Probe, normalisations: list[int]) -> None:
    assert_same(backbone(trained(ReadAfterwards())), probe)
    assert normalisations[-1] == 2


class OtherwiseAtTheEnd(Net):
    """Which does something else with its last batch alone."""

    def __init__(self, otherwise: Callable[[Any, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.otherwise = otherwise

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        is_last = len(x) == ROWS % 8
        made = self.otherwise(self, x) if is_last else self.norm(self.conv(x)).relu()
        return self.head(made.mean((2, 3)))


def assigned(net: Any, x: torch.Tensor) -> torch.Tensor:
    made = net.conv(x)
    made[:, :4] = 0.7
    return net.norm(made).relu()


def listed(net: Any, x: torch.Tensor) -> torch.Tensor:
    made = net.conv(x)
    largest = max(max(map(max, row[0])) for row in made.tolist())
    return net.norm(made).relu() * (1 + abs(largest))


def read_late(net: Any, x: torch.Tensor) -> torch.Tensor:
    normalised = net.norm(net.conv(x))
    return normalised.relu() + normalised


def scaled_in_place(net: Any, x: torch.Tensor) -> torch.Tensor:
    net.conv.weight.mul_(2)
    try:
        return net.norm(net.conv(x)).relu()
    finally:
        net.conv.weight.div_(2)


def replaced(net: Any, x: torch.Tensor) -> torch.Tensor:
    kept = net.norm.running_mean.data
    net.norm.running_mean.data = kept + 1
    try:
        return net.norm(net.conv(x)).relu()
    finally:
        net.norm.running_mean.data = kept


def swallowed(net: Any, x: torch.Tensor) -> torch.Tensor:
    with contextlib.suppress(Exception):
        return net.conv(x).square()
    return net.norm(net.conv(x)).relu()


def refused(net: Any, x: torch.Tensor) -> torch.Tensor:
    made = net.norm(net.conv(x))
    if made.min() >= 0:
        raise ValueError("these are no values of a normalisation")
    return made.relu()


@pytest.mark.parametrize(
    "otherwise",
    [
        pytest.param(lambda net, x: net.conv(x).relu(), id="no normalisation"),
        pytest.param(lambda net, x: net.conv(x), id="no step"),
        pytest.param(lambda net, x: net.conv(x).square(), id="another function"),
        pytest.param(lambda net, x: net.norm(net.conv(x)), id="no activation"),
        pytest.param(lambda net, x: nn.functional.conv2d(x, net.conv.weight, stride=2), id="other numbers"),
        pytest.param(lambda net, x: nn.functional.batch_norm(net.conv(x), *[torch.ones(8)] * 2), id="other statistics"),
        *(assigned, listed, read_late, scaled_in_place, replaced, swallowed, refused),
    ],
)
def test_a_departure_in_a_later_batch_is_noticed(otherwise: Any, probe: ms.Probe) -> None:
    assert_same(backbone(trained(OtherwiseAtTheEnd(otherwise))), probe)


def test_threads_share_a_module(probe: ms.Probe) -> None:
    network = backbone(trained(Net()))
    expected = CPU.extract(network, probe, FIELDS, batch_size=4)
    with ThreadPoolExecutor(4) as pool:
        both = [pool.submit(each.extract, network, probe, FIELDS, batch_size=4) for each in (CPU, FUSED) * 4]
        for given in both:
            np.testing.assert_allclose(given.result().features, expected.features, rtol=0, atol=1e-5)


def test_a_network_without_a_head_and_in_training_mode(probe: ms.Probe) -> None:
    pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    module = trained(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), *pooled)).train()
    assert_same(replace(backbone(module), read=WholeOutput()), probe)
    assert all(part.training for part in module.modules())


def test_only_runs_that_ask_for_it_use_it(images: np.ndarray, tmp_path: Path, normalisations: list[int]) -> None:
    assert choose_extractor(get_host().extractors, backbone(), "cpu").name == "cpu"
    data = images, np.arange(ROWS) % 3
    boards, computed = [], []
    for name in (None, "fused"):
        begun = len(normalisations)
        boards.append(ms.select(data, "embedded:*", extractor=name, cache_dir=tmp_path, progress=False, history=False))
        computed.append(normalisations[begun:])
    rows = max(computed[0])
    assert computed[1].count(rows) < computed[0].count(rows) / 2
    by_torch, fused = ({row.candidate.id: row.score for row in board.rows} for board in boards)
    assert by_torch.keys() == fused.keys()
    np.testing.assert_allclose(list(fused.values()), [by_torch[key] for key in fused], rtol=0, atol=1e-3)
