"""A ranking is plain data: it survives a round trip, and its rows are those that its class names."""

from __future__ import annotations

import pickle

import pytest

import modelselect as ms
from modelselect.leaderboard import Row
from modelselect.ranking.notes import notes_of
from modelselect.ranking.ranking import Ranking
from modelselect.ranking.row import RankedCandidate


def ranking(*accuracies: float) -> Ranking:
    """Candidates in the order of their scores, with these accuracies."""
    rows = [
        RankedCandidate(ms.Candidate("shelf", f"m{i}"), i + 1, 1.0 - i, predicted_rank=i + 1, verified_accuracy=value)
        for i, value in enumerate(accuracies)
    ]
    return Ranking(tuple(rows), ("logme",))


@pytest.mark.parametrize(("kind", "row"), [(Ranking, RankedCandidate), (ms.Leaderboard, Row)])
def test_a_ranking_reads_rows_of_its_own_kind(kind: type[Ranking], row: type[RankedCandidate]) -> None:
    again = kind.from_json(ranking(0.5, 0.75).to_json())
    assert {type(each) for each in again.rows} == {row}
    assert pickle.loads(pickle.dumps(again)) == again


def test_a_leaderboard_of_a_ranking_holds_the_same() -> None:
    given = ranking(0.5, 0.75)
    assert ms.Leaderboard.of(given).to_json() == given.to_json()


@pytest.mark.parametrize(
    ("accuracies", "words"),
    [
        ((0.75, 0.5), "The top-ranked model was also the best after fine-tuning."),
        ((0.5, 0.75), "The model with the highest score was 25.0 points less accurate than the best"),
        ((0.7497, 0.75), "was less than 0.1 points less accurate"),
    ],
)
def test_a_note_says_whether_the_prediction_was_right(accuracies: tuple[float, ...], words: str) -> None:
    assert words in notes_of(ranking(*accuracies))[0]
