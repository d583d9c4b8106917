"""The best candidates are fine-tuned, and rank by their accuracy."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import transforms

import modelselect as ms
from tests.selection.budgeted import tune
from tests.selection.material import QUICK, SOME, rank

pytestmark = pytest.mark.usefixtures("cache")


def test_the_top_k_are_fine_tuned_and_lead_in_the_order_of_their_accuracy(dataset: Path) -> None:
    board = rank(dataset, top_k=2, fine_tuning=QUICK)
    verified = [row for row in board.rows if row.verified_accuracy is not None]
    assert verified == list(board.rows[:2])
    assert {row.predicted_rank for row in verified} == {1, 2}
    assert verified[0].verified_accuracy >= verified[1].verified_accuracy  # type: ignore[operator]
    for row in verified:
        low, high = row.verified_interval  # type: ignore[misc]
        assert 0 <= low <= row.verified_accuracy <= high <= 1  # type: ignore[operator]
    ranks = [row.rank for row in board.rows]
    assert ranks == sorted(ranks)  # type: ignore[type-var]
    assert board.provenance["dataset"]["training_rows"] == 48


class Careless(torch.nn.Module):
    """In training, it changes settings of the process."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 8, 3, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            torch.set_default_dtype(torch.float64)
            torch.backends.mkldnn.enabled = False
        return self.convolution(images).mean((2, 3))


def test_what_a_candidate_changes_while_it_is_trained_is_put_back(dataset: Path, tmp_path: Path) -> None:
    prepared = transforms.Compose([transforms.Resize(32), transforms.ToTensor()])
    pool = [(Careless(), prepared), "embedded:plain.letters"]
    board = ms.select(dataset, pool, estimators="logme", top_k=2, tune=2, fine_tuning=QUICK, progress=False)
    assert torch.get_default_dtype() == torch.float32
    assert torch.backends.mkldnn.enabled
    alone = ms.select(
        dataset, pool[1], estimators="logme", top_k=1, fine_tuning=QUICK, progress=False, cache_dir=tmp_path
    )
    (known,) = (row for row in board.rows if row.candidate.name == "plain.letters")
    assert known.verified_accuracy == alone.best.verified_accuracy


@pytest.mark.parametrize(("confidence", "tuned"), [(0.7, 0), (0.9, 2)])
def test_nothing_is_fine_tuned_where_the_first_is_probably_the_best(confidence: float, tuned: int) -> None:
    """One score says with 78% which of two is the better: that the order by score is clear does not make it more."""
    board = tune([0.2, 3.5], budget="10m", top_k=2, confidence=confidence)
    decision = board.provenance["budget"]["stages"][-1]["decision"]
    assert sum(row.verified_accuracy is not None for row in board.rows) == tuned
    if tuned:
        assert decision == "2 of 2 candidates, the whole recipe"
    else:
        assert decision == "not needed: the first is the best with 78%"
        assert round(board.confidence or 0.0, 2) == 0.78


@pytest.mark.parametrize("settings", [{}, {"resamples": 2}, {"budget": "5000 passes"}], ids=str)
def test_fine_tuning_after_a_finished_run_uses_its_evidence(
    dataset: Path, passed: Counter[str], settings: dict[str, object]
) -> None:
    ranked = rank(dataset, SOME, estimators=["logme", "knn"], history=False, **settings)
    assert passed.total() > 0
    passed.clear()
    verified = rank(dataset, SOME, estimators=["logme", "knn"], history=False, top_k=1, fine_tuning=QUICK, **settings)
    assert passed.total() == 0
    scores = {row.candidate.id: (row.scores, row.standard_error) for row in verified.rows}
    assert scores == {row.candidate.id: (row.scores, row.standard_error) for row in ranked.rows}
    assert verified.provenance["dataset"]["fingerprint"] == ranked.provenance["dataset"]["fingerprint"]


def test_a_plan_counts_the_rows_that_a_run_passes_forward(dataset: Path, passed: Counter[str]) -> None:
    for settings in ({}, {"top_k": 1, "fine_tuning": QUICK}):
        planned = ms.plan(dataset, "embedded:plain.letters", estimators="logme", history=False, **settings)
        assert planned.probe_rows == 48
        assert [row.stored for row in planned.rows] == ["scores" if settings else ""]
        rank(dataset, "embedded:plain.letters", history=False, **settings)
    assert passed.total() == 48


def test_a_dataset_of_two_rows_for_each_class_is_ranked_on_all_of_them(passed: Counter[str]) -> None:
    images = np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3), dtype=np.uint8)
    board = rank((images, [0, 1, 2] * 2), "embedded:plain.letters", estimators="knn", history=False)
    assert board.best.rank == 1
    assert passed.total() == 6


def test_a_probe_of_the_users_own_stays_as_it_is(dataset: Path, passed: Counter[str]) -> None:
    rank(ms.Probe.of(dataset), "embedded:plain.letters", history=False)
    assert passed.total() == 60
