"""Candidates with fine-tuned weights in the store, and the logits that they must give."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import modelselect as ms
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.preprocessing import TextPreprocessing, example_batch
from modelselect.leaderboard.leaderboard import Row
from modelselect.store.store import Store
from modelselect.verification.fine_tuned import KIND

NAMES = ("cat", "dog", "<script>")
TEXTS = ("good bad", "it is a good one", "the")


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
    backbone = Row(candidate).load(trust_remote_code=trust)
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
