"""`History`: the transfer history with all that one does with it, and which history a caller means."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from numpy.typing import ArrayLike

from modelselect.errors import HistoryError, InvalidInputError
from modelselect.history.database import PATH_VARIABLE, Database
from modelselect.history.exchange import Exchange
from modelselect.history.parquet import read_parquet, write_parquet
from modelselect.history.records import TABLES, Added, Result, impossible, metadata_of, row_of, summarised, utc_now
from modelselect.history.validation import admitted
from modelselect.history.view import HistoryView
from modelselect.host.defaults import CLASSIFICATION
from modelselect.hub import Repository
from modelselect.utils.text import counted

logger = logging.getLogger(__name__)

_SEEN = "seen in the shared place"


class History(Database):
    """Results of candidates on datasets, and what is known of these candidates and datasets.

    Many processes and threads may use one history at once: every write is one short transaction, which is kept whole
    or not at all. Making a History touches no file; the first write makes it.

    Args:
        path: the file. Or a place that machines share: a folder that exists, or an address such as
            `s3://bucket/histories`; `exchange` then reads the files of others and leaves a copy of this one. Default:
            the environment variable MODELSELECT_HISTORY, else `modelselect/history.sqlite` in the user's data folder
            (XDG_DATA_HOME, else `~/.local/share`): no cache, since nothing can compute it anew.

    Every method raises HistoryError, with advice, if the file is damaged, is no history, was written by a later
    version, or cannot be read or written.

    >>> import tempfile
    >>> history = History(Path(tempfile.mkdtemp()) / "history.sqlite")
    >>> history.record([Result("timm:resnet18.a1_in1k", "hub:food101", "accuracy", 0.82)])
    Added(new=1, known=0, rejected={})
    >>> [result.value for result in history.results(dataset="hub:food101")]
    [0.82]
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        given = os.environ.get(PATH_VARIABLE, "") if path is None else path
        self._place = Exchange.named(given)
        super().__init__(path if self._place is None else self._place.own_file)

    def record(self, results: Iterable[Result]) -> Added:
        """Adds results. A result that the history holds already is not counted twice.

        Values that are not finite and accuracies outside 0 to 1 are rejected and counted.

        Raises:
            InvalidInputError: settings or provenance cannot be written as JSON.
        """
        rows, rejected = [], Counter[str]()
        for result in results:
            if (reason := impossible(result)) is not None:
                rejected[reason] += 1
            else:
                rows.append(row_of(result))
        new = self.insert("results", rows)
        return Added(new, len(rows) - new, dict(rejected))

    def describe_candidate(self, candidate: str, facts: Mapping[str, Any], *, graph: str | None = None) -> None:
        """Keeps what is known of a candidate; the latest value of a fact replaces the one before.

        Args:
            candidate: `zoo:name`.
            facts: values that JSON can hold, by name; None adds nothing.
            graph: of its architecture, as `archi2vec.to_json` writes it.
        """
        self.describe_candidates({candidate: facts}, {} if graph is None else {candidate: graph})

    def describe_candidates(
        self, facts: Mapping[str, Mapping[str, Any]], graphs: Mapping[str, str] | None = None
    ) -> None:
        """`describe_candidate` for many candidates at once: facts and graphs by candidate."""
        digests = {candidate: hashlib.sha256(graph.encode()).hexdigest() for candidate, graph in (graphs or {}).items()}
        rows = [row for candidate, known in facts.items() for row in metadata_of(candidate, known)]
        rows += [row for candidate, digest in digests.items() for row in metadata_of(candidate, {"graph": digest})]
        packed = {digests[c]: zlib.compress(graph.encode()) for c, graph in (graphs or {}).items()}
        self.insert("graphs", list(packed.items()))
        self.insert("candidates", rows)

    def describe_dataset(self, dataset: str, facts: Mapping[str, Any]) -> None:
        """Keeps what is known of a dataset (`name`, `classes`, `samples`, ...); see `describe_candidate`."""
        self.insert("datasets", metadata_of(dataset, facts))

    def keep_proxy(self, dataset: str, proxy: str, features: ArrayLike) -> None:
        """Keeps a summary of a proxy's features of a dataset.

        Args:
            dataset: its id.
            proxy: the id of the candidate that computed the features.
            features: (N, P) floats. Their mean and standard deviation over the rows are kept, as float32.

        Raises:
            InvalidInputError: features are not a matrix of finite numbers.
        """
        summary = summarised(features)
        self.insert("proxies", [(dataset, proxy, summary.astype("<f4").tobytes(), utc_now())])

    def view(self, proxy: str | None = None, task: str = CLASSIFICATION) -> HistoryView:
        """What an estimator sees of the history: the results of one task, with the features of this proxy."""
        return HistoryView.of(self, proxy, task)

    def merge(self, other: Database | str | os.PathLike[str]) -> Added:
        """Adds all that another history holds. Nothing is lost or counted twice, and the order does not matter.

        Raises:
            InvalidInputError: there is no such file.
        """
        source = other if isinstance(other, Database) else Database(other)
        if not source.path.exists():
            raise InvalidInputError(f"there is no history {str(source.path)!r}; expected a file that History() wrote")
        return self._add({table: source.rows(table) for table in TABLES})

    def exchange(self, *, leave: bool = True) -> None:
        """Adds what other machines have left in the shared place, and leaves a copy of this history there.

        A history of one file does nothing. A place or a file that cannot be used is a warning in the log.

        Args:
            leave: whether to leave a copy.
        """
        if self._place is None:
            return
        with tempfile.TemporaryDirectory() as scratch:
            known = self.mark(_SEEN) or {}
            for name, state, copy in self._place.news(known, Path(scratch)):
                try:
                    self.merge(Database(copy))
                except HistoryError as error:
                    logger.warning("the file %s of the shared history was passed over: %s", name, error)
                    continue
                known = {**known, name: state}
                self.set_mark(_SEEN, known)
        if leave and self.path.exists():
            self._place.put(self.path)

    def export(self, folder: str | os.PathLike[str]) -> Path:
        """Writes the history as Parquet files into a folder, with a card that says what they hold; see `load`."""
        return write_parquet(self, Path(folder))

    def load(self, folder: str | os.PathLike[str]) -> Added:
        """Adds what `export` wrote to a folder.

        Raises:
            InvalidInputError: the folder does not hold such files; the message names the file and its fault.
        """
        return self._add(read_parquet(Path(folder)))

    def publish(self, repository: str, *, private: bool | None = None, token: str | None = None) -> str:
        """Adds the history to a dataset repository on the Hub, and makes the repository if there is none; see `fetch`.

        The repository keeps what it holds already, also if somebody else publishes at the same time. Results name
        datasets by fingerprint or public name, and folders by their last part: look at what `export` writes before you
        share it.

        Args:
            repository: `owner/name`.
            private: whether a new repository is private; None for the owner's default.
            token: None for the one that `hf auth login` keeps.

        Returns:
            The address of the commit's page.

        Raises:
            HistoryError: the Hub refuses, or cannot be reached.
        """

        def fill(folder: Path, name: str, latest: str) -> None:
            with united(self, name, latest, token) as whole:
                whole.export(folder)

        message = f"Transfer history: {counted(self.summary()['results'], 'result')} added"
        return Repository(repository, token=token, raises=HistoryError).upload(fill, message, private=private)

    def fetch(self, repository: str, *, revision: str | None = None, token: str | None = None) -> Added:
        """Adds what a dataset repository on the Hub holds, as `publish` writes it.

        Raises:
            HistoryError: the Hub refuses, or cannot be reached.
            InvalidInputError: the repository holds no history.
        """
        return self.load(_downloaded(repository, revision, token))

    def _add(self, tables: Mapping[str, Sequence[tuple[Any, ...]]]) -> Added:
        """Adds the sound rows among those of another history."""
        sound, rejected = admitted(tables)
        for table in TABLES:
            if table != "results":  # results last: a reader finds the facts about whatever a result names
                self.insert(table, sound[table])
        new = self.insert("results", sound["results"])
        return Added(new, len(sound["results"]) - new, rejected)


