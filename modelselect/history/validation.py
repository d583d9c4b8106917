"""Which rows of other people's files a history takes: only those that can be read back, as one bad row spoils all."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from modelselect.architectures.graph_json import from_json
from modelselect.errors import InvalidInputError
from modelselect.history.reading import graph_of, summary_of
from modelselect.history.records import TABLES, Result, canonical_json, impossible, row_of

Row = tuple[Any, ...]

_CLOCKS_DIFFER = timedelta(days=1)
_DIGITS = 300  # of an integer, at most, so that a float can hold the integer


class _UnsoundError(Exception):
    """A row cannot be taken; the message is the reason."""


def admitted(tables: Mapping[str, Iterable[Row]]) -> tuple[dict[str, list[Row]], dict[str, int]]:
    """The rows that can be added, by table, and the number of rejected rows, by reason.

    Ids are computed anew and never taken from the file. A row recorded in the future is rejected, since it would
    replace all that is learned until then.

    Args:
        tables: rows of `TABLES`, with their columns.
    """
    kept: dict[str, list[Row]] = {}
    rejected: Counter[str] = Counter()
    for table, rows in tables.items():
        kept[table] = []
        for row in rows:
            try:
                kept[table].append(_SOUND[table](dict(zip(TABLES[table], row, strict=True))))
            except _UnsoundError as reason:
                rejected[str(reason)] += 1
    return kept, dict(rejected)


def _result(row: Mapping[str, Any]) -> Row:
    settings, provenance = _content(row["settings"], "settings"), _content(row["provenance"], "provenance")
    if not isinstance(settings, dict) or not isinstance(provenance, dict):
        raise _UnsoundError("settings or provenance is no JSON object")
    candidate, dataset, metric = (_text(row[column]) for column in ("candidate", "dataset", "metric"))
    result = Result(candidate, dataset, metric, row["value"], settings, provenance, _when(row["recorded"]))
    if (reason := impossible(result)) is not None:
        raise _UnsoundError(reason)
    return row_of(result)


def _fact(row: Mapping[str, Any]) -> Row:
    value = canonical_json(_content(row["value"], "a fact"))
    return _text(row["id"]), _text(row["key"]), value, _when(row["recorded"])


def _graph(row: Mapping[str, Any]) -> Row:
    graph = graph_of(row["graph"])
    try:
        from_json(graph or "")
    except InvalidInputError:
        raise _UnsoundError("a graph cannot be read") from None
    return hashlib.sha256((graph or "").encode()).hexdigest(), row["graph"]


def _proxy(row: Mapping[str, Any]) -> Row:
    if summary_of(row["features"]) is None:
        raise _UnsoundError("a proxy's features are cut off, or not finite")
    return _text(row["dataset"]), _text(row["proxy"]), row["features"], _when(row["recorded"])


_SOUND: Mapping[str, Callable[[Mapping[str, Any]], Row]] = {
    "results": _result,
    "candidates": _fact,
    "datasets": _fact,
    "graphs": _graph,
    "proxies": _proxy,
}


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _UnsoundError("a name or a time is no text")
    return value


def _when(recorded: Any) -> str:
    latest = (datetime.now(UTC) + _CLOCKS_DIFFER).isoformat()
    if _text(recorded) > latest:
        raise _UnsoundError("recorded in the future")
    return str(recorded)


def _content(text: Any, what: str) -> Any:
    """The content of a JSON text, if it can be written again: no NaN and no integer too large for a float."""
    try:
        content = json.loads(_text(text), parse_int=_whole)
        canonical_json(content)
    except (ValueError, RecursionError):
        raise _UnsoundError(f"{what} is no JSON that can be kept") from None
    return content


def _whole(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"{digits[:20]}... is too large")
    return int(digits)
