"""Training: progress, early stopping, and that a kill changes no result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from modelselect.errors import CandidateError
from modelselect.verification import FineTuning, verify
from modelselect.verification.checkpoint import Checkpoint
from modelselect.verification.job import Epoch
from tests.verification.material import (
    DIMENSIONS,
    HARD,
    QUICK,
    FitsOnly,
    Killed,
    backbone,
    killed_after,
    overlapping,
    result,
    rows,
    with_dropout,
)


def test_a_loss_that_is_not_finite_costs_the_candidate() -> None:
    class Overflow(nn.Linear):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return super().forward(batch) * 1e38 * 1e38

    with pytest.raises(CandidateError, match=r"loss became nan in epoch 1 .* Lower the learning rates"):
        verify(backbone(Overflow(DIMENSIONS, 8)), rows(10), rows(5), QUICK)


def test_progress_hears_every_epoch_and_the_loss_falls() -> None:
    heard: list[tuple[int, int, Epoch]] = []
    verify(backbone(), rows(20), rows(5), QUICK, progress=lambda *epoch: heard.append(epoch))
    assert [done for done, _, _ in heard] == list(range(1, QUICK.epochs + 1))
    assert {total for _, total, _ in heard} == {QUICK.epochs}
    assert heard[-1][2].loss < heard[0][2].loss
    assert (heard[0][2].training_accuracy or 0) < (heard[-1][2].training_accuracy or 0) <= 1


def test_the_best_epochs_weights_are_kept_and_training_stops_once_none_is_better() -> None:
    heard: list[int] = []
    settings = replace(HARD, epochs=40, patience=3)
    found = verify(
        with_dropout(), overlapping(20), overlapping(60, seed=1), settings, progress=lambda done, *_: heard.append(done)
    )
    assert found.epochs == len(heard) < 40
    assert found.epochs == found.kept_epoch + 3
    assert (found.training_rows, found.validation_rows) == (48, 12)
    assert found.validation_accuracy is not None


def test_held_out_rows_decide_nothing() -> None:
    settings = replace(HARD, epochs=12, patience=2)
    holdout = overlapping(30, seed=1)
    other = replace(holdout, labels=np.roll(holdout.labels, 30))
    weights: list[dict[str, Any]] = [{}, {}]
    for kept, held in zip(weights, (holdout, other), strict=True):
        verify(with_dropout(), overlapping(20), held, settings, keep=lambda a, _, kept=kept: kept.update(a))
    for name, value in weights[0].items():
        assert np.array_equal(value, weights[1][name])


@pytest.mark.parametrize("method", ["full", "head", "lora"])
@pytest.mark.parametrize(
    "settings", [HARD, replace(HARD, optimizer="sgd", patience=4, epochs=10)], ids=["adamw", "sgd"]
)
def test_a_resumed_training_ends_as_one_that_was_never_killed(
    tmp_path: Path, method: str, settings: FineTuning
) -> None:
    def run(folder: Path | None, progress: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        kept: dict[str, Any] = {}
        found = verify(
            with_dropout(), overlapping(20), overlapping(40, seed=1), settings,
            method=method, seed=3, folder=folder, progress=progress, keep=lambda a, _: kept.update(a),
        )  # fmt: skip
        return result(found), kept

    whole, weights = run(None)
    for epoch in (1, 2):
        with pytest.raises(Killed):
            run(tmp_path / "run", killed_after(epoch))
    epochs: list[int] = []
    again, same = run(tmp_path / "run", lambda done, *_: epochs.append(done))
    assert again == whole
    assert all(np.array_equal(value, same[name]) for name, value in weights.items())


def test_a_training_where_memory_is_short_is_resumed_with_what_fits(tmp_path: Path) -> None:
    def run(folder: Path | None, progress: Any = None) -> dict[str, Any]:
        short = replace(with_dropout(), read=FitsOnly(5))
        training, holdout = overlapping(20), overlapping(20, seed=1)
        return result(verify(short, training, holdout, HARD, folder=folder, progress=progress))

    whole = run(None)
    assert whole["largest_part"] == 4
    with pytest.raises(Killed):
        run(tmp_path, killed_after(2))
    assert Checkpoint(tmp_path / "training.pt").load()["part"] == 4  # type: ignore[index]
    assert run(tmp_path) == whole
