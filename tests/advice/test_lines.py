"""What messages of the other commands tell to type works: history, report, store, search, embed."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import modelselect as ms
from tests.advice.typed import Case, check_line, check_python
from tests.report.material import evil_board

IMPORT = "history import mine.csv"

LINES = [
    Case(
        f"{IMPORT} --metric accuracy",
        "(--column value=accuracy)",
        f"{IMPORT} --metric accuracy --column value=top1 --zoo timm",
    ),
    Case(
        f"{IMPORT} --metric accuracy --column value=top1",
        "Name the zoo of such candidates: zoo='timm' (--zoo timm)",
        f"{IMPORT} --metric accuracy --column value=top1 --zoo timm",
    ),
    Case(
        "history import whole.csv --column accuracy",
        "expected OURS=THEIRS, such as value=accuracy",
        "history import whole.csv --column value=accuracy",
    ),
    Case(
        "history import tables --recipe mine --timm",
        "give a .csv file",
        "history import whole.csv --column value=accuracy --recipe mine",
    ),
    Case("history import tables --recipe mine --timm", "or leave out --recipe", "history import tables --timm"),
    Case(
        "history import no.csv",
        "cannot be read as a CSV file",
        "history import whole.csv --column value=accuracy",
    ),
    Case(
        "history import tables",
        "expected a folder that `modelselect history export` wrote",
        "history import exported",
        before="history import whole.csv --column value=accuracy\nhistory export exported",
    ),
    Case("history export afile", "Choose another folder", "history export exported"),
    Case(
        "history merge other.sqlite",
        "expected a file that History() wrote",
        "history merge theirs.sqlite",
        before="history import whole.csv --column value=accuracy --history theirs.sqlite",
    ),
    Case(
        "history show --history foreign.sqlite",
        "Give another path with history= (--history)",
        "history show --history new.sqlite",
    ),
    Case(
        "history show --history afile",
        "`modelselect history import` brings back what you have exported",
        "history import exported --history new.sqlite",
        before="history import whole.csv --column value=accuracy\nhistory export exported",
    ),
    Case("report board.json -o board.docx", "expected .html, .md, .csv or .tex", "report board.json -o board.md"),
    Case("report board.json -o board.docx", "expected .html", "report board.json -o board.html"),
    Case("report board.json -o board.docx", ".csv or .tex", "report board.json -o board.tex"),
    Case("report board.json -o board.docx", ".csv or", "report board.json -o board.csv"),
    Case(
        "report afile",
        "expected a file that Leaderboard.save() or modelselect select",
        "report written.json",
        before="select {data} -c embedded:plain.random -e knn -q --json written.json",
    ),
    Case("store --evict some", "such as 500MB", "store --evict 500MB --yes"),
    Case("store --evict some", "or 20GB", "store --evict 20GB --yes"),
    Case("store --evict 5", "Type 5GB", "store --evict 5GB --yes"),
    Case(
        "store --evict 0B",
        "add --yes to agree",
        "store --evict 0B --yes",
        before="select {data} -c embedded:plain.random -e knn -q",
    ),
    Case("store --dry-run", "add --evict SIZE, such as 5GB", "store --dry-run --evict 5GB"),
    Case("search plain", "'embedded:*', 'timm:resnet18*'", "search 'embedded:*'"),
    Case("search 'embedded:?task=x'", "'embedded:*'", "search 'embedded:*'", shows="plain.random"),
    Case("search 'embedded:?task=x'", "'embedded:resnet.*'", "search 'embedded:resnet.*'", shows="resnet.textures"),
    Case("search 'embedded:?task=x'", "'embedded:*.letters'", "search 'embedded:*.letters'", shows="vit.letters"),
    Case("search 'hub:*'", "'hub:?search=vit&task=image-classification'", "search 'embedded:*'"),
    Case("embed zzz:*", "Known:", "embed 'embedded:plain*' -q"),
    Case("embed 'embedded:zzz*'", "try expressions with `modelselect search`", "search 'embedded:plain*'"),
    Case(
        "embed 'embedded:plain*' -q --atlas afile",
        "give a file that `modelselect embed --atlas` has written, or a new path",
        "embed 'embedded:vit*' -q --atlas mine.safetensors",
        before="embed 'embedded:plain*' -q --atlas mine.safetensors",
    ),
    Case(
        "embed 'embedded:*' -q --map map.docx",
        "give .png, .svg or .pdf",
        "embed 'embedded:*' -q --map map.svg",
    ),
]

PYTHON = [
    Case(
        "importers.import_csv(ms.History('h.sqlite'), 'mine.csv', metric='accuracy')",
        "columns={'value': 'accuracy'}",
        "importers.import_csv(ms.History('h.sqlite'), 'mine.csv', metric='accuracy', columns={'value': "
        "'top1'}, zoo='timm')",
    ),
    Case(
        "importers.import_csv(ms.History('h.sqlite'), 'whole.csv', columns={'value': 'accuracy'}, recipe='')",
        "such as 'adamw, 20 epochs', or None",
        "importers.import_csv(ms.History('h.sqlite'), 'whole.csv', columns={'value': 'accuracy'}, "
        "recipe='adamw, 20 epochs')",
    ),
    Case(
        "ms.History('foreign.sqlite').summary()",
        "or the environment variable MODELSELECT_HISTORY",
        "import os; os.environ['MODELSELECT_HISTORY'] = str(tmp / 'new.sqlite'); ms.History().summary()",
        shows="ms.History().path == tmp / 'new.sqlite'",
    ),
    Case(
        "ms.History('afile').summary()",
        "Move the file away, and modelselect starts a new one",
        "import os; os.rename('afile', 'away'); ms.History('afile').summary()",
    ),
    Case(
        "Store('store').evict()",
        "give one (max_bytes=0 empties the store)",
        "Store('store').evict(max_bytes=0)",
        before="from modelselect.store import Store",
    ),
]


@pytest.fixture
def desk(places: dict[str, Any]) -> dict[str, Any]:
    """Tables of results in the working directory, a leaderboard, and a file of another program."""
    Path("mine.csv").write_text("candidate,dataset,top1\nresnet50,pets,91.5\nvit,pets,93.0\n")
    Path("whole.csv").write_text("candidate,dataset,metric,accuracy\ntimm:resnet50,pets,accuracy,91.5\n")
    Path("tables").mkdir()
    Path("tables/results-imagenet.csv").write_text(
        "model,top1,top1_err,top5,top5_err,param_count,img_size,crop_pct,interpolation\n"
        "resnet50,80.1,19.9,95,5,25.6,224,0.875,bicubic\n"
    )
    with sqlite3.connect("foreign.sqlite") as file:
        file.execute("CREATE TABLE songs (title TEXT)")
    evil_board().save("board.json")
    assert json.loads(Path("board.json").read_text())
    return places


@pytest.mark.parametrize("case", LINES, ids=str)
def test_the_advised_line_works(case: Case, capsys: pytest.CaptureFixture[str], desk: dict[str, Any]) -> None:
    check_line(capsys, case, desk)


@pytest.mark.parametrize("case", PYTHON, ids=str)
def test_the_advised_python_works(case: Case, desk: dict[str, Any]) -> None:
    from modelselect.history import importers

    check_python(case, desk | {"importers": importers})


def test_an_environment_variable_that_an_error_names_moves_the_history(
    capsys: pytest.CaptureFixture[str], desk: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(
        "history show --history foreign.sqlite", "or the environment variable MODELSELECT_HISTORY", "history show"
    )
    check_line(capsys, case, desk)
    assert ms.History().path == desk["tmp"] / "own.sqlite"
