"""The answer names the winner, its grounds and its doubts, and the code that loads the winner."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import modelselect as ms
from modelselect.errors import Failure
from modelselect.leaderboard.leaderboard import Row
from modelselect.ranking.expectation import Expectation
from modelselect.report.answer import (
    NOTHING_KEPT,
    Kept,
    answer_text,
    cheaper_candidates,
    key_facts,
    left_out,
    loading_code,
)
from tests.report.material import EVIL, evil_board


def test_the_answer_names_the_winner_its_grounds_and_how_sure_it_is() -> None:
    sentences = answer_text(evil_board())
    assert sentences[0].startswith("Fine-tune model-00: it reached an accuracy of 90.0% (95% interval 88.0% to 92.0%)")
    assert "the best of 2 fine-tuned out of 11 candidates" in sentences[0]
    assert sentences[1] == "model-00 is the best with a probability of 97%."


def test_an_accuracy_that_guessing_may_reach_and_what_was_trained_are_said() -> None:
    def said(low: float, method: str) -> str:
        row = Row(ms.Candidate("shelf", "a"), rank=1, score=1.0, verified_accuracy=0.6, verified_interval=(low, 0.7))
        about = {"dataset": {"classes": ["x", "y"]}, "settings": {"fine_tuning": {"method": method}}}
        return " ".join(answer_text(ms.Leaderboard((row,), ("logme",), about)))

    assert "may be no better than guessing among 2 classes: 50%" in said(0.49, "full")
    assert "guessing" not in said(0.51, "full")
    assert "Fine-tuning trained the linear head alone" in said(0.51, "head")
    assert "Fine-tuning trained" not in said(0.51, "full")


def test_ties_and_candidates_that_cannot_be_told_apart_are_said() -> None:
    def row(name: str, rank: int, **more: object) -> Row:
        return Row(ms.Candidate("shelf", name), rank=rank, score=1.0 / rank, predicted_rank=rank, **more)  # type: ignore[arg-type]

    tied = " ".join(answer_text(ms.Leaderboard((row("a", 1), row("b", 1), row("c", 3)), ("logme",))))
    assert "shares the first place with b" in tied
    assert "probability" not in tied  # nothing is known of it

    def told(*expected: tuple[float, dict[str, object]]) -> str:
        rows = tuple(
            row("abc"[i], i + 1, expectation=Expectation(mean, 0.5, (1, 3)), probability_best=0.55, **more)
            for i, (mean, more) in enumerate(expected)
        )
        return " ".join(answer_text(ms.Leaderboard(rows, ("logme",), confidence=0.55)))

    close = told((1.0, {}), (0.6, {}), (-1.0, {}))
    assert "a is the best with a probability of 55%. It cannot be told apart from b." in close
    assert "Fine-tune the three best with top_k=3 (--top-k 3)." in close
    overlapping = told(
        (1.0, {"verified_accuracy": 0.9, "verified_interval": (0.85, 0.95)}),
        (-1.0, {"verified_accuracy": 0.88, "verified_interval": (0.83, 0.93)}),
    )
    assert "told apart" not in overlapping  # that accuracies' intervals overlap does not say it
    assert "--top-k" not in overlapping
    nothing = ms.Leaderboard((Row(ms.Candidate("shelf", "x"), failure=Failure("load", "gone")),))
    assert answer_text(nothing) == ["None of the 1 candidates could be ranked; the table says why."]


def test_the_key_facts_show_the_one_probability_and_none_of_another_kind() -> None:
    board = evil_board()
    assert ("probability of being the best", "97%") in key_facts(board)
    old = replace(board, rows=tuple(replace(row, expectation=None) for row in board.rows))
    assert not [name for name, _ in key_facts(old) if "probability" in name]  # as version 0.1.0 wrote it


def run(code: str | None) -> dict[str, Any]:
    assert code is not None
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    return namespace


def test_the_code_to_load_the_winner_loads_it() -> None:
    row = Row(ms.search("embedded:resnet.letters")[0])
    module = run(loading_code(row, NOTHING_KEPT))["model"]
    assert sum(p.numel() for p in module.parameters()) == row.candidate.metadata["parameters"]


@pytest.mark.parametrize("name", ["board.json", "page.json"])
def test_the_code_to_load_a_fine_tuned_winner_loads_the_file_that_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    row = Row(ms.Candidate("shelf", "tiny", metadata={"remote_code": True}), rank=1, score=1.0, fine_tuned="key")
    ms.Leaderboard((row,)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setattr(Row, "predict", lambda self, _, **settings: asked.append((self, settings)))
    monkeypatch.setattr(Row, "save", lambda self, _, **settings: asked.append((self, settings)))
    run(loading_code(row, Kept(board=name)))
    assert asked == [(row, {"trust_remote_code": True})] * 2  # code that it brings runs because the reader says so


def test_the_code_names_no_file_that_does_not_exist() -> None:
    row = Row(ms.Candidate("shelf", "tiny"), rank=1, score=1.0, fine_tuned="key")
    code = loading_code(row, NOTHING_KEPT)
    assert code is not None
    assert ".json" not in code
    assert "ms.load('winner')" in str(loading_code(row, Kept(board="board.json", winner="winner")))


def test_who_was_left_out_is_told_by_what_became_of_them() -> None:
    assert left_out(evil_board()) == {
        "without a rank": [("broken", f"{EVIL} no weights")],
        "excluded by a limit": [("huge", f"{EVIL} too large")],
        "stopped early": [("model-09", f"{EVIL} the budget ended")],
    }


def test_a_smaller_choice_is_named_with_what_it_saves() -> None:
    def row(name: str, rank: int, parameters: int | None) -> Row:
        return Row(ms.Candidate("shelf", name), rank=rank, score=-float(rank), parameters=parameters)

    board = ms.Leaderboard((row("large", 1, 4_000_000), row("larger", 2, 9_000_000), row("small", 3, 1_000_000)))
    assert cheaper_candidates(board) == "Smaller: small has 25% of its parameters (1M), ranks 3 of 3."
    assert cheaper_candidates(ms.Leaderboard((row("small", 1, 5), row("large", 2, 6)))) is None
    assert cheaper_candidates(ms.Leaderboard((row("unknown", 1, None), row("large", 2, 6)))) is None
    assert cheaper_candidates(ms.Leaderboard.empty()) is None
