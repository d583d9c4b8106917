"""Bare modules: weights, code, settings and transform distinguish them, and they are returned unchanged."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import modelselect as ms
from modelselect.errors import NothingRankedError
from modelselect.verification import FineTuning

IMAGES = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)
IMAGES[::2, :8] //= 2
LABELS = np.arange(24) % 2


pytestmark = pytest.mark.usefixtures("cache")


def rank(candidates: Any, inputs: Any = IMAGES, **settings: Any) -> ms.Leaderboard:
    return ms.select((inputs, LABELS), candidates, estimators="logme", progress=False, **settings)


class Small(torch.nn.Module):
    def __init__(self, power: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.power = power
        self.conv = torch.nn.Conv2d(3, 6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).relu().pow(self.power).mean((2, 3))


def to_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.resize((16, 16)))).permute(2, 0, 1).float() / 255


def negative(image: Image.Image) -> torch.Tensor:
    return -to_tensor(image)


def scaled(factor: float) -> Callable[[Image.Image], torch.Tensor]:
    return lambda image: factor * to_tensor(image)


def of_one_size(sign: int) -> Callable[[Image.Image], torch.Tensor]:
    """Of no other image than the probe's, so that noise of another size cannot tell what it does."""
    return lambda image: torch.from_numpy(np.array(image).reshape(16, 16, 3)).permute(2, 0, 1) * (sign / 255)


def rows_times(factor: float) -> Callable[[Any], torch.Tensor]:
    return lambda row: factor * torch.as_tensor(np.asarray(row)).float()


def pooled(*layers: torch.nn.Module) -> torch.nn.Module:
    return torch.nn.Sequential(*layers, torch.nn.Flatten())


NUMBERS = np.random.default_rng(1).normal(size=(24, 3, 4, 4))
OTHERS = {
    "another transform": (IMAGES, (Small(), to_tensor), (Small(), negative)),
    "another setting of the transform": (IMAGES, (Small(), scaled(1.0)), (Small(), scaled(-1.0))),
    "a transform for images of one size": (IMAGES, (Small(), of_one_size(1)), (Small(), of_one_size(-1))),
    "a transform of numbers": (NUMBERS, (Small(), rows_times(1.0)), (Small(), rows_times(-1.0))),
    "another layer without weights": (IMAGES, pooled(torch.nn.AvgPool2d(4)), pooled(torch.nn.MaxPool2d(4))),
    "another setting of the module": (IMAGES, (Small(1.0), to_tensor), (Small(3.0), to_tensor)),
}


@pytest.mark.parametrize("what", OTHERS)
def test_modules_of_the_same_weights_are_told_apart_by(what: str, tmp_path: Path) -> None:
    inputs, one, other = OTHERS[what]
    boards = [rank(candidate, inputs) for candidate in (one, other)]
    fresh = rank(other, inputs, cache_dir=tmp_path / "fresh")
    assert boards[0].best.score != fresh.best.score
    assert boards[1].best == fresh.best
    assert rank(other, inputs).provenance["from_store"] == 1


MODULE = """
import torch

def helper(x):
    return x.{call}()

class Inner(torch.nn.Module):
    def forward(self, x):
        return helper(x)

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Inner()
    def forward(self, x):
        return self.inner(x).mean((2, 3))
"""


def test_edited_code_is_told_apart_also_where_there_is_no_source() -> None:
    boards = []
    for call in ("relu", "relu", "sin"):
        namespace: dict[str, Any] = {"__name__": "__main__"}
        exec(MODULE.format(call=call), namespace)
        boards.append(rank(namespace["Net"](), NUMBERS))
    first, same, edited = boards
    assert same.provenance["from_store"] == 1
    assert same.best == first.best
    assert edited.best.score != first.best.score


def test_a_module_is_known_again_in_another_process() -> None:
    command = [sys.executable, "-c", "from tests.evaluation.test_own_modules import *; print(*candidate_ids())"]
    ids = {
        subprocess.run(
            command, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"}
        ).stdout
        for seed in ("1", "2")
    }
    assert ids == {" ".join(candidate_ids()) + "\n"}


def candidate_ids() -> list[str]:
    from modelselect.evaluation.own_modules import ModuleZoo, as_named_modules

    modules = as_named_modules([Small(), (Small(2.0), scaled(0.5)), pooled(torch.nn.AvgPool2d(2))])
    return [candidate.id for candidate in ModuleZoo(modules, ms.Probe.of((IMAGES, LABELS))).search("*")]


def test_a_transform_that_depends_on_chance_costs_its_row_only() -> None:
    def by_chance(image: Any) -> torch.Tensor:
        return to_tensor(image) + torch.rand(1)

    board = rank([(Small(), to_tensor), (Small(), by_chance)])
    assert [row.failure is None for row in board.rows] == [True, False]
    assert "different tensors for the same image" in board.rows[1].status
    with pytest.raises(NothingRankedError, match="different tensors for the same row"):
        rank((Small(), lambda row: torch.rand(3, 4, 4)), NUMBERS)


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        ((Small(), lambda image: 1 / 0), "ZeroDivisionError"),
        ((Small(), lambda image: "tensor"), "returns str; expected a tensor"),
        (torch.nn.LazyLinear(3), "uninitialized"),
        (torch.nn.Linear(3, 2, device="meta"), "meta"),
    ],
)
def test_what_cannot_be_told_apart_is_a_failed_row(candidate: Any, words: str) -> None:
    board = rank([candidate, Small()])
    assert board.best.candidate.name.startswith("Small")
    assert board.rows[1].failure is not None
    assert words in board.rows[1].status


@pytest.mark.parametrize("top_k", [0, 1])
def test_the_callers_module_is_given_back_as_it_was(top_k: int) -> None:
    norm = torch.nn.BatchNorm2d(6)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3), norm, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    net.train()
    norm.eval()  # as one freezes it
    before = {name: value.clone() for name, value in net.state_dict().items()}
    rank(net, top_k=top_k, fine_tuning=FineTuning(epochs=1))
    assert [part.training for part in net.modules()] == [part is not norm for part in net.modules()]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    net(torch.rand(2, 3, 16, 16)).sum().backward()  # it can be trained
    assert net[0].weight.grad is not None


def test_the_callers_module_is_given_back_where_it_was() -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device here")
    net = Small().cuda()
    assert rank(net, device="cpu").best.score == pytest.approx(rank(Small(), device="cpu").best.score)
    assert net.conv.weight.is_cuda
