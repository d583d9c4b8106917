"""The file keeps what it is given, even if other processes write to it, die or damage it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest

import modelselect as ms
from modelselect.history import History, Result, database
from modelselect.history.records import row_of
from tests.history.conftest import some_results

SPAWN = multiprocessing.get_context("spawn")


def test_a_history_that_nothing_was_written_to_makes_no_file_and_is_empty(history: History) -> None:
    assert history.results() == []
    assert history.summary()["results"] == 0
    assert not history.path.exists()


def test_the_default_place_is_the_users_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MODELSELECT_HISTORY", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert ms.History().path == tmp_path / "modelselect" / "history.sqlite"
    monkeypatch.setenv("MODELSELECT_HISTORY", str(tmp_path / "mine.sqlite"))
    assert ms.History().path == tmp_path / "mine.sqlite"


def write(path: Path, writer: int) -> None:
    history = History(path)
    for result in some_results(15, writer):
        history.record([result])
        history.describe_candidate(result.candidate, {"writer": writer})


def test_concurrent_writers_lose_nothing(history: History) -> None:
    processes = [SPAWN.Process(target=write, args=(history.path, number)) for number in range(3)]
    for process in processes:
        process.start()  # none of them finds the file there: they also make it together
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 3
    assert {result.id for result in history.results()} == {r.id for w in range(3) for r in some_results(15, w)}


def write_until_killed(path: Path) -> None:
    for number in range(10_000):
        History(path).record(some_results(20, number))


def test_a_killed_writer_leaves_whole_transactions_and_a_file_that_goes_on(history: History) -> None:
    process = SPAWN.Process(target=write_until_killed, args=(history.path,))
    process.start()
    until = time.monotonic() + 30
    while len(history.results()) < 100 and time.monotonic() < until:
        time.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    by_dataset = [len(history.results(dataset=dataset)) for dataset in {r.dataset for r in history.results()}]
    assert len(by_dataset) >= 5
    assert set(by_dataset) == {20}
    assert history.record([Result("timm:after", "data", "accuracy", 0.5)]).new == 1
    with sqlite3.connect(history.path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_reader_does_not_wait_for_a_writer(history: History) -> None:
    history.record(some_results(3))
    writer = sqlite3.connect(history.path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    assert len(history.results()) == 3
    assert time.monotonic() - begun < 1
    writer.close()


def test_a_writer_that_waits_too_long_says_for_whom(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.1)
    history.record(some_results(1))
    other = sqlite3.connect(history.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ms.errors.HistoryError, match=r"another process has been writing.*MODELSELECT_HISTORY"):
        history.record(some_results(2))
    other.close()


def test_a_file_of_an_old_schema_is_brought_up_to_date_with_all_it_holds(history: History) -> None:
    with sqlite3.connect(history.path) as connection:
        connection.executescript(database._MIGRATIONS[0])
        connection.execute(f"PRAGMA application_id = {database._APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute(database._INSERTS["results"], row_of(Result("timm:a", "data", "accuracy", 0.5)))
    connection.close()
    assert [result.value for result in history.results()] == [0.5]
    history.keep_proxy("data", "proxy", [[1.0, 2.0]])  # what only the new schema has
    assert history.record([Result("timm:a", "data", "accuracy", 0.5)]).known == 1


def test_a_file_of_a_later_version_is_left_alone(history: History) -> None:
    history.record(some_results(1))
    with sqlite3.connect(history.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ms.errors.HistoryError, match=r"later version of modelselect.*Update"):
        history.results()


def test_another_programs_database_is_refused_unchanged(history: History) -> None:
    with sqlite3.connect(history.path) as connection:
        connection.execute("CREATE TABLE notes (text)")
    connection.close()
    before = history.path.read_bytes()
    with pytest.raises(ms.errors.HistoryError, match="another program"):
        history.record(some_results(1))
    assert history.path.read_bytes() == before


@pytest.mark.parametrize("damage", ["no database", "torn"])
def test_a_damaged_file_is_one_clear_error(history: History, damage: str) -> None:
    if damage == "no database":
        history.path.write_text("this is no database, and long enough to be looked at " * 10)
    else:
        history.record(some_results(2000))
        with sqlite3.connect(history.path) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        content = bytearray(history.path.read_bytes())
        content[4096 : len(content)] = os.urandom(len(content) - 4096)
        history.path.write_bytes(content)
    with pytest.raises(ms.errors.HistoryError, match=r"is damaged.*Move the file away"):
        history.results()


ENDLESS = """
    ALTER TABLE results RENAME TO hidden;
    CREATE VIEW results AS WITH RECURSIVE endless(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM endless)
    SELECT id, candidate, dataset, metric, value, settings, provenance, recorded FROM hidden, endless
"""
EMPTYING = "CREATE TRIGGER emptied AFTER INSERT ON datasets BEGIN DELETE FROM results; END"


@pytest.mark.parametrize("script", [ENDLESS, EMPTYING])
def test_a_file_whose_tables_do_something_is_not_read(history: History, script: str) -> None:
    history.record(some_results(3))
    with sqlite3.connect(history.path) as connection:
        connection.executescript(script)
    connection.close()
    with pytest.raises(ms.errors.HistoryError, match="is none of a transfer history"):
        history.results()
    with pytest.raises(ms.errors.HistoryError, match="is none of a transfer history"):
        history.describe_dataset("d", {"classes": 3})


def test_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ms.errors.HistoryError, match="cannot be used"):
        History(tmp_path / "file" / "history.sqlite").record(some_results(1))


@pytest.mark.parametrize(
    ("statement", "results", "facts"),
    [
        ("UPDATE results SET settings = '{' WHERE candidate = 'zoo:a'", 1, 2),
        ("UPDATE results SET settings = '[1]' WHERE candidate = 'zoo:a'", 1, 2),
        ("UPDATE results SET value = 'abc' WHERE candidate = 'zoo:a'", 1, 2),
        ("UPDATE results SET value = 9e999 WHERE candidate = 'zoo:a'", 1, 2),
        ("UPDATE candidates SET value = '{' WHERE id = 'zoo:a'", 2, 1),
        ("UPDATE candidates SET value = '\"many\"' WHERE id = 'zoo:a'", 2, 1),
        ("UPDATE candidates SET value = '[1]' WHERE id = 'zoo:a'", 2, 1),
    ],
)
def test_a_damaged_cell_is_passed_over_with_a_count(history: History, statement: str, results: int, facts: int) -> None:
    history.record([Result(f"zoo:{name}", "data", "accuracy", 0.5) for name in "ab"])
    history.describe_candidates({f"zoo:{name}": {"parameters": 7} for name in "ab"})
    with sqlite3.connect(history.path) as connection:
        connection.execute(statement)
    connection.close()
    with pytest.warns(UserWarning, match="1 .* in the transfer history .* are damaged and were passed over"):
        found = len(history.results()), len(history.candidates())
    assert found == (results, facts)
    assert history.summary()["results"] == 2


def test_a_path_that_no_file_can_have_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ms.errors.HistoryError, match="cannot be used: File name too long"):
        History(tmp_path / ("x" * 300)).summary()
