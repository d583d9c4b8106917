"""What a run may download and how long it may take without asking; sizes as people write them."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real

from modelselect.budget.budget import Budget
from modelselect.errors import InvalidInputError
from modelselect.utils.text import duration, in_bytes

MAX_DOWNLOAD = "2GB"
MAX_TIME = "10m"
"""What a run may take where the caller says nothing: a short break, and a download that most connections manage."""

_MOST = 10**24

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_bytes(text: str) -> int:
    """`500MB` -> 500,000,000. A number needs its unit, unless it is 0.

    Raises:
        InvalidInputError: the text is not a size.

    >>> parse_bytes("1.5 GB"), parse_bytes("0")
    (1500000000, 0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B)?\s*", text, re.IGNORECASE)
    if match is None:
        raise InvalidInputError(f"{text!r} is not a size; expected a number with its unit, such as 500MB or 20GB, or 0")
    count, unit = Decimal(match[1]), match[2]
    if count and unit is None:
        raise InvalidInputError(
            f"{text!r} has no unit; expected B, KB, MB, GB or TB. Type {match[1]}GB for gigabytes, or {match[1]}B for "
            "bytes"
        )
    size = count * _UNITS[(unit or "B").upper()]
    if size > _MOST:
        raise InvalidInputError(f"{text!r} is more than any disk holds; expected a size such as 500MB or 20GB")
    return int(size)


@dataclass(frozen=True)
class Bounds:
    """What a run may take. Candidates are chosen within these bounds; to exceed them takes the user's consent.

    Attributes:
        download: bytes.
        seconds: time of the forward passes.

    >>> print(Bounds.of("500MB", "90s"))
    500 MB and 90 s
    """

    download: float
    seconds: float

    @classmethod
    def of(cls, max_download: str | float | None = None, max_time: str | float | None = None) -> Bounds:
        """Checked bounds; None for the default.

        Args:
            max_download: a size with its unit, or a number of bytes.
            max_time: a time such as `10m`, or a number of seconds.

        Raises:
            InvalidInputError: one of them is not a size or a time.
        """
        return cls(
            _bytes(MAX_DOWNLOAD if max_download is None else max_download),
            parse_seconds("max_time", MAX_TIME if max_time is None else max_time),
        )

    def __str__(self) -> str:
        return f"{in_bytes(self.download)} and {duration(self.seconds)}"


def _bytes(given: str | float) -> float:
    if isinstance(given, str):
        return parse_bytes(given)
    if not _is_number(given) or not given >= 0:
        raise InvalidInputError(
            f"max_download is {given!r}; expected a size such as '2GB' or a number of bytes, 0 for none"
        )
    return float(given)


def parse_seconds(name: str, given: str | float) -> float:
    """`10m` -> 600.0; a number is a number of seconds.

    Args:
        name: of the keyword, for the message.
        given: the time.

    Raises:
        InvalidInputError: it is no time above 0.

    >>> parse_seconds("max_time", "1h30m")
    5400.0
    """
    if isinstance(given, str):
        with contextlib.suppress(ValueError):  # a time with its units
            given = float(given)
    if not isinstance(given, str) and _is_number(given) and given > 0:
        return float(given)
    with contextlib.suppress(InvalidInputError):  # whose message is about budgets
        if isinstance(given, str) and (seconds := Budget.parse(given).seconds) is not None:
            return seconds
    raise InvalidInputError(f"{name} is {given!r}; expected a time such as '10m' or '1h30m', or seconds above 0")


def _is_number(given: object) -> bool:
    """True of a number that a float can hold, infinity included."""
    try:
        return isinstance(given, Real) and not isinstance(given, bool) and isinstance(float(given), float)
    except OverflowError:
        return False
