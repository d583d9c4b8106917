"""The commands that list: each prints a table, or JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from modelselect.cli import app
from modelselect.host.defaults import DEFAULT_ESTIMATORS
from modelselect.host.host import get_host
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


def test_a_search_says_what_follows_from_licence_and_size(capsys: pytest.CaptureFixture[str]) -> None:
    [found] = json.loads(run(capsys, "search", "embedded:plain.letters", "--json")[1])
    assert found["license"] == "Apache-2.0"
    assert found["commercial_use"] is True
    weights = 4 * found["parameters"]
    assert found["training_memory_at_least"] == {"full": 4 * weights, "head": weights, "lora": weights}


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


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns and 40 lines."""
    for name, value in {"FORCE_COLOR": "1", "COLUMNS": "80", "LINES": "40", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The lines that a command prints, without colours."""
    code, out, err = run(capsys, *arguments)
    assert code == 0, err
    return re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines()


@pytest.mark.parametrize(
    "command",
    ["doctor", "plugins", "zoos", "pools", "tasks", "store", "estimators", "search timm:resnet*", "history show"],
)
def test_a_listing_fits_a_screen(screen: None, capsys: pytest.CaptureFixture[str], command: str) -> None:
    lines = shown(capsys, *command.split())
    assert 0 < len(lines) <= (52 if command == "estimators" else 41)  # a line for each method
    assert max(map(len, lines)) <= 80 or command in ("history show", "store")  # a path is not cut


def test_a_long_listing_says_how_to_see_the_rest(screen: None, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "search", "timm:resnet*")
    found = re.search(r"… and (\d+) more; --all or --json shows them", "\n".join(lines))
    assert found is not None
    everything = shown(capsys, "search", "timm:resnet*", "--all")
    rows = [[line for line in each if "timm:resnet" in line] for each in (lines, everything)]
    assert len(rows[1]) == len(rows[0]) + int(found[1])
    assert any("Too narrow for" in line and "--json" in line for line in lines)


def test_what_is_not_a_terminal_gets_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert sum("timm:resnet" in line for line in shown(capsys, "search", "timm:resnet*")) > 100


def test_the_estimators_stand_on_one_screen_with_a_sentence_each(
    screen: None, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(capsys, "estimators")
    for estimator in get_host().estimators.values():
        [line] = [each for each in lines if each[2:].split(" ")[0] == estimator.name and each[:2] in ("  ", "* ")]
        assert line.endswith((".", "?"))
        assert line.startswith("*") == (estimator.name in DEFAULT_ESTIMATORS)
    titles = [each for each in lines[:-1] if each[0] not in " *"]
    assert len(titles) == 7


def test_one_estimator_is_shown_in_detail(capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(shown(capsys, "estimators", "logme"))
    assert "Log evidence per sample" in text
    assert "citation: K. You" in text
    assert "solver='fixed point'" in text
    [only] = json.loads(run(capsys, "estimators", "logme", "--json")[1])
    assert only["summary"] == "How well a linear model explains the labels."
    code, _, err = run(capsys, "estimators", "logm")
    assert code == app.EXIT_BAD_USAGE
    assert "Did you mean 'logme'" in err


def test_tasks_lists_the_metrics_of_pairs_with_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    listed = {task["name"]: task for task in json.loads(run(capsys, "tasks", "--json")[1])}
    assert listed["text-pair"]["metrics"] == ["accuracy", "r2", "mean_absolute_error", "spearman"]
    assert listed["regression"]["metrics"] == ["r2", "mean_absolute_error", "spearman"]
