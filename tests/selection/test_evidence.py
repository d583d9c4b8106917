"""The default ranking, through the whole funnel: what it shows, and what it learns from earlier runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import modelselect as ms
from modelselect.history import History
from tests.estimators.test_resampling import Columns
from tests.selection.budgeted import CLOSE, run


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(autouse=True)
def one_store(shared_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for all tests: they rank the same images, each with a history of its own."""
    monkeypatch.setenv("MODELSELECT_CACHE", str(shared_store))


RECIPE = ms.FineTuning(epochs=2, batch_size=20, backbone_learning_rate=1e-3, head_learning_rate=1e-2)
POOL = ["embedded:resnet.*", "embedded:plain.*", "embedded:vit.letters", "embedded:mobilenet.*"]


def images(seed: int, classes: int = 3, rows: int = 90) -> tuple[Any, Any]:
    """Stripes of another width for each class, in noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    waves = np.sin(np.arange(32)[None, :] * (0.3 + 0.25 * labels[:, None] + 0.05 * seed))
    pixels = 128 + 60 * waves[:, None, :, None] + rng.normal(0, 50, (rows, 32, 32, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8), labels


def ranked(data: Any, **settings: Any) -> ms.Leaderboard:
    return ms.select(data, POOL, progress=False, fine_tuning=RECIPE, **settings)


def test_the_default_ranks_by_evidence_and_shows_what_each_piece_adds() -> None:
    board = ms.select(images(0), POOL, progress=False, history=False)
    assert board.provenance["ranked_by"] == ["evidence"]
    for row in board.ranked:
        assert row.expectation is not None
        assert set(row.expectation.contributions) == {"probe", "size"}
        assert sum(row.expectation.contributions.values()) == pytest.approx(row.score)
        assert row.score == pytest.approx(row.expectation.mean)
    assert sum(row.probability_best or 0.0 for row in board.ranked) == pytest.approx(1.0)
    assert board.confidence == board.best.probability_best
    assert "P(best)" in str(board.to_markdown()) or "probability best" in board.to_markdown()


def test_the_order_of_the_candidates_changes_nothing(tmp_path: Path) -> None:
    names = sorted(row.candidate.name for row in ms.select(images(0), POOL, progress=False, history=False).rows)
    one, other = (
        ms.select(images(0), [f"embedded:{name}" for name in order], history=False, progress=False, top_k=2, epochs=1)
        for order in (names, names[::-1])
    )
    assert [row.candidate for row in other.rows] == [row.candidate for row in one.rows]
    for row, same in zip(one.rows, other.rows, strict=True):
        assert (same.probability_best, same.nearest, same.cluster) == (row.probability_best, row.nearest, row.cluster)
        assert same.scores == pytest.approx(row.scores, rel=1e-12)
        assert same.verified_accuracy == row.verified_accuracy
        assert same.expectation is not None
        assert row.expectation is not None
        assert same.expectation.rank_interval == row.expectation.rank_interval


def test_a_second_run_on_another_dataset_profits_from_the_first(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    first = ranked(images(0), top_k=3, history=history)
    cold = ranked(images(1, classes=4), history=False)
    warm = ranked(images(1, classes=4), history=history)
    verified = {row.candidate.id for row in first.rows if row.verified_accuracy is not None}
    for row in warm.ranked:
        assert row.expectation is not None
        assert ("history" in row.expectation.contributions) == (row.candidate.id in verified)
    assert "similar" in {name for row in warm.ranked for name in row.expectation.contributions}  # type: ignore[union-attr]
    deviations = {
        row.candidate.id: (row.expectation.deviation, next(r for r in cold.ranked if r.candidate == row.candidate))
        for row in warm.ranked
        if row.expectation is not None
    }
    assert all(now < before.expectation.deviation for now, before in deviations.values() if before.expectation)
    assert "history" in str(warm.best.why) or "similar" in str(warm.best.why)


def test_results_on_this_very_dataset_are_no_history_and_count_once(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    first, second = (ranked(images(0), top_k=2, history=history) for _ in range(2))
    assert any(result.metric == "accuracy" for result in history.results())
    assert second.best.verified_accuracy == first.best.verified_accuracy
    for now, before in zip(second.ranked, first.ranked, strict=True):
        assert (now.candidate, now.expectation) == (before.candidate, before.expectation)


def test_results_under_another_recipe_are_no_history(tmp_path: Path) -> None:
    """Another recipe alone is used, but two recipes are never mixed."""
    history = History(tmp_path / "history.sqlite")
    ranked(images(0), top_k=3, history=history)
    other = ms.FineTuning(epochs=1, batch_size=20, optimizer="sgd")
    board = ms.select(images(2), POOL, progress=False, fine_tuning=other, top_k=2, history=history)
    third = ms.select(images(3), POOL, progress=False, fine_tuning=other, history=history)
    seen = {row.candidate.id for row in board.rows if row.verified_accuracy is not None}
    shown = {row.candidate.id for row in third.ranked if "history" in row.expectation.contributions}  # type: ignore[union-attr]
    assert shown == seen


def test_after_fine_tuning_the_probability_follows_the_accuracies() -> None:
    board = ranked(images(0), top_k=3, history=False)
    verified = [row for row in board.rows if row.verified_accuracy is not None]
    means = [row.expectation.mean for row in verified if row.expectation is not None]
    assert means == sorted(means, reverse=True)
    assert board.confidence == board.best.probability_best


def test_the_probe_is_remembered_for_the_reliability_of_later_runs(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    board = ranked(images(0), history=history)
    kept = {result.candidate for result in history.results() if result.metric == "evidence:probe"}
    assert kept == {row.candidate.unversioned_id for row in board.ranked}


def test_a_pool_without_labels_is_ranked_by_what_is_known_of_the_candidates() -> None:
    pixels, _ = images(0)
    board = ms.select((pixels, None), POOL, progress=False, history=False)
    assert board.ranked
    assert all(set(row.expectation.contributions) == {"size"} for row in board.ranked if row.expectation)


def test_noise_with_random_labels_ends_in_no_better_than_guessing() -> None:
    rng = np.random.default_rng(7)
    noise = rng.integers(0, 256, (100, 32, 32, 3), dtype=np.uint8), rng.permutation(np.arange(100) % 4)
    board = ms.select(noise, POOL, progress=False, history=False)
    assert board.better_than_guessing is False
    assert "No better than guessing" in " ".join(str(board).split())
    assert ms.Leaderboard.from_json(board.to_json()).better_than_guessing is False


def test_classes_that_features_tell_apart_are_better_than_guessing() -> None:
    assert ms.select(images(0), POOL, progress=False, history=False).better_than_guessing is True


def test_rounds_under_a_budget_end_with_a_history_too(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    board = run(CLOSE, estimators=None, history=history, budget="4000 passes", confidence=0.99)
    assert len(board.provenance["budget"]["stages"]) > 1
    assert 0 < len([row for row in board.ranked if row.stopped]) < len(board.ranked)


class Breaking(Columns):
    """Fails after a number of rows."""

    def __init__(self, column: int, rows: int) -> None:
        super().__init__(column)
        self.left = rows

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.left -= len(rows)
        if self.left < 0:
            raise RuntimeError("worn out")
        return super().forward(rows)


def test_a_candidate_that_fails_in_a_later_round_takes_no_rank_and_no_probability() -> None:
    candidates = [Breaking(i, 100 if i == 0 else 10_000) for i in range(len(CLOSE))]
    gaps = [3.0, *CLOSE[1:]]
    board = run(gaps, candidates=candidates, estimators=None, budget="4000 passes", confidence=0.99999, history=False)
    failed = next(row for row in board.rows if row.failure is not None)
    assert "worn out" in str(failed.failure)
    assert board.best.rank == 1
    assert sum(row.probability_best or 0.0 for row in board.ranked) == pytest.approx(1.0)