@contextlib.contextmanager
def united(
    history: History, repository: str, revision: str, token: str | None, endpoint: str | None = None
) -> Iterator[History]:
    """The history together with the one that a repository holds, if it holds one; in a file that is removed again."""
    with tempfile.TemporaryDirectory() as scratch:
        whole = History(Path(scratch) / "whole.sqlite")
        whole.merge(history)
        with contextlib.suppress(InvalidInputError):  # a repository without a history yet
            whole.load(_downloaded(repository, revision, token, endpoint))
        yield whole


def _downloaded(repository: str, revision: str | None, token: str | None, endpoint: str | None = None) -> Path:
    """The folder of a repository's Parquet files."""
    names = [f"{table}.parquet" for table in TABLES]
    return Repository(repository, token=token, endpoint=endpoint, raises=HistoryError).fetch(names, revision)


GivenHistory = History | str | os.PathLike[str] | Literal[False] | None
"""How a caller names a history; see `open_history`."""


NO_HISTORY = ("off", "none", "no", "false")
"""Words for no history. A file with such a name is given with its folder: `./off`."""


def open_history(given: GivenHistory) -> History | None:
    """The history that a caller means: None for the user's own, which an empty MODELSELECT_HISTORY switches off.

    Raises:
        InvalidInputError: what is given names no history.
    """
    if isinstance(given, History):
        return given
    if isinstance(given, str) and given.lower() in NO_HISTORY:
        given = False
    if given is False or (given is None and os.environ.get(PATH_VARIABLE) == ""):
        return None
    if given is not None and not isinstance(given, str | os.PathLike):
        raise InvalidInputError(
            f"history is {given!r}; expected a path, a History, None for your own, or False for none"
        )
    return History(given)


def open_or_warn(history: History) -> History | None:
    """The history if it can be read; otherwise None, and a warning that says why."""
    try:
        history.exchange(leave=False)
        history.summary()
    except HistoryError as error:
        warnings.warn(f"the ranking goes on without the transfer history: {error}", stacklevel=3)
        return None
    return history
