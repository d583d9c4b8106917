"""A candidate whose features are not the same twice is a row that says so, and no rank."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import modelselect as ms
from modelselect_plugins.extractors.cpu import CpuExtractor

pytestmark = pytest.mark.usefixtures("cache")


class Net(torch.nn.Module):
    """Features of 8 numbers; subclasses do something that no candidate should do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = torch.nn.Conv2d(3, 8, 3)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.body(batch.float() / 255).mean((2, 3))


class Dropping(Net):
    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.dropout(super().forward(batch), 0.5, training=True)


class Learning(Net):
    def train(self, mode: bool = True) -> Learning:
        super().train(True)
        return self


class Doubling(Net):
    """Changes settings of the whole process when it runs."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        features = super().forward(batch)
        torch.set_default_dtype(torch.float64)
        np.seterr(all="raise")
        return features


def rank(*modules: torch.nn.Module) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    images[:20, :8] //= 4
    board = ms.select((images, [0] * 20 + [1] * 20), list(modules), estimators="logme", progress=False, history=False)
    return {row.candidate.name: row for row in board}


def test_a_candidate_that_draws_random_numbers_is_named() -> None:
    rows = rank(Dropping(), Net(), Learning())
    assert "gives other features when it is repeated on the same row" in rows["Dropping"].status
    assert "stays in training mode" in rows["Learning"].status
    assert rows["Net"].rank == 1
    assert rows["Net"].scores == rank(Net())["Net"].scores


def test_global_settings_that_a_candidate_changes_are_put_back() -> None:
    errors = np.geterr()
    rows = rank(Doubling(), Net())
    assert [row.status for row in rows.values()] == ["ok", "ok"]
    assert torch.get_default_dtype() == torch.float32
    assert np.geterr() == errors


def test_the_check_and_the_pass_share_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions: list[torch.nn.Module] = []
    whole = CpuExtractor.session

    def counted(self: CpuExtractor, module: torch.nn.Module, device: str) -> Any:
        sessions.append(module)
        return whole(self, module, device)

    monkeypatch.setattr(CpuExtractor, "session", counted)
    modules = [Net(), Net(), Net()]
    assert [row.status for row in rank(*modules).values()] == ["ok"] * 3
    assert sessions == modules
