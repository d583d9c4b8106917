"""The answer names the winner, its grounds and its doubts, and the code that loads the winner."""

from __future__ import annotations

from dataclasses import replace
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

import modelselect as ms
from modelselect.cli import app
from modelselect.errors import Failure, Stage
from modelselect.leaderboard.leaderboard import Row
from modelselect.ranking.expectation import Expectation
from modelselect.report.answer import (
    NOTHING_KEPT,
    Kept,
    answer_text,
    closing_lines,
    failure_lines,
    left_out,
    loading_code,
    next_step,
    smaller_and_as_good,
    telling_apart,
)
from tests.report.material import EVIL, evil_board


def test_the_answer_names_the_winner_its_grounds_and_how_sure_it_is() -> None:
    [sentence] = answer_text(evil_board())
    assert sentence.startswith("Best: model-00, 90% (±2) on held-out rows of ")
    assert sentence.endswith("pets (chance 25%), P(best) 0.97; 2 of 11 candidates were fine-tuned.")
    unverified = replace(evil_board(), rows=tuple(replace(r, verified_accuracy=None) for r in evil_board().rows))
    [sentence] = answer_text(unverified)
    assert sentence.startswith("Best: model-00, first of 11 candidates for ")
    assert sentence.endswith("pets by logme, P(best) 0.97.")


def test_an_interval_is_shown_with_the_digits_that_it_allows() -> None:
    def said(low: float, high: float) -> str:
        row = Row(ms.Candidate("shelf", "a"), rank=1, verified_accuracy=0.7142, verified_interval=(low, high))
        return answer_text(ms.Leaderboard((row,)))[0]

    assert "71% (±9)" in said(0.62, 0.80)
    assert "71.4% (±0.3)" in said(0.711, 0.717)


def test_an_accuracy_that_guessing_may_reach_and_what_was_trained_are_said() -> None:
    def said(low: float, method: str, accuracy: float = 0.6) -> str:
        shown = {"verified_accuracy": accuracy, "verified_interval": (low, 0.7)}
        row = Row(ms.Candidate("shelf", "a"), rank=1, score=1.0, **shown)  # type: ignore[arg-type]
        about = {"dataset": {"classes": ["x", "y"]}, "settings": {"fine_tuning": {"method": method}}}
        return " ".join(answer_text(ms.Leaderboard((row,), ("logme",), about)))

    assert "may be no better than guessing: the interval reaches down to 50%" in said(0.49, "full")
    assert "No better than guessing: it reaches 48%, and guessing 50%." in said(0.3, "full", 0.48)
    assert "guessing" not in said(0.51, "full")
    assert "60% (±10) on held-out rows (chance 50%)" in said(0.50, "full")
    assert "Fine-tuning trained the linear head alone" in said(0.51, "head")
    assert "Fine-tuning trained" not in said(0.51, "full")


def test_features_that_say_nothing_are_a_doubt_until_an_accuracy_is_measured() -> None:
    row = Row(ms.Candidate("shelf", "a"), rank=1, score=1.0)
    board = ms.Leaderboard((row,), (), {"dataset": {"classes": ["x", "y"]}}, None, False)
    assert answer_text(board)[1].startswith("No better than guessing")
    good = replace(row, verified_accuracy=0.9, verified_interval=(0.8, 0.95))
    assert len(answer_text(replace(board, rows=(good,)))) == 1


def test_ties_and_candidates_that_cannot_be_told_apart_are_said() -> None:
    def row(name: str, rank: int, **more: object) -> Row:
        return Row(ms.Candidate("shelf", name), rank=rank, score=1.0 / rank, predicted_rank=rank, **more)  # type: ignore[arg-type]

    tied = " ".join(answer_text(ms.Leaderboard((row("a", 1), row("b", 1), row("c", 3)), ("logme",))))
    assert "shares the first place with b" in tied
    assert "P(best)" not in tied  # nothing is known of it

    def told(*expected: tuple[float, dict[str, object]]) -> str:
        rows = tuple(
            row("abc"[i], i + 1, expectation=Expectation(mean, 0.5, (1, 3)), probability_best=0.55, **more)
            for i, (mean, more) in enumerate(expected)
        )
        return " ".join(answer_text(ms.Leaderboard(rows, ("logme",), confidence=0.55)))

    close = told((1.0, {}), (0.6, {}), (-1.0, {}))
    assert "P(best) 0.55. It cannot be distinguished from b." in close
    overlapping = told(
        (1.0, {"verified_accuracy": 0.9, "verified_interval": (0.85, 0.95)}),
        (-1.0, {"verified_accuracy": 0.88, "verified_interval": (0.83, 0.93)}),
    )
    assert "distinguished" not in overlapping  # that accuracies' intervals overlap does not say it
    nothing = ms.Leaderboard((Row(ms.Candidate("shelf", "x"), failure=Failure("load", "gone")),))
    assert answer_text(nothing) == ["The only candidate could not be ranked; the table says why."]


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


