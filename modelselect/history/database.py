"""`Database`: the SQLite file of the transfer history, safe under many writers and under whatever kills them.

The id of a result is a digest of what the result says, and of several values of one fact the most recent is kept. So
writing twice, or merging two files in either order, gives the same file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import HistoryError, InvalidInputError
from modelselect.history.reading import content, decoded, fact_of, graph_of, is_whole, result_of, summary_of
from modelselect.history.records import (
    ACCURACY,
    FINE_TUNING,
    TABLES,
    Result,
    canonical_json,
    most_frequent_first,
    recipe_of,
)
from modelselect.store.files import user_path
from modelselect.utils.paths import expanded

PATH_VARIABLE = "MODELSELECT_HISTORY"

_APPLICATION_ID = 0x6D736869  # "mshi", where SQLite keeps what a file is for
_BUSY_SECONDS = 30.0
_ROWS_IN_A_TRANSACTION = 5000

_MIGRATIONS = (
    """
    CREATE TABLE results (
        id TEXT PRIMARY KEY, candidate TEXT NOT NULL, dataset TEXT NOT NULL, metric TEXT NOT NULL, value REAL NOT NULL,
        settings TEXT NOT NULL, provenance TEXT NOT NULL, recorded TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE candidates (
        id TEXT, key TEXT, value TEXT NOT NULL, recorded TEXT NOT NULL, PRIMARY KEY (id, key)
    ) WITHOUT ROWID;
    CREATE TABLE datasets (
        id TEXT, key TEXT, value TEXT NOT NULL, recorded TEXT NOT NULL, PRIMARY KEY (id, key)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE graphs (id TEXT PRIMARY KEY, graph BLOB NOT NULL);
    CREATE TABLE proxies (
        dataset TEXT, proxy TEXT, features BLOB NOT NULL, recorded TEXT NOT NULL, PRIMARY KEY (dataset, proxy)
    );
    CREATE TABLE marks (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE INDEX results_by_dataset ON results (dataset, metric);
    """,
)
"""Each brings a file from one version of the schema to the next; the version is the number of scripts that have run."""

_SCHEMA = {
    statement.split()[2]: " ".join(statement.split())
    for script in _MIGRATIONS
    for statement in script.split(";")
    if statement.split()[:2] == ["CREATE", "TABLE"]
}
"""How each table is made."""

_INSERTS = {
    "results": """
        INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
        SET provenance = excluded.provenance, recorded = excluded.recorded
        WHERE (excluded.recorded, excluded.provenance) < (recorded, provenance)""",
    "candidates": """
        INSERT INTO candidates VALUES (?, ?, ?, ?) ON CONFLICT (id, key) DO UPDATE
        SET value = excluded.value, recorded = excluded.recorded
        WHERE (excluded.recorded, excluded.value) > (recorded, value)""",
    "datasets": """
        INSERT INTO datasets VALUES (?, ?, ?, ?) ON CONFLICT (id, key) DO UPDATE
        SET value = excluded.value, recorded = excluded.recorded
        WHERE (excluded.recorded, excluded.value) > (recorded, value)""",
    "graphs": "INSERT INTO graphs VALUES (?, ?) ON CONFLICT (id) DO NOTHING",
    "proxies": """
        INSERT INTO proxies VALUES (?, ?, ?, ?) ON CONFLICT (dataset, proxy) DO UPDATE
        SET features = excluded.features, recorded = excluded.recorded
        WHERE (excluded.recorded, excluded.features) > (recorded, features)""",
}
"""A result keeps its first recording and a fact its last: the order in which they are inserted does not matter."""


class Database:
    """The file of a transfer history: reads its tables, and inserts rows.

    `History` adds the verbs, and says where the file is by default, who may use it at once, and which errors there are.

    >>> import tempfile
    >>> database = Database(Path(tempfile.mkdtemp()) / "history.sqlite")
    >>> database.insert("datasets", [("hub:food101", "classes", "101", "2026-01-01")])
    1
    >>> database.datasets()
    {'hub:food101': {'classes': 101}}
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = (expanded(path) if path is not None else default_path()).absolute()

    def insert(self, table: str, rows: Sequence[Sequence[Any]]) -> int:
        """Adds rows to one of `TABLES`, with its columns, and returns how many of them were new.

        Many rows are more than one transaction, so that other writers need not wait long.
        """
        new = 0
        for start in range(0, len(rows), _ROWS_IN_A_TRANSACTION):
            with self._connected(write=True) as connection:
                before = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                connection.executemany(_INSERTS[table], rows[start : start + _ROWS_IN_A_TRANSACTION])
                new += connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] - before
        return new

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        """Every row of one of `TABLES`, as the file holds it."""
        return self._select(f"SELECT {', '.join(TABLES[table])} FROM {table} ORDER BY 1, 2")

    def whole_rows(self, table: str) -> list[tuple[Any, ...]]:
        """The rows of one of `TABLES` whose cells have the types of their columns."""
        rows = self.rows(table)
        whole = [row for row in rows if is_whole(table, row)]
        self._note_damage(len(rows) - len(whole), f"rows of {table}")
        return whole

    def results(
        self, *, candidate: str | None = None, dataset: str | None = None, metric: str | None = None
    ) -> list[Result]:
        """Every result of the named candidate, dataset and metric, sorted by candidate, dataset, metric and id."""
        asked = {"candidate": candidate, "dataset": dataset, "metric": metric}
        wanted = {column: value for column, value in asked.items() if value is not None}
        if odd := [f"{column} is {value!r}" for column, value in wanted.items() if not isinstance(value, str)]:
            raise InvalidInputError(f"{odd[0]}; expected a text, or None for any")
        where = " AND ".join(f"{column} = ?" for column in wanted) or "1"
        query = f"SELECT {', '.join(TABLES['results'])} FROM results WHERE {where} ORDER BY 2, 3, 4, 1"
        found = self._select(query, tuple(wanted.values()))
        results = [result for row in found if (result := result_of(row)) is not None]
        self._note_damage(len(found) - len(results), "results")
        return results

    def candidates(self) -> dict[str, dict[str, Any]]:
        """What is known of each candidate, by its id."""
        return self._by_id("candidates")

    def datasets(self) -> dict[str, dict[str, Any]]:
        """What is known of each dataset, by its id."""
        return self._by_id("datasets")

    def graphs(self) -> dict[str, str]:
        """The architecture's graph of each candidate that has one, as `archi2vec.to_json` writes it."""
        query = """
            SELECT candidates.id, graphs.graph FROM candidates JOIN graphs ON candidates.value = '"' || graphs.id || '"'
            WHERE key = 'graph' ORDER BY 1"""
        rows = self._select(query)
        unpacked = {packed: graph_of(packed) for packed in {packed for _, packed in rows}}  # shared by candidates
        whole = {candidate: unpacked[packed] for candidate, packed in rows if isinstance(candidate, str)}
        found = {candidate: graph for candidate, graph in whole.items() if graph is not None}
        self._note_damage(len(rows) - len(found), "graphs of candidates")
        return found

    def proxies(self) -> dict[str, dict[str, NDArray[np.float32]]]:
        """(2, P) mean and standard deviation of a proxy's features, by the proxy's id and the dataset's."""
        found: dict[str, dict[str, NDArray[np.float32]]] = {}
        damaged = 0
        for row in self._select("SELECT dataset, proxy, features, recorded FROM proxies ORDER BY 2, 1"):
            dataset, proxy, packed, _ = row
            summary = summary_of(packed) if is_whole("proxies", row) else None
            if summary is None:
                damaged += 1
            else:
                found.setdefault(proxy, {})[dataset] = summary
        self._note_damage(damaged, "features of proxies")
        return found

    def summary(self) -> dict[str, Any]:
        """Counts of results (by metric; accuracies also by recipe), candidates, datasets, architectures and proxies.

        Accuracies without a recipe are published ones; `recipes` does not count them. `path` is that of the file.
        """
        metrics = self._select("SELECT metric, count(*) FROM results GROUP BY 1 ORDER BY 2 DESC, 1")
        pairs = self._select("SELECT count(DISTINCT candidate), count(DISTINCT dataset) FROM results")
        candidates, datasets = pairs[0] if pairs else (0, 0)
        proxies = self._select("SELECT proxy, count(*) FROM proxies GROUP BY 1 ORDER BY 2 DESC, 1")
        graphs = self._select("SELECT count(*) FROM graphs")
        query = "SELECT settings, count(*) FROM results WHERE metric = ? AND instr(settings, ?) GROUP BY 1"
        recipes: Counter[str] = Counter()
        for settings, count in self._select(query, (ACCURACY, f'"{FINE_TUNING}"')):
            said = content(settings)
            if isinstance(said, dict) and (recipe := recipe_of(said)) is not None:
                recipes[recipe] += count
        return {
            "path": str(self.path),
            "results": sum(count for _, count in metrics),
            "candidates": candidates,
            "datasets": datasets,
            "metrics": {metric: count for metric, count in metrics if isinstance(metric, str)},
            "recipes": most_frequent_first(recipes),
            "architectures": graphs[0][0] if graphs else 0,
            "proxies": {proxy: count for proxy, count in proxies if isinstance(proxy, str)},
        }

    @property
    def digest(self) -> str:
        """Hex digest of the content. Equal histories have equal digests, whenever they were written."""
        digest = hashlib.sha256()
        for table, columns in TABLES.items():
            said = [c for c in columns if c not in ("recorded", "provenance")]
            for row in self._select(f"SELECT {', '.join(said)} FROM {table} ORDER BY 1, 2"):
                digest.update(repr(row).encode())
        return digest.hexdigest()[:32]

    def mark(self, key: str) -> Any:
        """The value that `set_mark` kept under this key (how far an importer came, for instance), or None."""
        found = self._select("SELECT value FROM marks WHERE key = ?", (key,))
        return content(found[0][0]) if found else None

    def set_mark(self, key: str, value: Any) -> None:
        """Keeps a JSON value under a key, in this file only: marks are neither merged nor exported."""
        with self._connected(write=True) as connection:
            connection.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (key, canonical_json(value)))

    def _by_id(self, table: str) -> dict[str, dict[str, Any]]:
        """The facts in a table, by id and key. Facts that cannot be read, or that nothing can have, are passed over."""
        rows = self._select(f"SELECT {', '.join(TABLES[table])} FROM {table} ORDER BY 1, 2")
        facts = [fact for row in rows if (fact := fact_of(table, row)) is not None]
        self._note_damage(len(rows) - len(facts), f"facts about {table}")
        found: dict[str, dict[str, Any]] = {}
        for subject, key, value in facts:
            found.setdefault(subject, {})[key] = value
        return found

    def _note_damage(self, count: int, what: str) -> None:
        if count:
            warnings.warn(
                f"{count:,} {what} in the transfer history {self.path} are damaged and were passed over", stacklevel=3
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    # --- the file

    def _select(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with _explained(self.path):
            if not self.path.exists():
                return []
        with self._connected() as connection:
            return connection.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _connected(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection to a file of the present schema; with `write`, in a transaction that ends with the block."""
        with _explained(self.path):
            if write:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
            connection.text_factory = decoded
            try:
                self._bring_up_to_date(connection)
                if write:
                    connection.execute("BEGIN IMMEDIATE")
                yield connection
                if write:
                    connection.execute("COMMIT")
            finally:
                connection.close()  # and undoes what was not committed

    def _bring_up_to_date(self, connection: sqlite3.Connection) -> None:
        if self._version(connection) == len(_MIGRATIONS):
            return
        _patiently(connection, "PRAGMA journal_mode = WAL")  # readers and writers do not wait for each other
        connection.execute("BEGIN IMMEDIATE")
        for script in _MIGRATIONS[self._version(connection) :]:  # another process may have been first
            for statement in filter(str.strip, script.split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")
        connection.execute("COMMIT")

    def _version(self, connection: sqlite3.Connection) -> int:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and application != _APPLICATION_ID:
            raise HistoryError(
                f"{self.path} is an SQLite file of another program; expected a transfer history. Give another path "
                f"with history= (--history) or the environment variable {PATH_VARIABLE}."
            )
        if version > len(_MIGRATIONS):
            raise HistoryError(
                f"{self.path} was written by a later version of modelselect (schema {version}; this one reads up to "
                f"{len(_MIGRATIONS)}). Update modelselect, or give another path with history= (--history) or the "
                f"environment variable {PATH_VARIABLE}."
            )
        for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall():
            is_other = kind == "table" and name in _SCHEMA and " ".join(str(sql).split()) != _SCHEMA[name]
            if kind in ("view", "trigger") or is_other:  # which run code of whoever wrote the file
                raise HistoryError(_damaged(self.path, f"its {kind} {name!r} is none of a transfer history"))
        return version


def default_path() -> Path:
    """MODELSELECT_HISTORY, else `modelselect/history.sqlite` in XDG_DATA_HOME, else in `~/.local/share`."""
    return user_path(PATH_VARIABLE, "data", "history.sqlite")


def _patiently(connection: sqlite3.Connection, statement: str) -> None:
    """Runs a statement that changes the journal's mode: there SQLite does not wait for others, despite its timeout."""
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _damaged(path: Path, what: str) -> str:
    return (
        f"the transfer history {path} is damaged ({what}). Move the file away, and modelselect starts a new one. "
        "`modelselect history import` brings back what you have exported or published."
    )


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns errors of SQLite and of the operating system into a HistoryError with advice."""
    elsewhere = f"or give another path with history= (--history) or the environment variable {PATH_VARIABLE}"
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            advice = (
                f"another process has been writing for more than {_BUSY_SECONDS:.0f} s. Wait for that process, end it,"
            )
        else:  # no permission, no space, a folder of that name, ...
            advice = f"{error}. Check the folder's permissions and free space,"
        raise HistoryError(f"the transfer history {path} cannot be used: {advice} {elsewhere}.") from error
    except sqlite3.DatabaseError as error:
        raise HistoryError(_damaged(path, str(error))) from error
    except UnicodeDecodeError as error:  # of a message that quotes what the file holds
        raise HistoryError(_damaged(path, "its schema holds text that is not UTF-8")) from error
    except OSError as error:
        raise HistoryError(
            f"the transfer history {path} cannot be used: {error.strerror or error}. Fix the cause, {elsewhere}."
        ) from error
