"""The winner: kept, loaded ready to use, and written as a folder that its library loads with the same outputs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import modelselect as ms
from modelselect.backbone import Backbone, TextPreprocessing, example_batch
from modelselect.errors import CandidateError, InvalidInputError
from modelselect.leaderboard import Row
from modelselect.store import Store
from modelselect.verification import FineTuning
from modelselect.verification.winners import KIND, FineTuned
from tests.hub import models
from tests.hub.server import Hub

NAMES = ("cat", "dog", "<script>")
TEXTS = ("good bad", "it is a good one", "the")
QUICK = FineTuning(epochs=2, batch_size=16)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELSELECT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def put(folder: str, files: Mapping[str, bytes]) -> str:
    """The files in a folder, as a candidate expression."""
    for name, content in files.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return f"dir:{folder}"


def batch_of(backbone: Backbone) -> torch.Tensor:
    if isinstance(backbone.preprocessing, TextPreprocessing):
        return backbone.preprocessing.finish(torch.stack([backbone.preprocessing.prepare(text) for text in TEXTS]))
    return example_batch(backbone.preprocessing)


def tuned_row(expression: str, *, head_only: bool = False, trust: bool = False) -> tuple[Row, torch.Tensor]:
    """A row whose candidate has weights of its own in the store, and the logits that it must give."""
    (candidate,) = ms.search(expression)
    backbone = (
        ms.Row(candidate).load(trust_remote_code=trust)
        if hasattr(ms, "Row")
        else Row(candidate).load(trust_remote_code=trust)
    )
    generator = torch.Generator().manual_seed(5)
    weights: dict[str, Any] = {}
    if not head_only:
        with torch.no_grad():
            for parameter in backbone.module.parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
        weights = {f"body.{name}": tensor.numpy() for name, tensor in backbone.module.state_dict().items()}
    with torch.no_grad():
        features = backbone.read(backbone.module, batch_of(backbone)).features
    weight = torch.randn(len(NAMES), features.shape[1], generator=generator)
    bias = torch.randn(len(NAMES), generator=generator)
    weights |= {"head.weight": weight.numpy(), "head.bias": bias.numpy()}
    key = Store.key(KIND, of=candidate.id)
    Store().put(key, weights, {"class_names": NAMES, "method": "head" if head_only else "full"})
    row = Row(candidate, rank=1, score=1.0, verified_accuracy=0.9, verified_interval=(0.8, 0.95), fine_tuned=key)
    return row, features @ weight.T + bias


def agrees(given: torch.Tensor, expected: torch.Tensor) -> bool:
    return torch.allclose(given, expected, rtol=1e-4, atol=1e-4)


def logits_of(backbone: Backbone) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = backbone.module(batch_of(backbone))
    return logits


SOURCES = {
    "timm": lambda: put("models/timm", models.timm_files()),
    "timm convolutional": lambda: put("models/timm", models.timm_files("test_efficientnet")),
    "vit": lambda: put("models/vit", models.image_files("vit")),
    "resnet": lambda: put("models/resnet", models.image_files("resnet")),
    "dinov2": lambda: put("models/dinov2", models.image_files("dinov2")),
    "bert": lambda: put("models/bert", models.text_files()),
    "embedded": lambda: "embedded:resnet.letters",
}


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_loaded_and_what_is_saved_give_the_fine_tuned_logits(source: str) -> None:
    row, expected = tuned_row(SOURCES[source]())
    loaded = row.load()
    assert loaded.class_names == NAMES
    assert not loaded.module.training
    assert agrees(logits_of(loaded), expected)

    row.save("saved")
    assert not list(Path("saved").glob("*.bin"))
    (again,) = ms.search("dir:saved")
    found = Row(again).load()
    assert agrees(found.read(found.module, batch_of(loaded)).logits, expected)  # type: ignore[arg-type]
    assert found.preprocessing.key == loaded.preprocessing.key
