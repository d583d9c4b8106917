"""A ranking as a JSON document: the format, what is written, and what may be read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, TypeVar

from modelselect.candidates.candidate import Candidate
from modelselect.errors import Failure, InvalidInputError
from modelselect.ranking.expectation import Expectation
from modelselect.ranking.row import RankedCandidate

FORMAT = "modelselect leaderboard"
FORMAT_VERSION = 1

EXPECTED = "expected a file that Leaderboard.save() or modelselect select --json has written"

RowType = TypeVar("RowType", bound=RankedCandidate)


def json_text(content: Mapping[str, Any]) -> str:
    """The text of a document with this content, after the format and its version."""
    document = {"format": FORMAT, "version": FORMAT_VERSION, **content}
    return json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def json_content(text: str, source: str) -> dict[str, Any]:
    """The content of a document.

    Args:
        text: what `json_text` wrote.
        source: name of the text in messages, such as its path.

    Raises:
        InvalidInputError: the text is not JSON, not a ranking, or of another version.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InvalidInputError(
            f"cannot read a leaderboard from {source}: the content is not JSON ({error}); {EXPECTED}"
        ) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InvalidInputError(f"{source} is not a leaderboard; {EXPECTED}")
    if document.get("version") != FORMAT_VERSION:
        raise InvalidInputError(
            f"{source} has leaderboard version {document.get('version')}; this modelselect reads version "
            f"{FORMAT_VERSION}. Upgrade modelselect, or create the leaderboard again."
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


def row_from_json(row_type: type[RowType], document: Mapping[str, Any]) -> RowType:
    """The row of this type. Fields that this version does not know are ignored.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: the document is damaged.
    """
    fields = {name: value for name, value in document.items() if name in row_type.__dataclass_fields__}
    fields["candidate"] = Candidate(**fields["candidate"])
    fields["failure"] = Failure(**fields["failure"]) if fields["failure"] else None
    fields["failures"] = {name: Failure(**failure) for name, failure in fields["failures"].items()}
    fields["embedding"] = None if fields["embedding"] is None else tuple(fields["embedding"])
    if fields["verified_interval"] is not None:
        low, high = fields["verified_interval"]
        fields["verified_interval"] = (low, high)
    if (expectation := fields.get("expectation")) is not None:
        low, high = expectation["rank_interval"]
        fields["expectation"] = Expectation(**{**expectation, "rank_interval": (low, high)})
    fields["nearest"] = tuple((other, similarity) for other, similarity in fields["nearest"])
    curve = fields.get("learning_curve", ())  # leaderboards of 0.1.0 have none
    fields["learning_curve"] = tuple((epoch, loss, accuracy) for epoch, loss, accuracy in curve)
    confusion, mistakes = fields.get("confusion", ()), fields.get("mistakes", ())  # older leaderboards have none
    fields["confusion"] = tuple((int(label), int(found), int(rows)) for label, found, rows in confusion)
    fields["mistakes"] = tuple((int(row), str(name), int(k), int(found)) for row, name, k, found in mistakes)
    return row_type(**fields)


def check_budget(record: Any) -> None:
    """Checks that the record of a budget holds what the notes under a ranking show.

    Args:
        record: `provenance["budget"]`, from a file that anybody may have written.

    Raises:
        KeyError, TypeError: a part is missing, or of another type.
    """
    _check(record, asked=object, spent=Mapping, stages=Sequence)
    _check(record["spent"], seconds=_SECONDS, passes=int | float)
    for stage in record["stages"]:
        _check(stage, stage=object, candidates=object, seconds=_SECONDS, decision=object)


_SECONDS = int | float | None


def _check(record: Any, **parts: Any) -> None:
    for name, expected in parts.items():
        if not isinstance(record[name], expected):
            raise TypeError(f"{name} is {record[name]!r} in the record of a budget")


def plain_value(value: Any) -> Any:
    """The value as JSON has it: arrays and sets as lists; NaN as null, because JSON has no NaN."""
    if isinstance(value, Failure | Expectation):
        return plain_value(asdict(value))
    if isinstance(value, Mapping | MappingProxyType):
        return {str(k): plain_value(v) for k, v in value.items()}
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
    return value if isinstance(value, str | int | float | bool | None) else str(value)
