"""The memory of training follows from the architecture: what is trained, what layers keep, how many rows there are."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch

from modelselect.errors import CandidateError
from modelselect.verification import footprint
from modelselect.verification.footprint import AT_WORK, CPU_SPREAD, peak_bytes, states_bytes
from modelselect.verification.recipe import FineTuning

MEGABYTE = 1_000_000


def network(width: int = 64) -> torch.nn.Module:
    """Two convolutions that keep their inputs, and a classifier that a new head replaces."""
    made = torch.nn.Sequential(torch.nn.Conv2d(3, width, 3, padding=1), torch.nn.Conv2d(width, width, 3, padding=1))
    made.add_module("head", torch.nn.Identity())
    return made.to("meta")


def run(module: Any, rows: int) -> Any:
    return module(torch.zeros(rows, 3, 32, 32, device="meta"))


def weights_of(module: torch.nn.Module) -> int:
    return sum(4 * parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("rows", [2, 16])
def test_full_training_holds_weights_moments_and_what_layers_keep(rows: int) -> None:
    weights, image, maps = weights_of(network()), 4 * 3 * 32 * 32, 4 * 64 * 32 * 32
    expected = 3 * weights + rows * (image + maps + AT_WORK * maps)
    assert peak_bytes(network(), run, FineTuning(batch_size=rows), "full", "cuda") == expected


def test_a_processor_holds_the_pre_trained_weights_too_and_spreads() -> None:
    recipe = FineTuning(batch_size=4)
    on_gpu, on_cpu = (peak_bytes(network(), run, recipe, "full", device) for device in ("cuda", "cpu"))
    weights = weights_of(network())
    assert on_cpu - 4 * weights == pytest.approx(CPU_SPREAD * (on_gpu - 3 * weights), abs=1)


def test_other_methods_and_optimisers_take_less() -> None:
    recipe, sgd = FineTuning(batch_size=2), FineTuning(batch_size=2, optimizer="sgd")
    full, plain, head = (
        peak_bytes(network(512), run, settings, method, "cuda")
        for settings, method in ((recipe, "full"), (sgd, "full"), (recipe, "head"))
    )
    lora = peak_bytes(network(512), run, recipe, "lora", "cuda")
    weights = weights_of(network(512))
    assert full - plain == weights
    assert head < lora < full
    assert head >= weights
    assert states_bytes(weights // 4, recipe, "full") == 4 * weights


def test_a_module_that_fails_without_values_is_an_error_of_its_candidate() -> None:
    def fails(module: Any, rows: int) -> Any:
        return module(torch.zeros(rows, 5, 32, 32, device="meta"))

    with pytest.raises(CandidateError, match=r"the memory of training cannot be estimated: .* raised RuntimeError"):
        peak_bytes(network(), fails, FineTuning(), "full", "cpu")


class OfTorch(torch.nn.Module):
    """Attention in the module that torch has for it."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(8, 1, batch_first=True)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.attention(batch, batch, batch, need_weights=False)[0]
        return output


def test_attention_of_torchs_own_module_keeps_no_table_of_weights() -> None:
    def bytes_for(tokens: int) -> int:
        def run(module: Any, rows: int) -> Any:
            return module(torch.zeros(rows, tokens, 8, device="meta"))

        return peak_bytes(OfTorch().to("meta"), run, FineTuning(batch_size=2), "full", "cuda")

    short, middle, long = map(bytes_for, (1024, 2048, 4096))
    assert long - middle == 2 * (middle - short)  # it grows with the tokens, and not with their square


class Stopped(torch.nn.Module):
    """Two layers and attention of the model run; an exception ends the pass before the last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.model = torch.nn.Module()
        self.model.layers = torch.nn.ModuleList(torch.nn.Linear(8, 8, bias=False) for _ in range(3))
        self.model.attention = torch.nn.MultiheadAttention(8, 1, bias=False, batch_first=True)
        self.model.scale = torch.nn.Parameter(torch.ones(8))
        self.model.forward = self.inner  # type: ignore[method-assign]

    def inner(self, batch: torch.Tensor) -> torch.Tensor:
        for layer in self.model.layers[:2]:
            batch = layer(batch * self.model.scale)
        self.model.attention(batch, batch, batch)
        raise StopIteration

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        with contextlib.suppress(StopIteration):
            self.model(batch)
        return batch


def test_what_lies_behind_a_layer_is_not_trained() -> None:
    module = Stopped().to("meta")
    recipe = FineTuning(batch_size=2)

    def run(module: Any, rows: int) -> Any:
        return module(torch.zeros(rows, 2, 8, device="meta"))

    trained, _, _ = footprint._forward(module, run, recipe, "full")
    assert trained == weights_of(module) - 4 * 64  # all but the last layer; attention calls no part for its output
