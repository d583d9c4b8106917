"""What can be read of a row whose cells may be damaged. A cell that cannot be used gives None, never an error."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.candidates.metadata import metadata_fault
from modelselect.history.records import TABLES, Result, impossible

LARGEST_GRAPH = 50_000_000
"""Bytes of an unpacked graph, at most: a small packed graph could unpack to gigabytes."""

DEEPEST = 60
"""Levels of nesting that a JSON text may have."""

_BYTES = frozenset({"graph", "features"})


def decoded(raw: bytes) -> Any:
    """A text as SQLite holds it; the bytes themselves, which no text column may hold, if they are no UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def is_whole(table: str, row: Sequence[Any]) -> bool:
    """False if a cell of a row has another type than its column."""
    return all(map(_fits, TABLES[table], row))


def result_of(row: Sequence[Any]) -> Result | None:
    """The result in a row of the table `results`."""
    if not is_whole("results", row):
        return None
    _, candidate, dataset, metric, value, said, source, when = row
    settings, provenance = content(said), content(source)
    if not isinstance(settings, dict) or not isinstance(provenance, dict):
        return None
    result = Result(candidate, dataset, metric, value, settings, provenance, when)
    return None if impossible(result) else result


def fact_of(table: str, row: Sequence[Any]) -> tuple[str, str, Any] | None:
    """Subject, key and value in a row of the table `candidates` or `datasets`."""
    if not is_whole(table, row):
        return None
    subject, key, text, _ = row
    value = content(text)
    if value is None and text != "null":
        return None
    shown = tuple(value) if isinstance(value, list) else value
    if table == "candidates" and value is not None and metadata_fault(key, shown) is not None:
        return None
    return subject, key, value


def graph_of(packed: Any) -> str | None:
    """The text of a packed graph."""
    try:
        unpacking = zlib.decompressobj()
        graph = unpacking.decompress(packed, LARGEST_GRAPH)
        return graph.decode() if unpacking.eof else None
    except (zlib.error, TypeError, UnicodeDecodeError):
        return None


def summary_of(packed: Any) -> NDArray[np.float32] | None:
    """(2, P) mean and standard deviation of a proxy's features."""
    if not isinstance(packed, bytes) or not packed or len(packed) % 8:
        return None
    summary = np.frombuffer(packed, "<f4").reshape(2, -1)
    return summary if np.isfinite(summary).all() else None


def content(text: Any) -> Any:
    """The content of a JSON text; None if the text is none, is nested too deeply, or holds what JSON does not know."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (TypeError, ValueError, RecursionError):
        return None
    return None if _is_deeper(value, DEEPEST) else value


def _fits(column: str, cell: Any) -> bool:
    if column == "value" and isinstance(cell, int | float):
        return True
    return isinstance(cell, bytes if column in _BYTES else str)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _is_deeper(value: Any, levels: int) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_is_deeper(part, levels - 1) for part in parts)
