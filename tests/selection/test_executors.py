"""What `select()` promises whatever the executor."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import modelselect as ms
from modelselect.candidates.backbone import Backbone
from modelselect.errors import InvalidInputError
from tests.selection.material import Flaky, rank


def test_a_candidate_that_takes_too_long_costs_its_row(
    dataset: Path, flaky: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Flaky.load

    def endless(self: Flaky, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> Backbone:
        if candidate.name == "raises":
            time.sleep(600)
        return load(self, candidate)

    monkeypatch.setattr(Flaky, "load", endless)
    rank(dataset, "flaky:good")  # imports take seconds
    board = rank(dataset, ["flaky:raises", "flaky:good"], task_timeout="3s")
    assert [row.candidate.name for row in board.ranked] == ["good"]
    failed = board.rows[-1].failure
    assert failed is not None
    assert (failed.error, failed.reason[:32]) == ("TimeoutError", "the item took longer than 3 s an")


def test_an_option_that_the_executor_does_not_have_is_an_error_that_names_the_keyword(dataset: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"'local' has no ray_address= \(--ray-address\); it has: timeout"):
        rank(dataset, "embedded:plain*", ray_address="auto")
