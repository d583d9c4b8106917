"""A history that machines share: each finds what the others have measured, and a place that fails costs nothing."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from modelselect.cli.app import main
from modelselect.errors import HistoryError
from modelselect.history import ACCURACY, History, Result
from modelselect.history.history import open_history, open_or_warn


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes what follows run on the machine of that name."""

    def become(name: str) -> None:
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / name))
        monkeypatch.setattr("socket.gethostname", lambda: name)

    return become


@pytest.fixture(params=["folder", "file", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "shared"
    if request.param == "memory":
        import fsspec

        yield "memory://histories"
        filesystem = fsspec.filesystem("memory")
        if filesystem.exists("/histories"):
            filesystem.rm("/histories", recursive=True)
        return
    folder.mkdir()
    yield str(folder) if request.param == "folder" else f"file://{folder}"


def result(candidate: str, value: float = 0.5) -> Result:
    return Result(f"timm:{candidate}", "hub:pets", ACCURACY, value)


def candidates(history: History) -> list[str]:
    return [found.candidate for found in history.results()]


def test_many_machines_feed_one_history(place: str, machine: Callable[[str], None]) -> None:
    for number in range(3):
        machine(f"machine-{number}")
        history = History(place)
        history.exchange(leave=False)
        history.record([result(f"net-{number}"), result("common")])
        history.describe_candidate(f"timm:net-{number}", {"parameters": number + 1})
        history.exchange()
    machine("machine-0")
    history = History(place)
    assert candidates(history) == ["timm:common", "timm:net-0"]
    history.exchange()
    assert candidates(history) == ["timm:common", "timm:net-0", "timm:net-1", "timm:net-2"]
    assert history.candidates()["timm:net-2"] == {"parameters": 3}
    machine("machine-2")
    other = History(place)
    other.exchange()
    assert other.digest == history.digest


def test_a_run_reads_what_others_have_left(
    tmp_path: Path, machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared").mkdir()
    monkeypatch.setenv("MODELSELECT_HISTORY", str(tmp_path / "shared"))
    machine("one")
    first = History()
    first.record([result("a")])
    first.exchange()
    machine("two")
    opened = open_history(None)
    assert opened is not None
    found = open_or_warn(opened)
    assert found is not None
    assert candidates(found) == ["timm:a"]
    assert [path.name[:4] for path in (tmp_path / "shared").iterdir()] == ["one-"]  # reading leaves nothing


def test_a_file_that_has_not_changed_is_not_read_again(
    tmp_path: Path, machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared").mkdir()
    machine("one")
    first = History(tmp_path / "shared")
    first.record([result("a")])
    first.exchange()
    machine("two")
    second = History(tmp_path / "shared")
    second.exchange()

    def refuse(*_: object) -> None:
        raise AssertionError("a file was read")

    with monkeypatch.context() as patched:
        patched.setattr(History, "merge", refuse)
        second.exchange()
    machine("one")
    first.record([result("b")])
    first.exchange()
    machine("two")
    second.exchange()
    assert candidates(second) == ["timm:a", "timm:b"]


def test_a_file_whose_merge_failed_is_read_again(
    tmp_path: Path, machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "shared").mkdir()
    machine("one")
    first = History(tmp_path / "shared")
    first.record([result("a")])
    first.exchange()
    machine("two")
    second = History(tmp_path / "shared")

    def fail(*_: object) -> None:
        raise HistoryError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(History, "insert", fail)
        second.exchange()
    assert candidates(second) == []
    assert caplog.text.count("was passed over: the disk is full") == 1
    second.exchange()
    assert candidates(second) == ["timm:a"]


def test_a_damaged_or_foreign_file_is_passed_over(
    tmp_path: Path, machine: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    machine("one")
    first = History(folder)
    first.record([result("a")])
    first.exchange()
    (folder / "damaged.sqlite").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    with sqlite3.connect(folder / "foreign.sqlite") as foreign:
        foreign.execute("CREATE TABLE t (x)")
    machine("two")
    second = History(folder)
    second.exchange()
    assert candidates(second) == ["timm:a"]
    assert caplog.text.count("was passed over") == 2


def test_a_place_that_fails_is_one_line(
    tmp_path: Path, machine: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    machine("one")
    history = History(folder)
    folder.rmdir()
    folder.write_text("no folder any more")
    history.record([result("a")])
    with caplog.at_level(logging.WARNING):
        history.exchange()
    assert f"the shared history {folder} cannot be" in caplog.text
    assert candidates(history) == ["timm:a"]


def test_a_history_of_one_file_is_left_alone(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    history.record([result("a")])
    history.exchange()
    assert history.path == tmp_path / "history.sqlite"
    assert sorted(path.name.partition("-")[0] for path in tmp_path.iterdir())[0] == "history.sqlite"


def test_the_command_merges_files_and_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drivers = tmp_path / "drivers"
    drivers.mkdir()
    for number in range(3):
        History(drivers / f"driver-{number}.sqlite").record([result(f"net-{number}")])
    History(tmp_path / "alone.sqlite").record([result("alone")])
    whole = tmp_path / "whole.sqlite"
    with pytest.raises(SystemExit) as ended:
        main(["history", "merge", str(drivers), str(tmp_path / "alone.sqlite"), "--history", str(whole)])
    assert ended.value.code == 0
    assert candidates(History(whole)) == ["timm:alone", "timm:net-0", "timm:net-1", "timm:net-2"]
    assert "driver-2.sqlite: 1 new" in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as ended:
        main(["history", "merge", str(tmp_path / "empty"), "--history", str(whole)])
    assert ended.value.code == 2
    assert "holds no history; expected files named *.sqlite" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "script",
    [
        "DROP TABLE results; CREATE VIEW results AS WITH RECURSIVE c(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM c) "
        "SELECT id, id AS candidate, id AS dataset, id AS metric, id AS value, id AS settings, id AS provenance, "
        "id AS recorded FROM c",
        "CREATE TRIGGER t AFTER INSERT ON results BEGIN DELETE FROM results; END",
        "DROP TABLE datasets; CREATE TABLE datasets (id TEXT, key TEXT, recorded TEXT, "
        "value TEXT AS (hex(zeroblob(100000000))))",
    ],
)
def test_a_file_that_runs_code_of_its_writer_is_passed_over(
    tmp_path: Path, script: str, machine: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    machine("other")
    other = History(tmp_path / "other.sqlite")
    other.record([result("evil")])
    with closing(sqlite3.connect(other.path)) as connection:
        connection.executescript(script)
        connection.execute("PRAGMA journal_mode = DELETE")
    (shared / "other.sqlite").write_bytes(other.path.read_bytes())
    machine("mine")
    history = History(shared)
    history.exchange()
    assert candidates(history) == []
    assert "is none of a transfer history" in caplog.text


def test_what_is_no_file_keeps_nobody_from_reading_the_others(tmp_path: Path, machine: Callable[[str], None]) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    os.mkfifo(shared / "a.sqlite")
    (shared / "b.sqlite").mkdir()
    (shared / "c.sqlite").symlink_to("/dev/zero")
    (shared / "d.sqlite").symlink_to("d.sqlite")
    machine("other")
    other = History(shared)
    other.record([result("net")])
    other.exchange()
    machine("mine")
    history = History(shared)
    history.exchange()
    assert candidates(history) == ["timm:net"]