ABOUT = {"dataset": {"name": "pets", "classes": ["cat", "dog"], "rows": 100, "training_rows": 1000}}


def rivals(*parameters: int, **more: Any) -> ms.Leaderboard:
    """Candidates a, b, ... with these numbers of parameters, which cannot be distinguished."""
    rows = tuple(
        Row(
            ms.Candidate("shelf", name),
            rank=i + 1,
            parameters=size,
            probability_best=0.5,
            expectation=Expectation(-i / 10, 0.5, (1, 3)),
        )
        for i, (name, size) in enumerate(zip("abcdefgh", parameters, strict=False))
    )
    return ms.Leaderboard(rows, ("logme",), ABOUT, 0.5, **more)


def failing(count: int, reason: str, error: str = "CandidateError", stage: str = "load") -> tuple[Row, ...]:
    failures = [Failure(stage, reason.format(f"m{i}"), error) for i in range(count)]
    return tuple(Row(ms.Candidate("shelf", f"m{i}"), failure=failure) for i, failure in enumerate(failures))


def test_a_smaller_candidate_that_is_as_good_is_named_with_its_size_and_its_price() -> None:
    assert smaller_and_as_good(rivals(10**7, 9 * 10**6, 5 * 10**6)) == "As good, half the size: c (5M parameters)."
    assert smaller_and_as_good(rivals(10**7, 10**6)) == "As good, 10 times smaller: b (1M parameters)."
    assert smaller_and_as_good(rivals(10**7, 6 * 10**6)) is None
    far = rivals(10**7, 10**6)
    apart = replace(far.rows[1], expectation=Expectation(-5.0, 0.5, (2, 2)))
    assert smaller_and_as_good(replace(far, rows=(far.rows[0], apart))) is None  # it is smaller, and not as good
    assert smaller_and_as_good(ms.Leaderboard.empty()) is None
    large, small = far.rows
    dearer = str(smaller_and_as_good(replace(far, rows=(large, replace(small, probability_best=0.3)))))
    assert dearer.endswith("b (1M parameters), with P(best) 0.30 instead of 0.50.")
    measured = [replace(large, verified_accuracy=0.9), replace(small, verified_accuracy=0.88)]
    said = str(smaller_and_as_good(replace(far, rows=tuple(measured))))
    assert said.endswith("b (1M parameters), at a cost of 2.0 points of accuracy.")
    measured[1] = replace(small, verified_accuracy=0.9)
    assert str(smaller_and_as_good(replace(far, rows=tuple(measured)))).endswith("at no cost in accuracy.")


def test_failures_are_one_line_for_each_reason_with_a_count() -> None:
    board = ms.Leaderboard(
        (
            *rivals(1).rows,
            *failing(5, "this candidate runs its own code", "RemoteCodeError"),
            *(replace(row, candidate=ms.Candidate("disk", f"n{i}")) for i, row in enumerate(failing(2, "no file"))),
            replace(failing(1, "too large", stage=Stage.LIMIT)[0], candidate=ms.Candidate("shelf", "huge")),
        )
    )
    assert failure_lines(board) == [
        "5 of 9 candidates need --trust-remote-code (trust_remote_code=True): m0, m1, m2 and 2 more.",
        "2 of 9 candidates failed (load): n0 and n1: no file.",
        "1 of 9 candidates left out: huge: too large.",
    ]


def test_reasons_that_differ_in_names_and_numbers_alone_are_one() -> None:
    board = ms.Leaderboard(failing(3, "cannot read shelf:{0} ({0}), 3 bytes are left"))
    assert failure_lines(board) == ["3 of 3 candidates failed (load): m0, m1 and m2: " + board[0].failure.reason + "."]


def test_the_next_step_is_an_option_that_exists_or_a_call(capsys: pytest.CaptureFixture[str]) -> None:
    unsure, sure = rivals(10, 10, 10, 10), rivals(10)
    assert next_step(unsure) == (
        "to tell them apart, fine-tune the first 3 and measure their accuracy: select(..., top_k=3)."
    )
    assert next_step(sure) == "fine-tune it and measure its accuracy: select(..., top_k=1)."
    untrusted = ms.Leaderboard((*sure.rows, *failing(1, "own code", "RemoteCodeError")), (), ABOUT)
    assert "--trust-remote-code" in str(next_step(untrusted))
    assert str(next_step(replace(unsure, better_than_guessing=False))).endswith("select(..., probe_size=400).")
    everything = {"dataset": ABOUT["dataset"] | {"rows": 1000}}
    assert "label more rows" in str(next_step(replace(unsure, provenance=everything, better_than_guessing=False)))
    poor = ABOUT | {"budget": {"seconds": 10.0, "passes": None}}
    unpaid = ms.Leaderboard((*sure.rows, *failing(4, "not begun: too dear", stage=Stage.LIMIT)), (), poor)
    assert str(next_step(unpaid)).endswith('select(..., budget="50s").')
    tuned = replace(sure.rows[0], verified_accuracy=0.9, verified_interval=(0.8, 0.95), fine_tuned="key")
    step = str(next_step(ms.Leaderboard((tuned,), (), ABOUT)))
    assert 'board.best.save("winner")' in step
    assert "board.best.predict(...)" in step
    assert next_step(ms.Leaderboard(failing(2, "gone"))) is None
    with pytest.raises(SystemExit):
        app.main(["select", "--help"])
    options = capsys.readouterr().out
    for option in ("--top-k", "--probe-size", "--trust-remote-code", "--budget"):
        assert option in options


