"""A ranking is plain data: it survives a round trip, and its rows are those that its class names."""

from __future__ import annotations

import csv
import io
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import weightedtau

import modelselect as ms
from modelselect.leaderboard import Row
from modelselect.ranking.expectation import Expectation
from modelselect.ranking.notes import notes_of
from modelselect.ranking.ranking import Ranking
from modelselect.ranking.row import COST_COLUMNS, RankedCandidate
from tests.evaluation.material import images, rank
from tests.ranking.material import three_rows
from tests.report.material import EVIL, evil_board


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


def test_the_csv_is_read_back_with_every_digit() -> None:
    board = evil_board()
    read = list(csv.DictReader(io.StringIO(board.to_csv())))
    assert [line["candidate"] for line in read] == [row.candidate.id for row in board.rows]
    assert [float(line["score"]) for line in read[:11]] == [row.score for row in board.ranked]
    assert [float(line["latency_ms"]) for line in read[:11]] == [row.latency_ms for row in board.ranked]
    assert read[11]["status"] == f"failed: {EVIL} no weights"


def test_columns_stand_in_the_promised_order(board: ms.Leaderboard) -> None:
    fixed = ["verified_accuracy", "parameters", "macs", "feature_dim", "seconds", "status"]
    expected = ["rank", "candidate", "score", "logme", "leep", *fixed]
    assert list(board.columns) == expected
    assert list(board.to_pandas().columns) == expected


def test_rivals_are_those_that_the_first_is_not_better_than_with_a_probability_of_80_per_cent() -> None:
    def row(name: str, rank: int | None, mean: float | None) -> RankedCandidate:
        expectation = None if mean is None else Expectation(mean, 0.5, (1, 4))
        return RankedCandidate(ms.Candidate("shelf", name), rank, expectation=expectation)

    rows = (row("first", 1, 1.0), row("near", 2, 0.5), row("far", 3, 0.3), row("failed", None, None))
    # the difference has a deviation of 0.71: Phi(0.5 / 0.71) = 0.76, Phi(0.7 / 0.71) = 0.84
    assert [each.candidate.name for each in Ranking(rows).rivals] == ["near"]
    assert Ranking(tuple(replace(each, expectation=None) for each in rows)).rivals == ()
    assert Ranking.empty().rivals == ()


def test_one_probability_is_shown_in_every_form() -> None:
    board = evil_board()
    assert board.confidence == board.best.probability_best == 0.97
    remark, why = notes_of(board)[:2]
    assert remark in board.provenance["dataset"]["remarks"]
    assert "P(best) 0.97" in " ".join(str(board).split())
    assert why.startswith("Why shelf:model-00: +3.00 history, +0.50 ")
    assert "in deviations of the pool; before fine-tuning" in why
    columns, cells = board.cells()
    assert [row[columns.index("probability_best")] for row in cells[:2]] == ["97%", "<1%"]
    assert "P(best)" in str(board)
    for text in (board.to_markdown(), board.to_latex(), board._repr_html_()):
        assert "P(best)" in text
        assert "97" in text


def test_pandas_marks_what_is_missing(board: ms.Leaderboard) -> None:
    frame = board.to_pandas()
    assert frame["rank"].isna().tolist() == [False, False, True]
    assert frame["verified_accuracy"].isna().tolist() == [False, True, True]
    assert frame.loc[0, "macs"] == 1_500_000_000
    assert ms.Leaderboard.empty().to_pandas().empty


def test_the_best_of_nothing_is_an_error(board: ms.Leaderboard) -> None:
    assert board.best.candidate.id == "shelf:big@abc"
    with pytest.raises(ms.errors.InvalidInputError, match="no candidate was ranked"):
        _ = ms.Leaderboard((board.rows[2],)).best


def test_agreement_is_measured_for_the_score_and_every_estimator(board: ms.Leaderboard) -> None:
    found = board.agreement({"shelf:big@abc": 0.9, "shelf:small": 0.5, "elsewhere:x": 1.0})
    assert found["score"].kendall == 1.0
    assert found["logme"].n == 2
    assert "leep" not in found


