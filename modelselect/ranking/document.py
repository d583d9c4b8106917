"""A ranking as a JSON document: the format, what is written, and what may be read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, TypeVar

from modelselect.errors import Failure, LeaderboardError
from modelselect.ranking.checking import refused, typed
from modelselect.ranking.expectation import Expectation
from modelselect.ranking.row import RankedCandidate
from modelselect.utils.text import printable, valid_text

FORMAT = "modelselect leaderboard"
FORMAT_VERSION = 1

EXPECTED = "expected a file that Leaderboard.save() or modelselect select --json has written"

RowType = TypeVar("RowType", bound=RankedCandidate)


def json_pieces(content: Mapping[str, Any], rows: str) -> Iterator[str]:
    """The text of a document with this content, after the format and its version, in pieces.

    The encoder of the standard library would keep a text for each value of all rows.

    Args:
        content: by name.
        rows: the name of a sequence that is written entry by entry, and may be made as it is written.
    """
    document = {"format": FORMAT, "version": FORMAT_VERSION, **content}
    begin = "{\n "
    for name, value in document.items():
        yield f"{begin}{json.dumps(name, ensure_ascii=False)}: "
        begin = ",\n "
        if name != rows:
            yield _indented(value, 1)
            continue
        start, end = "[\n  ", "[]"
        for each in value:
            yield start
            yield _indented(each, 2)
            start, end = ",\n  ", "\n ]"
        yield end
    yield "\n}\n"


def _indented(value: Any, depth: int) -> str:
    """The text of a value in a document, at this depth. Line breaks in texts are escaped: all are between values."""
    return json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False).replace("\n", "\n" + " " * depth)


def json_content(text: str, source: str) -> dict[str, Any]:
    """The content of a document.

    Args:
        text: what `json_pieces` gave.
        source: name of the text in messages, such as its path.

    Raises:
        LeaderboardError: the text is not JSON, not a ranking, or of another version.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LeaderboardError(
            f"cannot read a leaderboard from {source}: the content is not JSON ({error}); {EXPECTED}"
        ) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise LeaderboardError(f"{source} is not a leaderboard; {EXPECTED}")
    if document.get("version") != FORMAT_VERSION:
        version = printable(str(document.get("version"))[:20])
        raise LeaderboardError(
            f"{source} has leaderboard version {version}; this modelselect reads version {FORMAT_VERSION}. Upgrade "
            "modelselect, or create the leaderboard again."
        )
    return document


def row_to_json(row: RankedCandidate) -> dict[str, Any]:
    """A row as JSON values, the candidate first."""
    candidate = row.candidate
    known = {name: plain_value(getattr(row, name)) for name in row.__dataclass_fields__ if name != "candidate"}
    return {
        "candidate": {
            "zoo": candidate.zoo,
            "name": candidate.name,
            "revision": candidate.revision,
            "metadata": plain_value(candidate.metadata),
        },
        **known,
    }


def row_from_json(row_type: type[RowType], document: Any, where: str) -> RowType:
    """The row of this type. Fields that this version does not know are ignored.

    Args:
        row_type: the type.
        document: the row as JSON.
        where: its path in the document, for messages.

    Raises:
        LeaderboardError: a field has a wrong value.
    """
    row: RowType = typed(document, row_type, where)
    return row


def check_budget(record: Any, where: str) -> None:
    """Checks that the record of a budget holds what the notes under a ranking show.

    Args:
        record: `provenance["budget"]`, from a file that anybody may have written.
        where: its path in the document, for messages.

    Raises:
        LeaderboardError: a part is missing, or of another type.
    """
    _check(record, where, asked=Any, spent=Mapping[str, Any], stages=tuple[Mapping[str, Any], ...])
    _check(record["spent"], f"{where}.spent", seconds=float | None, passes=float)
    for number, stage in enumerate(record["stages"]):
        _check(stage, f"{where}.stages[{number}]", stage=Any, candidates=int, seconds=float | None, decision=Any)


def _check(record: Any, where: str, **parts: Any) -> None:
    if not isinstance(record, dict):
        raise refused(where, record, "an object")
    for name, kind in parts.items():
        if name not in record:
            raise LeaderboardError(f"{where} has no {name!r}")
        typed(record[name], kind, f"{where}.{name}")


_MOST_BITS = 1024
"""Of an integer that readers of JSON take, most of them as a float."""


def plain_value(value: Any) -> Any:
    """The value as JSON has it: arrays and sets as lists; NaN and integers above 2**1024 as null."""
    if isinstance(value, Failure | Expectation):
        return plain_value(asdict(value))
    if isinstance(value, Mapping | MappingProxyType):
        return {valid_text(str(k)): plain_value(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain_value(v) for v in value]
    if isinstance(value, Set):  # in an order that does not change from run to run
        return sorted(
            map(plain_value, value), key=lambda v: (v, "") if isinstance(v, int | float) else (math.inf, repr(v))
        )
    if hasattr(value, "tolist"):  # a NumPy array or scalar, a tensor
        plain = value.tolist()
        return str(value) if isinstance(plain, type(value)) else plain_value(plain)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return None
    if isinstance(value, str):
        return valid_text(value)
    return value if isinstance(value, int | float | bool | None) else valid_text(str(value))
