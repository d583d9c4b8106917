"""One epoch of fine-tuning: verification continues from it, and it is measured on rows that it has not trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modelselect.errors import DatasetError, InvalidInputError
from modelselect.verification import FineTuning, training, verify
from modelselect.verification.verifier import tune_briefly
from tests.verification.material import HARD, QUICK, FitsOnly, backbone, overlapping, result, rows, with_dropout

RECIPES = {
    "plain": HARD,
    "patience": replace(HARD, epochs=10, patience=2),
    "trials": replace(HARD, epochs=9, trials=4),
    "grid": replace(HARD, head_learning_rate=(0.001, 0.02), weight_decay=(0.0, 0.01)),
}


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The learning rate of the head in each step of every training."""
    taken: list[float] = []
    plain = training._set_rates

    def counting(optimizer: Any, rates: list[float]) -> None:
        taken.append(rates[-1])
        plain(optimizer, rates)

    monkeypatch.setattr(training, "_set_rates", counting)
    return taken


def whole(settings: FineTuning, method: str, folder: Path | None) -> tuple[dict[str, Any], dict[str, Any]]:
    kept: dict[str, Any] = {}
    found = verify(
        with_dropout(), overlapping(20), overlapping(40, seed=1), settings,
        method=method, seed=3, folder=folder, keep=lambda weights, _: kept.update(weights),
    )  # fmt: skip
    return result(found), kept


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_verification_continues_from_the_epoch_and_ends_as_without_it(
    tmp_path: Path, method: str, recipe: str, steps: list[float]
) -> None:
    settings = RECIPES[recipe]
    expected, weights = whole(settings, method, None)
    alone = list(steps)
    steps.clear()
    tune_briefly(with_dropout(), overlapping(20), settings, method=method, seed=3, folder=tmp_path)
    assert steps == alone[: len(steps)]
    again, same = whole(settings, method, tmp_path)
    assert again == expected
    assert all(np.array_equal(value, same[name]) for name, value in weights.items())
    assert steps == alone, "no step is taken twice"


def test_with_a_validation_split_the_accuracy_is_that_of_the_first_epoch(tmp_path: Path) -> None:
    settings = RECIPES["patience"]
    found = tune_briefly(with_dropout(), overlapping(20), settings, seed=3, folder=tmp_path)
    verified = whole(settings, "full", None)[0]
    assert (found.training_loss, found.accuracy) == verified["curve"][0]
    assert found.rows == verified["validation_rows"] == 12
    assert tune_briefly(with_dropout(), overlapping(20), settings, seed=3, folder=tmp_path).accuracy == found.accuracy


def test_rows_are_predicted_before_the_network_has_seen_their_classes() -> None:
    # Rows of the last batch get the other class. It has not been trained on when it is predicted: right becomes wrong.
    two = rows(24, classes=(0, 1))
    settings = replace(HARD, batch_size=24)
    order = np.random.default_rng(0).permutation(48)
    other = replace(two, labels=two.labels.copy())
    last = np.array_split(order, 2)[1]
    other.labels[last] = 1 - other.labels[last]
    found, flipped = (tune_briefly(backbone(), each, settings) for each in (two, other))
    assert found.rows == flipped.rows == 24
    assert found.accuracy + flipped.accuracy == pytest.approx(1)
    assert found.training_loss != flipped.training_loss


def test_what_is_easy_is_learned_in_one_epoch_of_enough_steps() -> None:
    found = tune_briefly(backbone(), rows(60), QUICK)
    assert found.accuracy > 0.9
    assert found.rows == 90  # of 180


def test_the_random_state_stays_as_it_was_and_the_seed_decides() -> None:
    state = torch.random.get_rng_state()
    found = [tune_briefly(with_dropout(), overlapping(20), HARD, seed=seed) for seed in (3, 3, 4)]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len({each.training_loss for each in found}) == 2


def test_a_checkpoint_that_is_further_on_is_left_alone(tmp_path: Path) -> None:
    verify(with_dropout(), overlapping(20), overlapping(40, seed=1), HARD, seed=3, folder=tmp_path)
    before = (tmp_path / "training.pt").read_bytes()
    fresh = tune_briefly(with_dropout(), overlapping(20), HARD, seed=3)
    found = tune_briefly(with_dropout(), overlapping(20), HARD, seed=3, folder=tmp_path)
    assert (found.accuracy, found.training_loss) == (fresh.accuracy, fresh.training_loss)
    assert (tmp_path / "training.pt").read_bytes() == before


def test_memory_that_is_short_splits_the_batch_for_verification_too(tmp_path: Path) -> None:
    short = replace(with_dropout(), read=FitsOnly(5))
    found = tune_briefly(short, overlapping(20), HARD, folder=tmp_path)
    verified = verify(short, overlapping(20), overlapping(20, seed=1), HARD, folder=tmp_path)
    assert found.largest_part == verified.largest_part == 4
    assert result(verified) == result(verify(short, overlapping(20), overlapping(20, seed=1), HARD))


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(DatasetError, match="training has 15 labelled rows, which make one batch"):
        tune_briefly(backbone(), rows(5), HARD)
    with pytest.raises(InvalidInputError, match="method is 'head'; expected 'full' or 'lora'"):
        tune_briefly(backbone(), rows(20), HARD, method="head")


@pytest.mark.parametrize("settings", [HARD, RECIPES["patience"]], ids=["plain", "patience"])
def test_the_learning_curve_is_what_progress_hears(settings: FineTuning) -> None:
    heard: list[float] = []
    found = verify(
        with_dropout(),
        overlapping(20),
        overlapping(9, seed=1),
        settings,
        progress=lambda *epoch: heard.append(epoch[2].loss),
    )
    assert [loss for loss, _ in found.curve] == heard
    assert len(found.curve) == found.epochs
    assert found.curve[found.kept_epoch - 1][1] == found.validation_accuracy
