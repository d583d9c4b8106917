"""Queries and documents: a folder in the layout of BEIR, a mapping of the same, or rows of a query and its document."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from modelselect.errors import DatasetError
from modelselect.probe.labels import GivenLabels, Labels
from modelselect.probe.lines import lines_of
from modelselect.probe.rows import TEXT, Rows
from modelselect.probe.splits import TEST, WHOLE, kind_of_split
from modelselect.probe.targets import Targets
from modelselect.utils.containers import is_sequence, opened
from modelselect.utils.relevance import MOST_RELEVANT, relevance_values
from modelselect.utils.target_kinds import RELEVANCE, TARGET_KINDS
from modelselect.utils.text import counted

DISTRACTORS = 2000
"""Documents that are relevant to no query, and that are read at most. Which ones depends only on their ids."""

CORPUS, QUERIES, QRELS = "corpus", "queries", "qrels"
_CORPUS_FILE, _QUERIES_FILE = f"{CORPUS}.jsonl", f"{QUERIES}.jsonl"

_SHOWN = 60
"""Characters of an id in a message."""

Judged = Mapping[str, Mapping[str, float]]
"""For each query's id, the grades of documents by their ids."""


class RetrievalRows(Rows):
    """The texts of queries and of documents, each a row: first the queries, then the documents.

    Args:
        queries: texts by id, of queries with a relevant document.
        documents: texts by id: all that are relevant to a query, and others.
        relevant: for each query's id, the grades, above 0, of at most `MOST_RELEVANT` documents, by id.
        remarks: sentences for the user.

    Raises:
        DatasetError: there are too few queries or documents, or a text is empty.
    """

    source = "queries and documents"

    def __init__(
        self,
        queries: Mapping[str, str],
        documents: Mapping[str, str],
        relevant: Judged,
        remarks: Sequence[str] = (),
    ) -> None:
        self._texts = [*queries.values(), *documents.values()]
        self._names = [*(f"query {key}" for key in queries), *(f"document {key}" for key in documents)]
        super().__init__(TEXT, Labels.none(len(self._texts)))
        for text, name in zip(self._texts, self._names, strict=True):
            if not isinstance(text, str) or not text.strip():
                raise DatasetError(f"the {name[:80]} is empty; expected a text. Leave it out, or write its text.")
        if len(queries) < 2:
            raise DatasetError(f"there {_are(len(queries), 'query', 'queries')}; expected two or more queries.")
        if len(documents) < 2:
            raise DatasetError(
                f"there {_are(len(documents), 'document', 'documents')}, which every query finds; expected two or more."
            )
        query, document = ({key: place for place, key in enumerate(keys)} for keys in (queries, documents))
        judged = [(query[q], document[d], grade) for q, grades in relevant.items() for d, grade in grades.items()]
        values = relevance_values(len(queries), len(documents), judged)
        self._relevance = Targets(RELEVANCE, values, (RELEVANCE,))
        self.remarks = tuple(remarks)

    def raw(self, row: int) -> str:
        return self._texts[row]

    def row_name(self, row: int) -> str:
        return self._names[row]

    def targets(self, kind: str | None) -> Labels | Targets:
        if kind not in (None, RELEVANCE):
            assert kind is not None
            raise DatasetError(
                f"the dataset holds queries and documents, and the task needs {TARGET_KINDS[kind]}. Leave out task= "
                "(--task), or give task='retrieval' (--task retrieval)."
            )
        return self._relevance


class PairedRows(RetrievalRows):
    """Queries and documents from rows that hold one of each. Equal texts are one query, or one document."""

    has_columns = True

    @classmethod
    def of(cls, rows: Rows) -> RetrievalRows:
        """Rows of queries, each with the text of a relevant document as its label; other rows as they are.

        Raises:
            DatasetError: the rows are no texts, or their labels are none.
        """
        if isinstance(rows, RetrievalRows):
            return rows
        given = rows.given_labels
        texts = None if isinstance(given, Labels) else _texts_of(given)
        if rows.modality != TEXT or texts is None:
            raise DatasetError(
                "the rows are not queries with documents; expected a text and, as its label, the text of a relevant "
                "document. Name the two columns with input= and label= (--input query --label document), or give "
                "(queries, documents), or a folder with corpus.jsonl, queries.jsonl and qrels. For another task, give "
                "its name with task= (--task)."
            )
        relevant: dict[str, dict[str, float]] = {}
        for row, document in enumerate(texts):
            query = rows.raw(row)
            if not isinstance(query, str) or not query.strip():
                raise DatasetError(f"the query in {rows.row_name(row)} is empty; expected a text. Leave the row out.")
            if not isinstance(document, str) or not document.strip():
                raise DatasetError(
                    f"the document in {rows.row_name(row)} is empty; expected a text. Leave the row out."
                )
            relevant.setdefault(query, {})[document] = 1.0
        relevant, remarks = _at_most(relevant)
        documents = dict.fromkeys(document for grades in relevant.values() for document in grades)
        numbered = {text: str(place) for place, text in enumerate(documents, 1)}
        asked = {text: str(place) for place, text in enumerate(relevant, 1)}
        return cls(
            {key: text for text, key in asked.items()},
            {key: text for text, key in numbered.items()},
            {asked[query]: {numbered[d]: grade for d, grade in found.items()} for query, found in relevant.items()},
            (*(remark for remark in rows.remarks if "pair of texts" not in remark), *remarks),
        )


