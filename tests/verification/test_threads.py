"""A model that several threads share answers each of them as it answers one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

import modelselect as ms
from modelselect.candidates.inspection import reader_for
from modelselect.verification.footprint import peak_bytes
from tests.selection.test_evidence import images


@pytest.fixture(scope="module")
def winner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("winner")
    recipe = ms.FineTuning(epochs=1, batch_size=30)
    board = ms.select(
        images(0),
        "embedded:resnet.letters",
        estimators="logme",
        top_k=1,
        fine_tuning=recipe,
        progress=False,
        history=False,
        cache_dir=place / "store",
    )
    board.best.save(place / "winner")
    return place / "winner"


def test_several_threads_predict_with_one_model(winner: Path) -> None:
    model, pixels = ms.load(winner), images(0)[0]
    parts = np.split(pixels, 18)
    alone = [model.predict(part).probabilities for part in parts]
    with ThreadPoolExecutor(6) as threads:
        for _ in range(3):
            together = threads.map(lambda part: model.predict(part).probabilities, parts)
            assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


def test_several_threads_read_the_features_of_one_module() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()
    batches = list(torch.randn(200, 4, 6))
    read = reader_for(module, batches[0])
    alone = [read(module, batch).features for batch in batches]
    with ThreadPoolExecutor(8) as threads:
        together = threads.map(lambda batch: read(module, batch).features, batches)
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))


class Attention(torch.nn.Module):
    """While it is passed forward, another thread computes attention."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.others = torch.nn.Linear(4, 4), list[torch.Tensor]()

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        with ThreadPoolExecutor(1) as thread:
            rows = torch.ones(1, 1, 2, 4)
            self.others.append(thread.submit(functional.scaled_dot_product_attention, rows, rows, rows).result())
        return functional.scaled_dot_product_attention(*[self.layer(batch)] * 3)


def test_attention_of_another_thread_is_computed_while_memory_is_estimated() -> None:
    module = Attention().to("meta")
    run = lambda module, rows: module(torch.empty(rows, 2, 4, device="meta"))  # noqa: E731
    assert peak_bytes(module, run, ms.FineTuning(batch_size=8), "full", "cpu") > 0
    assert [other.tolist() for other in module.others] == [torch.ones(1, 1, 2, 4).tolist()]
