"""A search keeps the trial that validates best, and gives up hopeless ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import nn

from modelselect.errors import CandidateError, OutOfMemoryError
from modelselect.verification import verify
from tests.verification.material import DIMENSIONS, HARD, FitsOnly, backbone, overlapping, rows


def test_of_a_grid_the_point_that_validates_best_is_kept() -> None:
    module = nn.Linear(DIMENSIONS, 8)  # features that are all zero: only a backbone that moves can learn
    nn.init.zeros_(module.weight)
    nn.init.zeros_(module.bias)
    settings = replace(HARD, epochs=12, backbone_learning_rate=(1e-7, 0.02), head_learning_rate=(0.05, 0.04))
    found = verify(backbone(module), rows(20), rows(30, seed=1), settings)
    assert (found.backbone_learning_rate, found.trials) == (0.02, 4)
    assert found.accuracy > 0.9
    head = verify(backbone(), rows(20), rows(30, seed=1), settings, method="head")
    assert head.trials == 2  # for which the backbone's learning rate is nothing to choose


def test_hopeless_trials_are_given_up_at_the_first_rung() -> None:
    heard: list[int] = []
    settings = replace(HARD, epochs=9, head_learning_rate=(0.05, 1e-8, 1e-9, 1e-10))
    training = overlapping(60)
    found = verify(
        backbone(nn.Identity()), training, training, settings, method="head",
        progress=lambda done, *_: heard.append(done),
    )  # fmt: skip
    assert found.head_learning_rate == 0.05
    assert heard == [*range(1, 10), 10, 19, 28]


def test_a_search_looks_around_the_given_rates_and_finds_none_that_is_worse() -> None:
    poor = replace(HARD, epochs=9, backbone_learning_rate=1e-3, head_learning_rate=1e-3)
    found = verify(backbone(), rows(20), rows(30, seed=1), replace(poor, trials=9))
    alone = verify(backbone(), rows(20), rows(30, seed=1), replace(poor, patience=9))
    assert found.trials == 9
    assert 1e-4 <= found.head_learning_rate <= 1e-2
    assert found.validation_accuracy >= alone.validation_accuracy  # type: ignore[operator]


def test_a_trial_that_fails_costs_that_trial_alone() -> None:
    settings = replace(HARD, head_learning_rate=(1e30, 0.05), optimizer="sgd", backbone_learning_rate=0.01)
    found = verify(backbone(), rows(20), rows(30, seed=1), settings)
    assert found.head_learning_rate == 0.05
    with pytest.raises(CandidateError, match=r"none of the 2 trials finished\. The last one failed: the loss became"):
        verify(backbone(), rows(20), rows(30, seed=1), replace(settings, head_learning_rate=(1e30, 1e31)))


def test_a_search_where_memory_is_short_begins_every_trial_with_what_fits() -> None:
    read = FitsOnly(5)
    found = verify(backbone(read=read), rows(10), rows(5, seed=1), replace(HARD, epochs=2, trials=3))
    assert found.largest_part == 4
    with pytest.raises(OutOfMemoryError):
        verify(backbone(read=FitsOnly(1)), rows(10), rows(5, seed=1), replace(HARD, epochs=2, trials=3))