def scored(*columns: dict[str, float]) -> ms.Leaderboard:
    """One row for each mapping of estimators' scores."""
    rows = [Row(ms.Candidate("shelf", f"m{i}"), scores=column) for i, column in enumerate(columns)]
    return ms.Leaderboard(tuple(rows), tuple(dict.fromkeys(name for column in columns for name in column)))


def test_estimators_agreement_is_the_weighted_kendall_of_what_both_have_scored() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=12), rng.normal(size=12)
    board = scored(*({"a": a[i], "minus a": -a[i]} | ({} if i < 4 else {"b": b[i]}) for i in range(12)))
    found = board.estimator_agreement()
    assert list(found.index) == list(found.columns) == list(board.estimators)
    assert (found.to_numpy() == found.to_numpy().T).all()
    assert (np.diag(found) == 1).all()
    assert found.loc["a", "minus a"] == pytest.approx(-1)
    both_ways = [weightedtau(x[4:], y[4:], rank=None).statistic for x, y in ((a, b), (b, a))]
    assert found.loc["a", "b"] == pytest.approx(np.mean(both_ways))


def test_estimators_agreement_is_missing_where_there_is_nothing_to_order() -> None:
    board = scored({"a": 1.0, "same": 2.0}, {"a": 2.0, "same": 2.0}, {"a": 3.0, "lonely": 1.0})
    found = board.estimator_agreement()
    assert found.loc["a"].isna().tolist() == [False, True, True]
    assert ms.Leaderboard.empty().estimator_agreement().empty


COLUMNS = (
    *("rank", "candidate", "score", "probability_best", "why", "centroid"),
    *("verified_accuracy", "parameters", "macs", "feature_dim", "seconds", "status"),
)


STATIC = {"source_accuracy", "downloads"}


@pytest.mark.usefixtures("cache")
def test_costs_are_columns_where_they_were_measured_and_only_there(quickly: None, tmp_path: Path) -> None:
    plain = rank("embedded:plain*", images())
    shown = [name for name in plain.columns if name not in STATIC]
    assert shown == list(COLUMNS)
    board = rank("embedded:plain*", images(), costs=True)
    seconds = board.columns.index("seconds")
    assert board.columns[seconds - len(COST_COLUMNS) : seconds] == COST_COLUMNS
    assert [c for c in board.columns if c not in COST_COLUMNS] == list(plain.columns)
    frame = board.to_pandas()
    assert str(frame["memory_bytes"].dtype) == "Int64"
    assert frame["license"].tolist() == ["Apache-2.0"] * 2
    assert frame["download_bytes"].tolist() == [row.candidate.metadata["size_bytes"] for row in board.rows]
    board.save(tmp_path / "board.json")
    again = ms.Leaderboard.load(tmp_path / "board.json")
    assert [row.latency_ms for row in again.rows] == [row.latency_ms for row in board.rows]
    assert board.to_csv().splitlines()[0].split(",") == list(board.columns)
    assert board == plain  # times are no part of the answer


def test_a_leaderboard_has_a_length_rows_and_places() -> None:
    board = three_rows()
    assert len(board) == 3
    assert list(board) == list(board.rows)
    assert board[0] is board.best
    assert board[1:] == board.rows[1:]
    assert bool(ms.Leaderboard.empty()), "an answer without candidates is still an answer"


def test_what_an_interactive_interpreter_shows_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    board = three_rows()
    assert repr(board).startswith("Leaderboard by 3 estimators: 2 ranked, 1 of them fine-tuned, 1 failed")
    assert any("rank" in line for line in repr(board).splitlines()[2:5])
    assert max(map(len, repr(board).splitlines())) <= 80
    assert repr(board.best) == "Row(shelf:big@abc: rank 1, score 0.9, verified 87.5%, ok)"
    assert repr(board.best.candidate) == "Candidate('shelf:big@abc')"
