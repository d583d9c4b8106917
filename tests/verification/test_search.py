"""A search keeps the trial that validates best, and gives up hopeless ones."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.storages.journal import JournalFileBackend
from torch import nn

from modelselect.errors import CandidateError, OutOfMemoryError
from modelselect.verification import search as search_module
from modelselect.verification import verify
from tests.verification.material import (
    DIMENSIONS,
    HARD,
    FitsOnly,
    Killed,
    backbone,
    killed_after,
    overlapping,
    result,
    rows,
)


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


@pytest.mark.parametrize("written", [True, False], ids=["after the line", "before the line"])
def test_a_search_that_is_killed_at_any_line_of_its_journal_ends_as_if_it_never_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    settings = replace(HARD, epochs=3, trials=3)
    monkeypatch.setattr("modelselect.verification.search.DRAWN_AT_RANDOM", 1)  # the last is drawn from earlier results
    append, lines, kill_at = JournalFileBackend.append_logs, 0, 0

    def appending(self: Any, logs: Any) -> None:
        nonlocal lines
        lines += 1
        if lines == kill_at and not written:
            raise Killed
        append(self, logs)
        if lines == kill_at:
            raise Killed

    monkeypatch.setattr(JournalFileBackend, "append_logs", appending)
    whole = verify(backbone(), overlapping(10), overlapping(10, seed=1), settings, folder=tmp_path / "whole")
    for number in range(1 + written, lines + 1, 3):
        lines, kill_at = 0, number
        folder = tmp_path / str(number)
        with pytest.raises(Killed):
            verify(backbone(), overlapping(10), overlapping(10, seed=1), settings, folder=folder)
        kill_at = 0
        again = verify(backbone(), overlapping(10), overlapping(10, seed=1), settings, folder=folder)
        assert result(again) == result(whole), number


def damaged_lines(lines: list[bytes], rng: random.Random) -> list[bytes]:
    """Lines of a journal of which some are lost, repeated, exchanged, damaged, or those of another journal."""
    lines, at = [*lines], rng.randrange(len(lines))
    kind = rng.randrange(6)
    if kind == 0:
        del lines[at : at + rng.randint(1, 4)]
    elif kind == 1:
        lines.insert(at, lines[rng.randrange(len(lines))])
    elif kind == 2:
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == 3:
        lines[at] = lines[at][: rng.randrange(len(lines[at]))]
    elif kind == 4:
        lines[at] = bytes(len(lines[at]))
    else:
        lines[at] = lines[at].replace(b"1", b"2", 1)
    return lines


def check_damaged_journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr("modelselect.verification.search.DRAWN_AT_RANDOM", 1)
    settings, rng = replace(HARD, epochs=3, trials=3), random.Random(0)

    def go(folder: Path, progress: Any = None) -> Any:
        return verify(backbone(), overlapping(10), overlapping(10, seed=1), settings, folder=folder, progress=progress)

    whole = go(tmp_path / "whole")
    with pytest.raises(Killed):
        go(tmp_path / "left", killed_after(7))
    journal = (tmp_path / "left" / "journal.log").read_bytes().splitlines(keepends=True)
    for number in range(count):
        folder = Path(shutil.copytree(tmp_path / "left", tmp_path / str(number)))
        (folder / "journal.log").write_bytes(b"".join(damaged_lines(journal, rng)))
        assert result(go(folder)) == result(whole), number
        shutil.rmtree(folder)


def test_a_search_whose_journal_is_damaged_ends_as_if_it_never_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_damaged_journals(tmp_path, monkeypatch, 8)


@pytest.mark.attack
def test_a_search_whose_journal_is_damaged_anyhow_ends_as_if_it_never_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_damaged_journals(tmp_path, monkeypatch, 200)


def test_tied_rates_are_the_same_in_every_training() -> None:
    tried: list[tuple[float, float]] = []
    original = search_module.train_in_memory

    def noted(job: Any, rates: Any, *arguments: Any) -> Any:
        tried.append((rates.backbone, rates.head))
        return original(job, rates, *arguments)

    settings = replace(HARD, epochs=2, backbone_learning_rate=(1e-4, 0.02), head_learning_rate="tied")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(search_module, "train_in_memory", noted)
        grid = verify(backbone(), rows(20), rows(30, seed=1), settings)
        around = verify(
            backbone(), rows(20), rows(30, seed=1), replace(settings, backbone_learning_rate=1e-3, trials=4)
        )
    assert grid.trials == 2
    assert grid.head_learning_rate == grid.backbone_learning_rate
    assert around.head_learning_rate == around.backbone_learning_rate
    assert len({backbone for backbone, _ in tried}) > 4
    assert all(backbone == head for backbone, head in tried)
