"""A document that anybody may have written is a board on which everything works, or one error that names the field."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import modelselect as ms
from modelselect.errors import LeaderboardError, ModelSelectError
from modelselect.leaderboard import Row
from modelselect.ranking.expectation import Expectation
from tests.documents import REMOVED, Path_, changed, paths

WRONG: list[Any] = [
    None,
    True,
    -1,
    0,
    1.5,
    10**400,
    float("nan"),
    float("inf"),
    -1e308,
    "",
    "x",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "\ud800",
    "\x1b]0;x\x07\x00",
    "a" * 1000,
    [],
    [1],
    ["x"],
    [[1, 2]],
    [[1, 2, 3]],
    {},
    {"a": 1},
    {"": None},
    {"a": {"b": [{}]}},
]

STEP = 1 if os.environ.get("MODELSELECT_ATTACK") else 15
"""One of this many cases is tried, so that each wrong value comes at some path. With the variable, all are tried."""


def board() -> ms.Leaderboard:
    """Every field of a row and the usual provenance have a value."""
    rows = [
        Row(
            ms.Candidate("shelf", f"model {number}", "abc", {"parameters": 7, "input_size": (3, 32, 32)}),
            rank=number,
            score=1.0 / number,
            standard_error=0.1,
            probability_best=0.6,
            expectation=Expectation(1.0 / number, 0.5, (1, 2), {"logme": 0.5, "size": 0.1}),
            predicted_rank=3 - number,
            scores={"logme": 0.5 * number, "knn": 2.0},
            standard_errors={"logme": 0.01},
            components={"logme": {"logme": 0.5}},
            failures={"leep": ms.errors.Failure("score", "no classes")},
            warnings={"knn": "few rows"},
            verified_accuracy=0.9 - 0.1 * number,
            verified_interval=(0.5, 0.95),
            parameters=7 * number,
            macs=70,
            feature_dim=3,
            seconds=1.0,
            embedding=(0.5, 0.25),
            nearest=(("shelf:other", 0.5),),
            cluster=1,
            weights_key="k",
            latency_ms=1.0,
            throughput=10.0,
            memory_bytes=100,
            license="mit",
            download_bytes=28,
            probe_rows=50,
            stopped="stopped after 50 rows",
            fine_tuned="key",
            fine_tuned_in="store",
            brief_accuracy=0.4,
            learning_curve=((1, 0.5, 0.4), (2, 0.4, None)),
        )
        for number in (1, 2)
    ]
    failed = Row(ms.Candidate("shelf", "broken"), failure=ms.errors.Failure("load", "no weights"))
    provenance = {
        "dataset": {
            "name": "digits",
            "classes": ["a", "b"],
            "remarks": ["few"],
            "source": {"path": "x/train"},
        },
        "ranked_by": ["logme"],
        "estimators": {"logme": {"key": "logme-1", "parameters": {"k": 5}, "citation": "You et al."}},
        "settings": {"seed": 0, "fine_tuning": {"method": "head"}},
        "budget": {
            "asked": "20m",
            "spent": {"seconds": 3.0, "passes": 50},
            "stages": [{"stage": "score", "candidates": 2, "rows": 50, "seconds": 1.0, "decision": "all"}],
        },
        "versions": {"python": "3.11"},
        "from_store": 1,
    }
    return ms.Leaderboard((*rows, failed), ("logme", "knn", "leep"), provenance, 0.6, False)


def written(document: Any) -> str:
    return json.dumps(document)


USES: dict[str, Callable[[ms.Leaderboard], Any]] = {
    "str": str,
    "rows": lambda board: [(repr(row), row.status, row.why) for row in board],
    "to_json": lambda board: board.to_json().encode(),
    "to_csv": lambda board: board.to_csv().encode(),
    "to_markdown": lambda board: board.to_markdown().encode(),
    "to_latex": lambda board: board.to_latex().encode(),
    "html": lambda board: board._repr_html_().encode(),
    "model_card": lambda board: board.model_card().encode(),
    "pareto": lambda board: board.pareto(),
    "pareto by score": lambda board: board.pareto("macs", "score"),
    "verification": lambda board: board.verification,
    "estimator_agreement": lambda board: board.estimator_agreement(),
    "best": lambda board: (board.best, board.rivals),
}


def faults_of(text: str, uses: dict[str, Callable[[ms.Leaderboard], Any]]) -> list[str]:
    """What does not end in a result or in an error of modelselect."""
    try:
        loaded = ms.Leaderboard.from_json(text)
    except LeaderboardError as error:
        return [] if str(error).isprintable() else [f"load: {error!r}"]
    except Exception as error:
        return [f"load: {error!r}"]
    faults = []
    for name, use in uses.items():
        try:
            use(loaded)
        except ModelSelectError:
            pass
        except Exception as error:
            faults.append(f"{name}: {error!r}")
    return faults


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_wrong_value_anywhere_is_one_error_or_does_no_harm() -> None:
    document = json.loads(board().to_json())
    every = [(path, value) for path in paths(document) for value in [*WRONG, REMOVED]]
    faults = {
        f"{'.'.join(map(str, path))} = {str(value)[:40]!r}": found
        for path, value in every[::STEP]
        if (found := faults_of(written(changed(document, path, value)), USES))
    }
    assert not faults, "\n".join(f"{where}: {found}" for where, found in list(faults.items())[:40])


@pytest.mark.filterwarnings("ignore")
def test_the_page_of_a_board_with_a_wrong_value_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    document = json.loads(board().to_json())
    uses = {end: lambda board, end=end: board.report(tmp_path / f"page{end}") for end in (".html", ".md")}
    every = [(path, value) for path in paths(document) for value in [*WRONG, REMOVED]]
    for path, value in every[:: len(every) // 40]:
        assert faults_of(written(changed(document, path, value)), uses) == [], (path, value)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("rows", 0, "rank"), "first", "rows[0].rank is 'first'; expected a whole number"),
        (("rows", 1, "scores", "knn"), True, "rows[1].scores.knn is True; expected a number"),
        (("rows", 0, "verified_interval"), [1], "rows[0].verified_interval has 1 values; expected 2"),
        (("rows", 0, "candidate", "metadata", "parameters"), -3, "rows[0].candidate.metadata.parameters is -3"),
        (("confidence",), float("inf"), "confidence is inf; expected a finite number"),
        (("provenance", "task"), {"chance": 1.7e308}, "task.chance is 1.7e+308; expected a finite number up to 1e+300"),
        (("provenance", "budget", "spent", "passes"), "many", "provenance.budget.spent.passes is 'many'"),
    ],
)
def test_the_error_names_the_field(tmp_path: Path, path: Path_, value: Any, words: str) -> None:
    file = tmp_path / "board.json"
    file.write_text(written(changed(json.loads(board().to_json()), path, value)))
    with pytest.raises(LeaderboardError, match=re.escape(words)):
        ms.Leaderboard.load(file)


@pytest.mark.parametrize("text", ["[" * 10**5, '{"a":' * 10**5, '{"format": ' + "9" * 5000 + "}", "\x00\x01", "null"])
def test_what_is_no_leaderboard_is_one_error(text: str) -> None:
    with pytest.raises(LeaderboardError):
        ms.Leaderboard.from_json(text)


def test_deep_nesting_is_refused_by_its_place() -> None:
    document = json.loads(board().to_json())
    document["provenance"]["x"] = json.loads('{"a":' * 900 + "1" + "}" * 900)
    with pytest.raises(LeaderboardError, match=r"provenance\.x\.a.* is nested more than 60 levels deep"):
        ms.Leaderboard.from_json(json.dumps(document))


def test_a_board_of_own_modules_on_arrays_is_read_back() -> None:
    candidate = ms.Candidate("module", "Identity", metadata={"modality": "array"})
    found = ms.Leaderboard((Row(candidate, 1, 1.0),))
    assert ms.Leaderboard.from_json(found.to_json()) == found


def test_every_field_survives_being_saved(tmp_path: Path) -> None:
    board().save(tmp_path / "board.json")
    assert ms.Leaderboard.load(tmp_path / "board.json") == board()


def test_a_spreadsheet_runs_no_text_of_a_board() -> None:
    rows = (Row(ms.Candidate("=cmd|' /C calc'!A0", "x"), 1, -0.5, license="@SUM(1)", scores={"+evil": -2.0}),)
    lines = ms.Leaderboard(rows, ("+evil",)).to_csv().splitlines()
    assert "'+evil" in lines[0].split(",")
    assert lines[1].startswith("1,'=cmd")
    assert not any(cell.startswith(("=", "+", "@")) for line in lines for cell in line.split(","))
    assert ",-0.5," in lines[1]
