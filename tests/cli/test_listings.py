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
    after = json.loads(run(capsys, "store", "--evict", "0", "--yes", "--json")[1])
    assert after["bytes"] == 0
    assert after["freed"] == before["bytes"]
    code, _, err = run(capsys, "store", "--evict", "a lot")
    assert code == app.EXIT_BAD_USAGE
    assert "500MB" in err


def test_nothing_is_evicted_without_a_unit_or_without_consent(
    capsys: pytest.CaptureFixture[str], dataset: Path, cache: Path
) -> None:
    run(capsys, "select", dataset, "-c", "embedded:plain*")
    before = json.loads(run(capsys, "store", "--json")[1])
    for arguments, advice in (
        (["--evict", "5", "--yes"], "5GB"),
        (["--evict", "0"], "--yes"),  # there is no terminal to ask on
        (["--kind", "features"], "--evict"),
        (["--evict", "0", "--kind", "nothing", "--yes"], "features"),
    ):
        code, _, err = run(capsys, "store", *arguments)
        assert code == app.EXIT_BAD_USAGE
        assert advice in err
    code, _, err = run(capsys, "store", "--evict", "0B", "--dry-run")
    assert code == 0
    assert "would remove" in err
    assert json.loads(run(capsys, "store", "--json")[1]) == before
    assert run(capsys, "store", "--evict", "5GB", "--yes")[0] == 0  # the advice works
    assert json.loads(run(capsys, "store", "--json")[1]) == before


def test_fine_tuned_weights_are_evicted_only_by_name(
    capsys: pytest.CaptureFixture[str], dataset: Path, cache: Path
) -> None:
    run(capsys, "select", dataset, "-c", "embedded:plain*", "-k", "1", "--epochs", "1")
    run(capsys, "store", "--evict", "0", "--yes")
    kinds = json.loads(run(capsys, "store", "--json")[1])["kinds"]
    assert set(kinds) == {"fine_tuned"}
    run(capsys, "store", "--evict", "0", "--kind", "fine_tuned", "--yes")
    assert json.loads(run(capsys, "store", "--json")[1])["kinds"] == {}