def is_retrieval(folder: Path) -> bool:
    """True for a folder in the layout of BEIR."""
    return (folder / _CORPUS_FILE).is_file() and (folder / _QUERIES_FILE).is_file()


def open_retrieval(folder: Path) -> dict[str, Callable[[], Rows]]:
    """Functions that open the queries of each split, `qrels/SPLIT.tsv`, with their documents.

    N. Thakur et al.: BEIR: A heterogeneous benchmark for zero-shot evaluation of information retrieval models, NeurIPS
    Datasets and Benchmarks 2021. MTEB has the same layout.

    Raises:
        DatasetError: there is no file of judgements.
    """
    files = sorted((folder / QRELS).glob("*.tsv"))
    if not files:
        raise DatasetError(
            f"{folder} holds {_CORPUS_FILE} and {_QUERIES_FILE}, and no file such as {QRELS}/train.tsv that says which "
            "documents are relevant. Unpack the whole archive."
        )
    if len(files) == 1 and kind_of_split(files[0].stem) == TEST:
        said = (
            f"The only judgements are those of {QRELS}/{files[0].name}, so they choose the model: what is measured on "
            "them afterwards is no test any more."
        )
        return {WHOLE: partial(_of_folder, folder, files[0], (said,))}
    return {file.stem: partial(_of_folder, folder, file) for file in files}


def is_corpus(dataset: Mapping[Any, Any]) -> bool:
    """True for a mapping with the entries `corpus`, `queries` and `qrels`."""
    return set(dataset) == {CORPUS, QUERIES, QRELS}


def open_corpus(dataset: Mapping[str, Any]) -> dict[str, Callable[[], Rows]]:
    """A function that opens queries and documents from a mapping.

    Args:
        dataset: `corpus`: documents by id, as texts or as mappings with `text` and perhaps `title`; `queries`: texts by
            id; `qrels`: for each query's id, the ids of relevant documents, or grades by their ids.
    """
    return {WHOLE: partial(_of_mapping, dataset)}


def _of_mapping(dataset: Mapping[str, Any]) -> Rows:
    for name, given in dataset.items():
        if not isinstance(given, Mapping):
            raise DatasetError(f"{name!r} of the dataset is {type(given).__name__}; expected a mapping by id.")
    judged: dict[str, dict[str, float]] = {}
    for query, found in dataset[QRELS].items():
        if isinstance(found, str) or not isinstance(found, Iterable):
            raise DatasetError(
                f"the judgements of the query {str(query)[:_SHOWN]!r} are {ascii(found)[:40]}; expected a list of "
                "ids of documents, or grades by their ids."
            )
        graded = found.items() if isinstance(found, Mapping) else ((each, 1.0) for each in found)
        judged[str(query)] = {
            str(document): _grade(value, f"query {str(query)[:_SHOWN]!r}") for document, value in graded
        }
    missing = next((str(key) for key in dataset[QUERIES] if str(key) not in judged), None)
    if missing is not None:
        _no_relevant(missing)
    corpus = ((str(key), _text_of(document)) for key, document in dataset[CORPUS].items())
    return _rows({str(key): text for key, text in dataset[QUERIES].items()}, corpus, judged)


def _of_folder(folder: Path, judgements: Path, remarks: Sequence[str] = ()) -> Rows:
    judged = _read_judgements(judgements)
    queries = {key: text for key, text in _read_texts(folder / _QUERIES_FILE) if key in judged}
    return _rows(queries, _read_texts(folder / _CORPUS_FILE), judged, remarks)


