"""A damaged cell of a history costs its row, with a count, or is one HistoryError. No cell gives a bare error."""

from __future__ import annotations

import sqlite3
import warnings
import zlib
from pathlib import Path
from typing import Any

import pytest

from modelselect.errors import HistoryError
from modelselect.history import History, Result
from modelselect.history.records import TABLES
from modelselect.history.validation import admitted
from tests.history.conftest import full_history

CELLS = [(table, column) for table, columns in TABLES.items() for column in columns] + [
    ("marks", "key"),
    ("marks", "value"),
]

DAMAGE: dict[str, Any] = {
    "no text": b"\xff\xfe\x00\x01",
    "empty bytes": b"",
    "empty text": "",
    "a word": "abc",
    "half a JSON": "{",
    "a list": "[1]",
    "a number as text": "7",
    "a constant": "NaN",
    "an infinity in a setting": '{"fine_tuning":{"rate":Infinity}}',
    "a long integer": '{"fine_tuning":{"rate":' + "9" * 400 + "}}",
    "a longer integer": "9" * 5000,
    "nested deeply": "[" * 500 + "]" * 500,
    "nested in a setting": '{"fine_tuning":' + '{"a":' * 400 + "1" + "}" * 400 + "}",
    "nested beyond reading": "[" * 100_000,
    "nothing": None,
    "a negative": -5,
    "a large integer": 2**62,
    "a large number": 1e308,
    "a large negative": -1e308,
    "infinity": float("inf"),
    "a packed word": zlib.compress(b"abc"),
    "a packed list": zlib.compress(b"[1]"),
    "eight bytes of infinity": b"\x00\x00\x80\x7f" * 2,
    "a surrogate": '"\\ud800"',
    "an escape": "\x1b]0;x\x07",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    history = full_history(tmp_path_factory.mktemp("whole") / "history.sqlite")
    history.record([Result("timm:model1", "data1", "accuracy", 0.5, {"fine_tuning": {"rate": 0.1}})])
    history.set_mark("seen", {"page": 3})
    with sqlite3.connect(history.path) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    return history.path.read_bytes()


def damaged(path: Path, whole: bytes, table: str, column: str, cell: Any) -> bool:
    """Writes a history with one damaged cell; False if SQLite refuses such a cell."""
    path.write_bytes(whole)
    connection = sqlite3.connect(path)
    try:
        which = f"SELECT min({TABLES.get(table, ('key',))[0]}) FROM {table}"
        connection.execute(
            f"UPDATE {table} SET {column} = ? WHERE {TABLES.get(table, ('key',))[0]} = ({which})", (cell,)
        )
        connection.commit()
    except sqlite3.IntegrityError:
        return False
    finally:
        connection.close()
    return True


def read_all(history: History) -> None:
    history.summary()
    view = history.view("hub:clip").about({"timm:model0": {}, "timm:other": {}}, {"classes": 3, "samples": 90})
    for metric, scale in [(None, "rank"), ("accuracy", "raw")]:
        view.performance(metric, scale)
    _ = view.measured(), view.sizes, view.dataset_sizes, view.leading_recipe, history.digest, history.mark("seen")


@pytest.mark.parametrize(("table", "column"), CELLS, ids=map(".".join, CELLS))
def test_a_damaged_cell_costs_its_row_at_most(table: str, column: str, tmp_path: Path, whole: bytes) -> None:
    for name, cell in DAMAGE.items():
        if not damaged(tmp_path / "history.sqlite", whole, table, column, cell):
            continue
        history = History(tmp_path / "history.sqlite")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            try:
                read_all(history)
                counts = {key: history.summary()[key] for key in ("results", "architectures")}
            except HistoryError:
                continue
            except Exception as error:
                pytest.fail(f"{table}.{column}, {name}: {type(error).__name__}: {error}")
            assert counts == {"results": 6, "architectures": 1}, name
            assert len(history.results()) >= 5, name  # the others are there


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", ["no text", "a large integer", "nothing"])
def test_a_damaged_history_is_exported_merged_and_written_to(
    table: str, name: str, tmp_path: Path, whole: bytes
) -> None:
    for column in TABLES[table]:
        if not damaged(tmp_path / "history.sqlite", whole, table, column, DAMAGE[name]):
            continue
        history = History(tmp_path / "history.sqlite")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            assert len(History(tmp_path / "other.sqlite").load(history.export(tmp_path / "out")).rejected) <= 1
            History(tmp_path / "merged.sqlite").merge(history)
        assert history.record([Result("timm:new", "data0", "accuracy", 0.25)]).new == 1
        (tmp_path / "other.sqlite").unlink()
        (tmp_path / "merged.sqlite").unlink()


@pytest.mark.parametrize(
    "cell", [zlib.compress(b"abc"), zlib.compress(b"[1]"), zlib.compress(b'{"nodes":[],"edges":[]}')]
)
def test_a_graph_that_is_none_costs_one_architecture(cell: bytes, tmp_path: Path, whole: bytes) -> None:
    damaged(tmp_path / "history.sqlite", whole, "graphs", "graph", cell)
    view = History(tmp_path / "history.sqlite").view()
    with pytest.warns(UserWarning, match="1 graphs in the transfer history are damaged"):
        assert view.architectures.shape == (5, 1)


def test_whatever_is_read_as_damaged_is_not_taken_from_others_either(tmp_path: Path, whole: bytes) -> None:
    damaged(tmp_path / "history.sqlite", whole, "results", "candidate", b"\xff")
    with pytest.warns(UserWarning, match="1 results in the transfer history"):
        assert len(History(tmp_path / "history.sqlite").results()) == 5
    rows = History(tmp_path / "history.sqlite").rows("results")
    assert admitted({"results": rows})[1] == {"a name or a time is no text": 1}


def test_a_schema_that_is_no_text_is_told_as_damage(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "damaged.sqlite"
    for before, damaged in (
        (b"resultsresults", b"r\xecsultsr\xecsults"),
        (b"CREATE TABLE results", b"CREATE TABLf r\xecsults"),
    ):
        assert before in whole
        whole = whole.replace(before, damaged, 1)
    path.write_bytes(whole)
    with pytest.raises(HistoryError, match="its schema holds text that is not UTF-8"):
        History(path).results()
