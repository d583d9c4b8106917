"""`modelselect history` imports, shows, exports, merges and publishes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelselect.cli import app
from tests.history.conftest import card, publish, table
from tests.hub.server import Hub


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        app.main(["history", *words])
    captured = capsys.readouterr()
    assert not stopped.value.code, captured.err
    return captured.out


def test_the_command_line_imports_shows_exports_and_merges(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELSELECT_HISTORY", str(tmp_path / "mine.sqlite"))
    assert json.loads(run(capsys, "show", "--json"))["results"] == 0
    path = str(table(tmp_path / "t.csv", "model,dataset,accuracy\nresnet18,food,82\nvgg11,food,140\n"))
    columns = ["--column", "candidate=model", "--column", "value=accuracy", "--metric", "accuracy"]
    out = run(capsys, "import", path, *columns, "--zoo", "torchvision")
    assert out == "1 new results, 0 known already, 1 rejected (accuracy outside 0 to 1)\n"
    assert "torchvision:resnet18" in run(capsys, "show", "--dataset", "food")
    assert "1 result of 1 candidate on 1 dataset" in run(capsys, "show")
    run(capsys, "export", str(tmp_path / "parquet"))
    yours = str(tmp_path / "yours.sqlite")
    assert "1 new" in run(capsys, "import", str(tmp_path / "parquet"), "--history", yours)
    assert "0 new results, 1 known" in run(capsys, "merge", yours)


def test_the_command_line_names_the_recipe_of_ones_own_results_and_counts_results_by_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELSELECT_HISTORY", str(tmp_path / "mine.sqlite"))
    table(tmp_path / "ours.csv", "candidate,dataset,value\ntimm:a,food,82\ntimm:b,food,81\n")
    table(tmp_path / "published.csv", "candidate,dataset,value\ntimm:c,food,82\n")
    run(capsys, "import", str(tmp_path / "ours.csv"), "--metric", "accuracy", "--recipe", "adamw, 20 epochs")
    run(capsys, "import", str(tmp_path / "published.csv"), "--metric", "accuracy")
    assert json.loads(run(capsys, "show", "--json"))["recipes"] == {"adamw, 20 epochs": 2}
    rows = [line.split("│")[1:3] for line in run(capsys, "show").splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row] for row in rows[1:]] == [
        ["adamw, 20 epochs", "2"], ["none (counts as published)", "1"],
    ]  # fmt: skip
    for words in (["hub:owner/name"], [str(tmp_path)], [str(tmp_path / "ours.csv"), "--timm"]):
        with pytest.raises(SystemExit) as stopped:
            app.main(["history", "import", *words, "--recipe", "ours"])
        assert stopped.value.code == 2
        assert "is no CSV file of your own results" in " ".join(capsys.readouterr().err.split())


def test_the_command_line_mines_and_publishes(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELSELECT_HISTORY", str(tmp_path / "mine.sqlite"))
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    publish(hub, "a/food", card("food101", 0.9))
    assert "1 new" in run(capsys, "mine")
    assert "/commit/" in run(capsys, "export", "hub:lab/history")
    assert "1 new" in run(capsys, "import", "hub:lab/history", "--history", str(tmp_path / "copy.sqlite"))


def test_bad_usage_of_the_command_line_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, complaint in ((["merge", str(tmp_path / "no")], "there is no history"), (["import", "x"], "no results")):
        with pytest.raises(SystemExit) as stopped:
            app.main(["history", *words, "--history", str(tmp_path / "mine.sqlite")])
        assert stopped.value.code == 2
        assert complaint in capsys.readouterr().err