def _rows(
    queries: Mapping[str, str], corpus: Iterable[tuple[str, str]], judged: Judged, remarks: Sequence[str] = ()
) -> Rows:
    """The rows, with all relevant documents of a corpus and at most `DISTRACTORS` others."""
    relevant = {}
    for query, grades in judged.items():
        if query not in queries:
            raise DatasetError(
                f"the judgements name the query {query[:_SHOWN]!r}, which is not among the queries. Add its text, "
                "or leave out its judgements."
            )
        relevant[query] = {document: grade for document, grade in grades.items() if grade > 0}
        if not relevant[query]:
            _no_relevant(query)
    named = {document for grades in relevant.values() for document in grades}
    relevant, said = _at_most(relevant)
    kept = {document for grades in relevant.values() for document in grades}
    found: dict[str, tuple[int, str]] = {}
    others: list[tuple[int, int, str, str]] = []
    count = 0
    for place, (key, text) in enumerate(corpus):
        count += 1
        if key in kept:
            found[key] = place, text
        elif key not in named:
            drawn = -int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest())
            entry = drawn, place, key, text
            if len(others) < DISTRACTORS:
                heapq.heappush(others, entry)
            else:
                heapq.heappushpop(others, entry)
    if lost := sorted(kept - found.keys()):
        raise DatasetError(
            f"the judgements name the document {lost[0][:_SHOWN]!r}, which is not in the corpus ({len(lost)} such "
            "ids). Add its text, or leave out its judgements."
        )
    found |= {key: (place, text) for _, place, key, text in others}
    in_order = sorted(found.items(), key=lambda entry: entry[1][0])
    if len(found) < count - len(named - kept):
        said += (
            f"Of the {count:,} documents, {len(found):,} are read: those that are relevant to a query, and "
            f"{counted(len(others), 'other')}. Among all documents, every candidate finds less.",
        )
    chosen = {key: queries[key] for key in relevant}
    return RetrievalRows(chosen, {key: text for key, (_, text) in in_order}, relevant, (*remarks, *said))


def _at_most(relevant: Judged) -> tuple[dict[str, dict[str, float]], tuple[str, ...]]:
    """At most `MOST_RELEVANT` documents of each query, those of the highest grades; and what the user should know."""
    many = sum(len(grades) > MOST_RELEVANT for grades in relevant.values())
    kept = {
        query: dict(sorted(grades.items(), key=lambda entry: -entry[1])[:MOST_RELEVANT])
        for query, grades in relevant.items()
    }
    if not many:
        return kept, ()
    said = (
        f"{counted(many, 'query has', 'queries have')} more than {MOST_RELEVANT} relevant documents. The "
        f"{MOST_RELEVANT} of the highest grades are read, and the others are left out."
    )
    return kept, (said,)


def _read_judgements(path: Path) -> dict[str, dict[str, float]]:
    """The grades in a file of lines `query-id`, `corpus-id`, `score`, with tabs between and a first line of names."""
    judged: dict[str, dict[str, float]] = {}
    for number, text in enumerate(lines_of(path), 1):
        line = text.rstrip("\n").split("\t")
        if line == [""] or (number == 1 and len(line) == 3 and not _is_number(line[2])):
            continue
        if len(line) != 3:
            raise DatasetError(
                f"line {number} of {path} is {' '.join(line)[:60]!r}; expected the id of a query, the id of a "
                "document, and a grade, with tabs between them."
            )
        judged.setdefault(line[0], {})[line[1]] = _grade(line[2], f"line {number} of {path}")
    return judged


def _read_texts(path: Path) -> Iterator[tuple[str, str]]:
    """The id and the text of each line of JSON."""
    for number, line in enumerate(lines_of(path), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            if not isinstance(entry, dict) or "_id" not in entry:
                raise ValueError("it has no _id")
            found = str(entry["_id"]), _text_of(entry)
        except (ValueError, RecursionError) as error:
            raise DatasetError(
                f"line {number} of {path} cannot be read ({error}); expected a line of JSON such as "
                '{"_id": "1", "text": "..."}.'
            ) from None
        yield found


def _text_of(document: Any) -> str:
    """A document's title and text."""
    if not isinstance(document, Mapping):
        return document if isinstance(document, str) else ""
    return " ".join(part for part in (document.get("title"), document.get("text")) if isinstance(part, str) and part)


def _texts_of(given: GivenLabels) -> list[Any] | None:
    """Labels as a list of texts, where some may be missing; None if there are other labels among them."""
    values = opened(given.values) if is_sequence(given.values) else None
    if not isinstance(values, list) or len(values) != given.n_rows:
        return None
    texts = any(isinstance(value, str) for value in values)
    return values if texts and not any(isinstance(value, int | float) and value == value for value in values) else None


def _grade(value: Any, where: str) -> float:
    if not _is_number(value):
        raise DatasetError(f"{where} has the grade {ascii(value)[:40]}; expected a number, above 0 for relevant.")
    return float(value)


def _is_number(value: Any) -> bool:
    try:
        return abs(float(value)) < 1e100
    except (TypeError, ValueError, OverflowError):
        return False


def _no_relevant(query: str) -> NoReturn:
    raise DatasetError(
        f"the query {query[:_SHOWN]!r} has no relevant document; expected one at least, with a grade above 0. Leave "
        "the query out."
    )


def _are(count: int, one: str, several: str) -> str:
    return f"is one {one}" if count == 1 else f"are {count or 'no'} {several}"
