"""What a run says of each candidate, in this process and in workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import modelselect as ms
from modelselect.errors import Failure
from modelselect.evaluation.fine_tuning import VerificationTask
from modelselect.evaluation.running import run
from modelselect.host.host import get_host
from modelselect.utils import progress
from tests.selection.material import WorkersFor

pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", WorkersFor(VerificationTask)], ids=["local", "process"])
def test_a_log_says_scores_epochs_and_accuracies(
    dataset: Path, executor: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SILENCE_SECONDS", 0.0)
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.02)
    recipe = ms.FineTuning(epochs=3)
    board = ms.select(dataset, "embedded:plain*", estimators="knn", top_k=1, fine_tuning=recipe, executor=executor)
    err = capsys.readouterr().err
    best = board.best.candidate.name
    assert "scoring 2/2: plain." in err
    assert " s, knn " in err
    assert f"fine-tuning 1/1: {best}, epoch " in err
    assert "/3, training accuracy " in err
    assert f"accuracy {board.best.verified_accuracy:.1%}" in err.split(f"fine-tuning 1/1: {best}, ")[-1]


def test_a_failure_is_a_line_with_its_reason_and_the_same_reason_is_said_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    candidates = ms.search("embedded:plain*")

    def fail(candidate: ms.Candidate) -> Failure:
        return Failure("load", "the network that this model comes from cannot be reached at all: " + candidate.name)

    with progress.Progress(True) as bars:
        run(get_host().executor("local"), fail, candidates, bars.candidates("scoring", 2))
    _, first, second, last = capsys.readouterr().err.splitlines()
    assert first.endswith("failed: the network that this model comes from cannot be reached at all: plain.letters")
    assert second.endswith("failed for the same reason as another one")
    assert last.endswith(", 2 failed")
