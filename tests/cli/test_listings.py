"""The commands that list: each prints a table, or JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelselect.cli import app
from tests.cli.conftest import run

pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("command", ["estimators", "zoos", "plugins", "store", "doctor", "search embedded:*"])
def test_every_listing_prints_json(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, _ = run(capsys, *command.split(), "--json")
    assert code == 0
    assert json.loads(out)
    code, out, _ = run(capsys, *command.split())
    assert code == 0
    assert out.strip()


def test_the_estimators_are_listed_with_what_they_require_and_cite(capsys: pytest.CaptureFixture[str]) -> None:
    listed = {e["name"]: e for e in json.loads(run(capsys, "estimators", "--json")[1])}
    assert listed["logme"]["requires"] == ["features", "labels"]
    assert all(e["citation"] and e["cost"] and e["plugin"] for e in listed.values())


def test_the_store_is_shown_and_evicted(capsys: pytest.CaptureFixture[str], dataset: Path, cache: Path) -> None:
    run(capsys, "select", dataset, "-c", "embedded:plain*")
    before = json.loads(run(capsys, "store", "--json")[1])
    assert before["bytes"] > 0
    assert before["kinds"]["features"]["entries"] > 0
    after = json.loads(run(capsys, "store", "--evict", "0", "--json")[1])
    assert after["bytes"] == 0
    assert after["freed"] == before["bytes"]
    code, _, err = run(capsys, "store", "--evict", "a lot")
    assert code == app.EXIT_BAD_USAGE
    assert "500MB" in err
