"""Multiply-accumulates are counted as torch counts them, in the run that gives the graph."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from modelselect.archi2vec import count_macs, to_json, trace
from modelselect.architectures.counting import _COUNTED, counting
from modelselect.architectures.trace import trace_and_count

SIZE = (3, 32, 32)


def test_the_names_of_all_operators_that_torch_counts_are_known() -> None:
    assert all(_COUNTED.search(operator.__name__) for operator in flop_registry)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, stride=8)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.block(self.patches(images).flatten(2).mT).mean(1)
        return rows


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.LSTM(96, 8, batch_first=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.rows(images.permute(0, 2, 1, 3).flatten(2))[0][:, -1]
        return output


MODULES = [
    nn.Sequential(nn.Conv2d(3, 8, 3, groups=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.GELU()),
    nn.Sequential(
        nn.ConvTranspose2d(3, 4, 2, stride=2),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 5, bias=False),
    ),
    Attention(),
    Recurrent(),
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: type(module).__name__)
def test_graph_and_count_of_one_run_are_those_of_two(module: nn.Module) -> None:
    graph, macs = trace_and_count(module, SIZE)
    assert graph is not None
    assert to_json(graph) == to_json(trace(module, SIZE))
    assert macs == count_macs(module, SIZE)
    on_meta = copy.deepcopy(module).to("meta").eval()
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        on_meta(torch.zeros(2, *SIZE, device="meta"))
    assert macs == round(counter.get_total_flops() / 2 / 2) > 0


@pytest.mark.parametrize("module", MODULES, ids=lambda module: type(module).__name__)
def test_a_module_that_nobody_needs_gives_the_same_without_a_copy(module: nn.Module) -> None:
    spare = copy.deepcopy(module).to("meta")
    graph, macs = trace_and_count(spare, SIZE, again=lambda: copy.deepcopy(module).to("meta"))
    expected, count = trace_and_count(module, SIZE)
    assert graph is not None
    assert expected is not None
    assert (to_json(graph), macs) == (to_json(expected), count)


LAYERS = [
    nn.BatchNorm2d(8),
    nn.LayerNorm(5),
    nn.LayerNorm((4, 5), elementwise_affine=False),
    nn.ReLU(),
    nn.ReLU6(inplace=True),
    nn.GELU(approximate="tanh"),
    nn.SiLU(),
    nn.Hardswish(inplace=True),
    nn.Hardsigmoid(),
    nn.Conv2d(8, 6, 3, stride=2, padding=1, dilation=2, groups=2),
    nn.ConvTranspose2d(8, 6, 3, stride=2),
    nn.MaxPool2d(3, stride=2, padding=1),
    nn.MaxPool2d(2, ceil_mode=True),
    nn.MaxPool2d(2, dilation=2, stride=1),
    nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False),
    nn.AvgPool2d(3, stride=4, padding=1, ceil_mode=True),
    nn.AdaptiveAvgPool2d(1),
    nn.Linear(5, 3),
    nn.Softmax(dim=1),
]
OPERATIONS = {
    "clamp": lambda rows: rows.clamp(0, 1),
    "times": lambda rows: rows * 2,
    "times a channel": lambda rows: rows * rows[:1, :, :1, :1],
    "a channel times": lambda rows: rows[:1, :, :1, :1] * rows,
    "plus": lambda rows: rows + rows.flip(0),
    "plus transposed": lambda rows: rows.flatten(2) + rows.flatten(2).contiguous().mT.contiguous().mT,
    "plus doubles": lambda rows: rows + rows.double(),
    "plus integers": lambda rows: rows.long() + rows.long(),
    "mean": lambda rows: rows.mean((2, -1)),
    "mean, kept": lambda rows: rows.mean(1, keepdim=True),
    "mean of all": lambda rows: rows.mean(),
    "joined": lambda rows: torch.cat([rows, rows[:, :3]], 1),
    "joined from the end": lambda rows: torch.cat([rows, rows], -1),
    "products": lambda rows: rows.flatten(0, 1) @ rows.flatten(0, 1).mT,
    "product": lambda rows: rows[0, 0] @ rows[1, 1].mT,
    "part": lambda rows: rows[:, ::2] * 3,
    "expanded": lambda rows: rows[:, :1].expand(-1, 4, -1, -1).relu(),
    "attention": lambda rows: nn.functional.scaled_dot_product_attention(rows, rows, rows),
}


def same_as_on_meta(function: Callable[[torch.Tensor], torch.Tensor], layout: torch.memory_format) -> None:
    def run() -> torch.Tensor:
        return function(torch.zeros(2, 8, 4, 5, device="meta").contiguous(memory_format=layout))

    with sdpa_kernel(SDPBackend.MATH):
        expected = run()
        with counting():
            found = run()
    assert (found.shape, found.stride(), found.dtype) == (expected.shape, expected.stride(), expected.dtype)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_layers_give_what_torch_gives_on_the_meta_device(layer: nn.Module, layout: torch.memory_format) -> None:
    same_as_on_meta(copy.deepcopy(layer).to("meta").eval(), layout)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_give_what_torch_gives_on_the_meta_device(name: str, layout: torch.memory_format) -> None:
    same_as_on_meta(OPERATIONS[name], layout)


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(3, 4, 1), nn.Conv2d(8, 4, 9), nn.Linear(4, 2), nn.MaxPool2d(9), nn.BatchNorm2d(3)], ids=repr
)
def test_what_does_not_fit_is_refused_as_torch_refuses_it(layer: nn.Module) -> None:
    on_meta, rows = copy.deepcopy(layer).to("meta").eval(), torch.zeros(2, 8, 4, 5, device="meta")
    with pytest.raises(RuntimeError):
        on_meta(rows)
    with counting(), pytest.raises(RuntimeError):
        on_meta(rows)


def test_a_module_without_a_path_has_a_count_and_no_graph() -> None:
    class Constant(nn.Linear):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return super().forward(rows).detach()

    assert trace_and_count(Constant(4, 2), (4,)) == (None, 8)


def test_a_module_that_reads_values_has_a_graph_and_no_count() -> None:
    class Reading(nn.Linear):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return super().forward(rows) if float(rows.sum()) < 1 else rows

    graph, macs = trace_and_count(Reading(4, 2), (4,))
    assert graph is not None
    assert macs is None
