"""The head of a report says how clear the answer is, and claims nothing that was not measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import modelselect as ms
from modelselect.leaderboard.leaderboard import Row
from modelselect.ranking.expectation import Expectation
from modelselect.report.answer import closing_lines, next_step
from modelselect.report.decision import decision, page_of, verdict
from modelselect.report.subject import Subject


def row(name: str, rank: int, mean: float, **known: Any) -> Row:
    expectation = Expectation(mean, 0.3, (1, 3))
    return Row(ms.Candidate("zoo", name), rank, mean, expectation=expectation, probability_best=1 / rank, **known)


def subject(*rows: Row, confidence: float | None = 0.9, guessing: bool | None = True, classes: int = 4) -> Subject:
    provenance = {"dataset": {"name": "pets", "classes": [str(k) for k in range(classes)]}}
    return Subject(ms.Leaderboard(rows, ("x",), provenance, confidence, guessing))


def texts(found: Subject) -> list[str]:
    return [text for _, text in verdict(found)]


def test_a_winner_that_is_surely_better_is_clear() -> None:
    accurate = row("a", 1, 2.0, verified_accuracy=0.9, verified_interval=(0.85, 0.94))
    assert texts(subject(accurate, row("b", 2, 0.0))) == ["clear winner"]
    assert texts(subject(accurate, row("b", 2, 0.0), confidence=0.6)) == ["probable winner"]
    assert texts(subject(replace(accurate, verified_accuracy=None), row("b", 2, 0.0))) == [
        "clear winner",
        "not verified",
    ]
    assert texts(subject(accurate)) == ["the only candidate"]


def test_candidates_that_cannot_be_told_apart_are_a_toss_up() -> None:
    assert texts(subject(row("a", 1, 1.0), row("b", 2, 0.9))) == ["toss-up with b", "not verified"]
    others = [row(name, i, 0.9) for i, name in enumerate("bcde", 2)]
    assert texts(subject(row("a", 1, 1.0), *others))[0] == "toss-up with b, c and 2 more"


def test_what_guessing_reaches_too_is_at_chance() -> None:
    poor = row("a", 1, 2.0, verified_accuracy=0.3, verified_interval=(0.2, 0.42))
    assert texts(subject(poor, row("b", 2, 0.0))) == ["at chance"]
    assert texts(subject(row("a", 1, 2.0), row("b", 2, 0.0), guessing=False)) == ["at chance", "not verified"]


def test_the_number_is_the_accuracy_or_else_the_probability_or_else_a_dash() -> None:
    measured = row("a", 1, 2.0, verified_accuracy=0.9, verified_interval=(0.85, 0.94))
    assert decision(subject(measured, row("b", 2, 0.0))).number == ("90.0%", "accuracy on held-out rows")
    assert decision(subject(row("a", 1, 2.0), row("b", 2, 0.0))).number == ("90%", "probability of being the best")
    bare = Row(ms.Candidate("zoo", "a"), 1, 1.0)
    assert decision(subject(bare, confidence=None)).number[0] == "–"
    assert decision(subject()).badges[0].text == "nothing ranked"


def test_a_fact_that_is_not_known_is_a_dash_with_the_way_to_get_it() -> None:
    found = {tile.name: (tile.value, tile.note) for tile in decision(subject(row("a", 1, 2.0))).tiles}
    assert list(found) == ["Accuracy", "Size", "Latency", "Licence"]
    assert {value for value, _ in found.values()} == {"–"}
    assert "--top-k" in found["Accuracy"][1]
    assert "--costs" in found["Latency"][1]
    known = row("a", 1, 2.0, parameters=11_000_000, latency_ms=12.34, license="mit", download_bytes=44_000_000)
    tiles = {tile.name: tile.value for tile in decision(subject(known)).tiles}
    assert tiles == {"Accuracy": "–", "Size": "11M", "Latency": "12.3 ms", "Licence": "mit"}


def test_the_head_says_what_the_terminal_says() -> None:
    large = row("large", 1, 1.0, parameters=10**8)
    board = subject(large, row("small", 2, 0.9, parameters=2 * 10**7)).board
    assert [*decision(Subject(board)).sentences, next_line(board)] == closing_lines(board)
    assert any(sentence.startswith("As good, 5 times smaller: small") for sentence in closing_lines(board))


def next_line(board: ms.Leaderboard) -> str:
    return f"Next: {next_step(board)}"


def test_remarks_on_the_dataset_and_on_the_choice_are_not_mixed_up() -> None:
    about = {"dataset": {"remarks": ["2 files were left out."]}, "choice": {"remarks": ["Candidates: 3 of 9."]}}
    board = ms.Leaderboard((row("a", 1, 1.0),), ("x",), about)
    assert decision(Subject(board)).sentences[1:] == ["The dataset: 2 files were left out.", "Candidates: 3 of 9."]


@pytest.mark.parametrize(
    ("candidate", "address"),
    [
        (ms.Candidate("timm", "resnet18.a1_in1k"), "https://huggingface.co/timm/resnet18.a1_in1k"),
        (ms.Candidate("hub", "owner/name?pooling=cls"), "https://huggingface.co/owner/name"),
        (ms.Candidate("torchvision", "a", metadata={"url": "https://docs.example/a"}), "https://docs.example/a"),
        (ms.Candidate("x", "a", metadata={"url": "javascript:alert(1)"}), None),
        (ms.Candidate("directory", "/models/a"), None),
    ],
)
def test_candidates_lead_to_their_pages(candidate: ms.Candidate, address: str | None) -> None:
    assert page_of(candidate) == address
