"""What is fine-tuned under a budget is what the budget leaves."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from modelselect import verification
from modelselect.evaluation import fine_tuning
from modelselect.selection import affordable
from modelselect.verification import FineTuning
from tests.selection.budgeted import tune

pytestmark = pytest.mark.usefixtures("cache")


def test_candidates_and_epochs_are_what_the_budget_leaves(passed: Counter[str]) -> None:
    seen = set()
    for budget in (40_000, 17_000, 8_500, 4_000):
        board = tune([1.0, 1.0, 1.0, 0.9], budget=budget, top_k=3, confidence=0.999, seed=budget)
        *scoring, stage = board.provenance["budget"]["stages"]
        left = budget - sum(each["passes"] for each in scoring)
        # 320 rows to train on, three passes for each and every epoch, and 80 held out
        affordable = {k: min(8, (left // k - 80) // (3 * 320)) for k in (3, 2)}
        verified = next((k for k in (3, 2) if affordable[k] >= 3), 0)
        epochs = affordable.get(verified, 0)
        assert (stage["candidates"], stage["epochs"]) == (verified, epochs), stage
        seen.add((verified, epochs == 8))
        assert sum(row.verified_accuracy is not None for row in board.rows) == verified
        assert board.provenance["budget"]["spent"]["passes"] <= budget
        assert not verified or board.provenance["settings"]["fine_tuning"]["epochs"] == epochs
    assert {(3, True), (3, False), (2, False), (0, False)} == seen


@pytest.mark.parametrize("budget", [9_000, "30s"])
def test_what_was_fine_tuned_when_a_run_was_killed_is_not_fine_tuned_again(
    budget: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(affordable, "affordable_epochs", lambda *_: 4)  # what is left for the first run
    tuned: list[int] = []
    whole = verification.verify

    def killed_at_the_second(backbone: Any, training: Any, holdout: Any, settings: FineTuning, **more: Any) -> Any:
        if len(tuned) == 1:
            raise KeyboardInterrupt
        tuned.append(settings.epochs)
        return whole(backbone, training, holdout, settings, **more)

    monkeypatch.setattr(fine_tuning, "verify", killed_at_the_second)
    settings: dict[str, Any] = {"budget": budget, "top_k": 2, "confidence": 0.999}
    torch.manual_seed(0)  # the same candidates each time
    with pytest.raises(KeyboardInterrupt):
        tune([1.0, 1.0], **settings)
    monkeypatch.setattr(affordable, "affordable_epochs", lambda *_: 8)  # scores cost nothing any more: more is left
    resumed: list[int] = []

    def counting(backbone: Any, training: Any, holdout: Any, settings: FineTuning, **more: Any) -> Any:
        resumed.append(settings.epochs)
        return whole(backbone, training, holdout, settings, **more)

    monkeypatch.setattr(fine_tuning, "verify", counting)
    torch.manual_seed(0)
    board = tune([1.0, 1.0], **settings)
    assert tuned == resumed == [4]
    assert sum(row.verified_accuracy is not None for row in board.rows) == 2
    assert board.provenance["settings"]["fine_tuning"]["epochs"] == 4