def test_the_last_line_is_the_next_step_and_the_first_is_the_answer() -> None:
    board = rivals(10**7, 10**6)
    lines = closing_lines(replace(board, rows=(*board.rows, *failing(1, "gone"))))
    assert lines[0].startswith("Best: a, first of 2 candidates for pets by logme, P(best) 0.50.")
    assert lines[1:-1] == [
        "It cannot be distinguished from b.",
        "As good, 10 times smaller: b (1M parameters).",
        "1 of 3 candidates failed (load): m0: gone.",
    ]
    assert lines[-1].startswith("Next: to tell them apart, fine-tune the first 2")
    assert " ".join(str(board).split()).endswith(closing_lines(board)[-1])
    assert closing_lines(board)[0] in unescape(board._repr_html_())


COMMAND = ["modelselect", "select", "my photos", "-c", "a", "-c", "b", "--top-k", "1"]


def undecided(*accuracies: float | None, **more: Any) -> ms.Leaderboard:
    """Candidates a, b, ... that cannot be distinguished, of a run by a command; b is the smallest."""
    board = rivals(*[10**7, 10**6, 10**7][: len(accuracies)])
    rows = tuple(
        replace(row, verified_accuracy=known, verified_interval=None if known is None else (known - 0.1, known + 0.05))
        for row, known in zip(board.rows, accuracies, strict=True)
    )
    return replace(board, rows=rows, provenance=ABOUT | {"command": COMMAND} | more)


AGAIN = "modelselect select 'my photos' -c a -c b"


@pytest.mark.parametrize(
    ("board", "kept", "command"),
    [
        (undecided(None, None), NOTHING_KEPT, f"{AGAIN} --top-k 2"),
        (undecided(0.9, None, None), NOTHING_KEPT, f"{AGAIN} --top-k 3"),
        (undecided(0.9, None), Kept(winner="w"), f"{AGAIN} --top-k 2 --save w-of-2"),
        (undecided(0.9, 0.89), NOTHING_KEPT, "modelselect select 'my photos' -c shelf:b --top-k 1 --save smallest"),
        (undecided(0.9, None, budget={"seconds": 60}), NOTHING_KEPT, f"{AGAIN} --top-k 2 --budget 120s"),
        (
            replace(undecided(None), better_than_guessing=False),
            NOTHING_KEPT,
            f"{AGAIN} --top-k 1 --probe-size 400",
        ),
    ],
)
def test_what_would_settle_it_is_a_command_that_stands_alone(board: ms.Leaderboard, kept: Kept, command: str) -> None:
    assert f"  {command}" in closing_lines(board, kept)
    if kept == NOTHING_KEPT and not board.provenance.get("budget"):
        assert f"\n  {command}\n" in str(board)  # no line break is in it
        assert f"<pre>{escape(command)}</pre>" in board._repr_html_()


def test_one_line_says_how_to_tell_candidates_apart() -> None:
    for board in (undecided(None, None), undecided(0.9, None), undecided(0.9, 0.89), undecided(0.9)):
        text = " ".join(closing_lines(board))
        assert text.lower().count("to tell them apart") == ("cannot be distinguished" in text)
    first_is_smallest = undecided(0.9, 0.89)
    first, second = first_is_smallest.rows
    rows = (replace(first, parameters=10), second)
    assert "label more rows" in str(telling_apart(replace(first_is_smallest, rows=rows)))


def test_the_report_says_how_to_tell_candidates_apart(tmp_path: Path) -> None:
    undecided(0.9, None).report(tmp_path / "board.md")
    text = (tmp_path / "board.md").read_text()
    assert "To tell them apart, fine-tune the first 2" in text
    assert f"{AGAIN} --top-k 2\n" in text


def test_a_candidate_that_shares_the_first_place_is_named_once() -> None:
    board = undecided(0.9, 0.9)
    shared = replace(board, rows=tuple(replace(row, rank=1) for row in board.rows))
    text = " ".join(closing_lines(shared))
    assert "It shares the first place with b." in text
    assert "cannot be distinguished" not in text
    assert "To tell them apart, label more rows. Or take the smallest, b with 1M parameters" in text


def test_a_command_of_somebody_elses_board_is_not_shown() -> None:
    board = undecided(None, None, command=["curl", "evil"])
    assert "curl" not in " ".join(closing_lines(board))
