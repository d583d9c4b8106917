"""Standard output belongs to the answer, and a stream that fails costs the print only."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelselect.cli import streams
from tests.host.test_host import install

SELECT = ("-c", "embedded:plain.letters", "-e", "logme", "--no-history", "-q")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests: what is in it is not computed again."""
    return tmp_path_factory.mktemp("store")


def run(*arguments: str | Path, shell: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own; `shell` is appended, such as `>&-`."""
    command = [sys.executable, "-m", "modelselect", *map(str, arguments)]
    environment = {**os.environ, **variables}
    return subprocess.run(
        ["sh", "-c", f'"$@" {shell}', "sh", *command], capture_output=True, text=True, env=environment, timeout=120
    )


@pytest.mark.parametrize("command", [("plugins",), ("estimators",), ("search", "embedded:*")])
def test_what_a_plugin_prints_is_not_in_the_json(tmp_path: Path, command: tuple[str, ...]) -> None:
    install(tmp_path, "prints_on_import")
    places = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    answer = run(*command, "--json", PYTHONPATH=places)
    assert answer.returncode == 0, answer.stderr
    json.loads(answer.stdout)
    assert "hello at import" in answer.stderr
    assert "hello from native code" in answer.stderr


def test_files_are_written_although_standard_output_is_full(dataset: Path, store: Path, tmp_path: Path) -> None:
    board = tmp_path / "board.json"
    stopped = run("select", dataset, *SELECT, "--cache-dir", store, "--json", board, shell="> /dev/full")
    assert json.loads(board.read_text())["rows"]
    assert stopped.returncode == 74
    assert stopped.stderr.count("error: the answer cannot be printed: No space left on device") == 1
    assert "Traceback" not in stopped.stderr
    assert "Exception ignored" not in stopped.stderr


def test_files_are_written_although_standard_output_is_closed(dataset: Path, store: Path, tmp_path: Path) -> None:
    board = tmp_path / "board.json"
    options = ("--cache-dir", store, "--json", board, "--executor", "process")
    stopped = run("select", dataset, *SELECT, *options, shell=">&-")
    assert [row["failure"] for row in json.loads(board.read_text())["rows"]] == [None]
    assert stopped.returncode == 74
    assert "standard output is closed" in stopped.stderr


def test_a_stream_without_unicode_gets_the_table_and_valid_json(dataset: Path, store: Path, tmp_path: Path) -> None:
    options = (*SELECT, "--cache-dir", store)
    table = run("select", dataset, *options, PYTHONIOENCODING="latin-1")
    assert table.returncode == 0, table.stderr
    assert "plain.letters" in table.stdout
    named = tmp_path / "漢字"
    dataset.rename(named)
    answer = run("select", named, *options, "--json", "-", PYTHONIOENCODING="ascii")
    assert answer.returncode == 0, answer.stderr
    assert "漢字" in json.loads(answer.stdout)["provenance"]["dataset"]["name"]


def test_control_characters_of_what_was_given_do_not_reach_the_terminal() -> None:
    stopped = run("search", "dir:x\x1b]0;pwned\x07")
    assert stopped.returncode == 2
    assert "\x1b" not in stopped.stdout + stopped.stderr


def test_it_is_known_whether_both_streams_lead_to_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "one").open("w") as one, (tmp_path / "one").open("a") as same, (tmp_path / "two").open("w") as two:
        for out, err, together in (
            (one, same, True),
            (one, two, False),
            (one, io.StringIO(), False),
            (None, two, False),
        ):
            monkeypatch.setattr("sys.stdout", out)
            monkeypatch.setattr("sys.stderr", err)
            assert streams.errors_are_shown_with_it() == together
