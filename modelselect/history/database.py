"""`History`: one SQLite file of results, candidates and datasets, safe under many writers and whatever kills them.

Results are found by what they say (their id is a digest of it), and of a fact about a candidate or a dataset the most
recent is kept. So writing twice, or merging two histories in either order, comes to the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelselect.errors import HistoryError, InvalidInputError
from modelselect.history.records import (
    TABLES,
    Added,
    Result,
    canonical_json,
    impossible,
    metadata_of,
    row_of,
    summarised,
    utc_now,
)
from modelselect.store.files import user_path

if TYPE_CHECKING:
    from modelselect.history.view import HistoryView

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
"""What brings a file from one version of the schema to the next; its version is the number of them that were done."""

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
"""Of a result the first recording is kept, of a fact the last: each a choice that does not depend on the order."""


class History:
    """The remembered (candidate, dataset, result) triples, and what candidates and datasets are like.

    Safe to use from many processes and threads at once: every write is one short transaction, which is there as a
    whole or not at all. Constructing one touches nothing; the file comes with the first write.

    Args:
        path: the file. Default: the environment variable MODELSELECT_HISTORY, else `modelselect/history.sqlite` in the
            user's data folder (XDG_DATA_HOME, else `~/.local/share`): no cache, since nothing makes it anew.

    Every method raises HistoryError, with advice, where the file is damaged, is no history, was written by a later
    version, or cannot be read or written.

    >>> import tempfile
    >>> history = History(Path(tempfile.mkdtemp()) / "history.sqlite")
    >>> history.record([Result("timm:resnet18.a1_in1k", "hub:food101", "accuracy", 0.82)])
    Added(new=1, known=0, rejected={})
    >>> [result.value for result in history.results(dataset="hub:food101")]
    [0.82]
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = (Path(path).expanduser() if path is not None else default_path()).absolute()

    def record(self, results: Iterable[Result]) -> Added:
        """Adds results; those that are there already are not counted twice.

        Results whose value is not finite are rejected, as are accuracies below 0 or above 1: they are counted.

        Raises:
            InvalidInputError: settings or provenance cannot be written as JSON.
        """
        rows, rejected = [], Counter[str]()
        for result in results:
            if (reason := impossible(result)) is not None:
                rejected[reason] += 1
            else:
                rows.append(row_of(result))
        new = self._insert("results", rows)
        return Added(new, len(rows) - new, dict(rejected))

    def describe_candidate(self, candidate: str, facts: Mapping[str, Any], *, graph: str | None = None) -> None:
        """Remembers what a candidate is like; of a fact the most recent is kept.

        Args:
            candidate: `zoo:name`.
            facts: by name, as JSON has it; None is no fact.
            graph: of its architecture, as `archi2vec.to_json` writes it.
        """
        self.describe_candidates({candidate: facts}, {} if graph is None else {candidate: graph})

    def describe_candidates(
        self, facts: Mapping[str, Mapping[str, Any]], graphs: Mapping[str, str] | None = None
    ) -> None:
        """`describe_candidate` for many, in one transaction; graphs by candidate."""
        digests = {candidate: hashlib.sha256(graph.encode()).hexdigest() for candidate, graph in (graphs or {}).items()}
        rows = [row for candidate, known in facts.items() for row in metadata_of(candidate, known)]
        rows += [row for candidate, digest in digests.items() for row in metadata_of(candidate, {"graph": digest})]
        packed = {digests[c]: zlib.compress(graph.encode()) for c, graph in (graphs or {}).items()}
        self._insert("graphs", list(packed.items()))
        self._insert("candidates", rows)

    def describe_dataset(self, dataset: str, facts: Mapping[str, Any]) -> None:
        """Remembers what a dataset is like: `name`, `classes`, `samples`, ...; of a fact the most recent is kept."""
        self._insert("datasets", metadata_of(dataset, facts))

    def keep_proxy(self, dataset: str, proxy: str, features: ArrayLike) -> None:
        """Remembers what a proxy saw of a dataset.

        Args:
            dataset: its id.
            proxy: the id of the candidate whose features these are.
            features: (N, P) floats, of which mean and standard deviation over the rows are kept, as float32.

        Raises:
            InvalidInputError: features are not a matrix of finite numbers.
        """
        summary = summarised(features)
        self._insert("proxies", [(dataset, proxy, summary.astype("<f4").tobytes(), utc_now())])

    def results(
        self, *, candidate: str | None = None, dataset: str | None = None, metric: str | None = None
    ) -> list[Result]:
        """Every result of the candidate, dataset and metric that are named, by candidate, dataset, metric and id."""
        asked = {"candidate": candidate, "dataset": dataset, "metric": metric}
        wanted = {column: value for column, value in asked.items() if value is not None}
        where = " AND ".join(f"{column} = ?" for column in wanted) or "1"
        query = f"SELECT {', '.join(TABLES['results'])} FROM results WHERE {where} ORDER BY 2, 3, 4, 1"
        found = self._select(query, tuple(wanted.values()))
        return [Result(c, d, m, v, json.loads(s), json.loads(p), when) for _, c, d, m, v, s, p, when in found]

    def candidates(self) -> dict[str, dict[str, Any]]:
        """What is known of each candidate, by its id."""
        return _by_id(self._select("SELECT id, key, value FROM candidates ORDER BY 1, 2"))

    def datasets(self) -> dict[str, dict[str, Any]]:
        """What is known of each dataset, by its id."""
        return _by_id(self._select("SELECT id, key, value FROM datasets ORDER BY 1, 2"))

    def graphs(self) -> dict[str, str]:
        """The architecture's graph of each candidate that has one, as `archi2vec.to_json` writes it."""
        query = """
            SELECT candidates.id, graphs.graph FROM candidates JOIN graphs ON candidates.value = '"' || graphs.id || '"'
            WHERE key = 'graph' ORDER BY 1"""
        unpacked: dict[bytes, str] = {}  # candidates share architectures
        found = {}
        for candidate, packed in self._select(query):
            if packed not in unpacked:
                try:
                    unpacked[packed] = zlib.decompress(packed).decode()
                except (zlib.error, UnicodeDecodeError) as error:
                    raise HistoryError(_damaged(self.path, f"the graph of {candidate} is unreadable")) from error
            found[candidate] = unpacked[packed]
        return found

    def proxies(self) -> dict[str, dict[str, NDArray[np.float32]]]:
        """(2, P) mean and standard deviation of a proxy's features, by the proxy's id and the dataset's."""
        found: dict[str, dict[str, NDArray[np.float32]]] = {}
        for dataset, proxy, packed in self._select("SELECT dataset, proxy, features FROM proxies ORDER BY 2, 1"):
            if len(packed) % 8:
                raise HistoryError(_damaged(self.path, f"the features of {dataset} by {proxy} are cut off"))
            found.setdefault(proxy, {})[dataset] = np.frombuffer(packed, "<f4").reshape(2, -1)
        return found

    def summary(self) -> dict[str, Any]:
        """How much there is: counts of results, by metric too, of candidates, datasets, graphs and proxies."""
        metrics = self._select("SELECT metric, count(*) FROM results GROUP BY 1 ORDER BY 2 DESC, 1")
        pairs = self._select("SELECT count(DISTINCT candidate), count(DISTINCT dataset) FROM results")
        candidates, datasets = pairs[0] if pairs else (0, 0)
        proxies = self._select("SELECT proxy, count(*) FROM proxies GROUP BY 1 ORDER BY 2 DESC, 1")
        graphs = self._select("SELECT count(*) FROM graphs")
        return {
            "path": str(self.path),
            "results": sum(count for _, count in metrics),
            "candidates": candidates,
            "datasets": datasets,
            "metrics": dict(metrics),
            "architectures": graphs[0][0] if graphs else 0,
            "proxies": dict(proxies),
        }

    def merge(self, other: History | str | os.PathLike[str]) -> Added:
        """Adds all that another history holds. Nothing is lost, nothing counted twice, and the order does not matter.

        Raises:
            InvalidInputError: there is no such file.
        """
        source = other if isinstance(other, History) else History(other)
        if not source.path.exists():
            raise InvalidInputError(f"there is no history {str(source.path)!r}; expected a file that History() wrote")
        return self._insert_tables({table: source.rows(table) for table in TABLES})

    def export(self, folder: str | os.PathLike[str]) -> Path:
        """Writes the history as Parquet files, with a card that says what they hold; see `load`."""
        from modelselect.history.parquet import write_parquet

        return write_parquet(self, Path(folder))

    def load(self, folder: str | os.PathLike[str]) -> Added:
        """Adds what `export` wrote to a folder.

        Raises:
            InvalidInputError: the folder does not hold such files; the message says what is wrong with which.
        """
        from modelselect.history.parquet import read_parquet

        return self._insert_tables(read_parquet(Path(folder)))

    def publish(self, repository: str, *, private: bool | None = None, token: str | None = None) -> str:
        """Adds the history to a dataset repository on the Hub, which is made if there is none; see `fetch`.

        What the repository holds already stays in it. Results name datasets by fingerprint or public name, and folders
        by their last part; look at what `export` writes before you share it.

        Args:
            repository: `owner/name`.
            private: whether a new repository is private; None for the owner's default.
            token: None for the one that `hf auth login` keeps.

        Returns:
            The commit's page.

        Raises:
            HistoryError: the Hub refuses, or cannot be reached.
        """
        from modelselect.history.history import publish

        return publish(self, repository, private, token)

    def fetch(self, repository: str, *, revision: str | None = None, token: str | None = None) -> Added:
        """Adds what a dataset repository on the Hub holds, as `publish` writes it.

        Raises:
            HistoryError: the Hub refuses, or cannot be reached.
            InvalidInputError: the repository holds no history.
        """
        from modelselect.history.history import fetch

        return fetch(self, repository, revision, token)

    def view(self, proxy: str | None = None) -> HistoryView:
        """What an estimator sees of it, with the features of this proxy."""
        from modelselect.history.view import HistoryView

        return HistoryView.of(self, proxy)

    @property
    def digest(self) -> str:
        """Hex digest of what the history says: equal histories have equal ones, whenever they were written."""
        digest = hashlib.sha256()
        for table, columns in TABLES.items():
            told = [c for c in columns if c not in ("recorded", "provenance")]
            for row in self._select(f"SELECT {', '.join(told)} FROM {table} ORDER BY 1, 2"):
                digest.update(repr(row).encode())
        return digest.hexdigest()[:32]

    def mark(self, key: str) -> Any:
        """What was remembered under this key by `set_mark`, or None: how far an importer came, say."""
        found = self._select("SELECT value FROM marks WHERE key = ?", (key,))
        return json.loads(found[0][0]) if found else None

    def set_mark(self, key: str, value: Any) -> None:
        """Remembers a JSON value under a key, in this file alone: marks are neither merged nor exported."""
        with self._connected(write=True) as connection:
            connection.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (key, canonical_json(value)))

    def __repr__(self) -> str:
        return f"History({str(self.path)!r})"

    # --- the file

    def _select(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        if not self.path.exists():
            return []
        with self._connected() as connection:
            return connection.execute(query, values).fetchall()

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        """Every row of one of `TABLES`, as it stands in the file."""
        return self._select(f"SELECT {', '.join(TABLES[table])} FROM {table} ORDER BY 1, 2")

    def _insert(self, table: str, rows: Sequence[Sequence[Any]]) -> int:
        """How many of the rows were new."""
        new = 0
        for start in range(0, len(rows), _ROWS_IN_A_TRANSACTION):
            with self._connected(write=True) as connection:
                before = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                connection.executemany(_INSERTS[table], rows[start : start + _ROWS_IN_A_TRANSACTION])
                new += connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] - before
        return new

    def _insert_tables(self, tables: Mapping[str, Sequence[tuple[Any, ...]]]) -> Added:
        from modelselect.history.validation import admitted

        sound, rejected = admitted(tables)
        for table in TABLES:
            if table != "results":  # first what results are about: a reader never meets a stranger
                self._insert(table, sound[table])
        new = self._insert("results", sound["results"])
        return Added(new, len(sound["results"]) - new, rejected)

    @contextlib.contextmanager
    def _connected(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection to a file of the present schema; with `write`, in a transaction that ends with the block."""
        with _explained(self.path):
            if write:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
            try:
                self._bring_up_to_date(connection)
                if write:
                    connection.execute("BEGIN IMMEDIATE")
                yield connection
                if write:
                    connection.execute("COMMIT")
            finally:
                connection.close()  # which takes back what was not committed

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
        return version


def default_path() -> Path:
    """MODELSELECT_HISTORY, else `modelselect/history.sqlite` in XDG_DATA_HOME, else in `~/.local/share`."""
    return user_path(PATH_VARIABLE, "data", "history.sqlite")


def _by_id(rows: Iterable[tuple[str, str, str]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for subject, key, value in rows:
        found.setdefault(subject, {})[key] = json.loads(value)
    return found


def _patiently(connection: sqlite3.Connection, statement: str) -> None:
    """SQLite does not wait for others where the journal's mode changes, however long it was told to."""
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
        f"the transfer history {path} is damaged ({what}). Move it away, and a new one is begun; `modelselect history "
        "import` brings back what was exported or published."
    )


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What SQLite and the operating system say, as a HistoryError with advice."""
    elsewhere = f"or give another path with history= (--history) or the environment variable {PATH_VARIABLE}"
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            advice = f"another process has been writing for more than {_BUSY_SECONDS:.0f} s. Wait for it, end it,"
        else:  # no permission, no space, a folder of that name, ...
            advice = f"{error}. Check its folder's permissions and space,"
        raise HistoryError(f"the transfer history {path} cannot be used: {advice} {elsewhere}.") from error
    except sqlite3.DatabaseError as error:
        raise HistoryError(_damaged(path, str(error))) from error
    except OSError as error:
        raise HistoryError(
            f"the transfer history {path} cannot be used: {error.strerror or error}. Mend that, {elsewhere}."
        ) from error
