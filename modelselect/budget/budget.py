"""A budget of time, money or forward passes, and how a run divides it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from modelselect.errors import InvalidInputError
from modelselect.utils.text import duration

DECISION_RESAMPLES = 20
"""Resamples in each round if the caller asks for none: a standard deviation from 20 has a relative error of a sixth."""

MOST_ROUNDS = 4
"""Maximum number of rounds. With this number, the first one sees an eighth of the probe."""

ROWS_PER_CLASS = 5
LEAST_ROWS = 60
"""Minimum number of rows in the first round: fewer rows decide nothing."""

VERIFICATION_SHARE = 0.5
"""Share of the budget reserved for fine-tuning if there is any. What scoring leaves over is added to it."""

TRAINING_PASSES = 3
"""Forward passes that training on a row costs: the backward pass takes about two."""

MOST_TUNED = 8
"""Maximum number of candidates that get one epoch of fine-tuning where the caller asked for no number."""

LEAST_EPOCHS = 3
LEAST_SHARE_OF_EPOCHS = 0.25
"""Fine-tuning for less than both says too little; fewer candidates are fine-tuned instead."""

_DURATION = re.compile(
    r"(?:(\d+(?:\.\d+)?)\s*h(?:ours?)?)?\s*(?:(\d+(?:\.\d+)?)\s*m(?:in(?:utes?)?)?)?\s*"
    r"(?:(\d+(?:\.\d+)?)\s*s(?:ec(?:onds?)?)?)?"
)
_PASSES = re.compile(r"(\d[\d_,]*)(?:\s*(?:forward\s+)?passes)?")
_MONEY = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]{3}|€|\$)\s+at\s+(\d+(?:\.\d+)?)\s*([A-Za-z]{3}|€|\$)\s*/\s*h")

_MOST = 1e300
"""Seconds or passes that no budget reaches. A float can hold such a number."""

_MOST_DIGITS = 301
"""Digits of a number that may be below `_MOST`."""

_EXPECTED = (
    "expected a time ('20m', '1h30m', '90s'), forward passes ('50000 passes' or 50000), "
    "or money ('3 EUR at 1.20 EUR/h')"
)


@dataclass(frozen=True)
class Budget:
    """What a run may spend: seconds of wall time, or forward passes (one row through one candidate).

    Attributes:
        seconds: seconds of wall time, or None.
        passes: number of forward passes, or None; exactly one of the two is given.

    Raises:
        InvalidInputError: neither or both are given, or one is not above 0.

    >>> Budget.parse("1h30m"), Budget.parse("50_000 passes"), Budget.parse("3 EUR at 1.20 EUR/h")
    (Budget(seconds=5400.0), Budget(passes=50000), Budget(seconds=9000.0))
    """

    seconds: float | None = None
    passes: int | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.seconds, self.passes) if value is not None]
        if len(given) != 1 or isinstance(given[0], bool) or not isinstance(given[0], int | float):
            raise InvalidInputError(f"{self!r} is not a budget; expected either seconds or passes")
        if not 0 < given[0] < _MOST:
            raise InvalidInputError(f"{self!r} is not a budget; expected more than 0, and less than {_MOST:.0e}")

    @classmethod
    def parse(cls, text: str) -> Budget:
        """The budget that a text such as `20m` means.

        Raises:
            InvalidInputError: the text is not a budget.

        >>> Budget.parse("20 min") == Budget.parse("20 minutes"), Budget.parse("1 hour 30 seconds")
        (True, Budget(seconds=3630.0))
        """
        stripped = text.strip()
        if match := _PASSES.fullmatch(stripped):
            digits = re.sub("[_,]", "", match[1])
            if len(digits) > _MOST_DIGITS:
                raise InvalidInputError(f"budget is a number of {len(digits):,} digits; {_EXPECTED}")
            return cls(passes=int(digits))
        if match := _MONEY.fullmatch(stripped):
            if match[2].upper() != match[4].upper():
                raise InvalidInputError(f"budget {text!r} mixes {match[2]} and {match[4]}; give both in one currency")
            if not float(match[3]) > 0:
                raise InvalidInputError(f"budget {text!r} has a price of 0; give the time instead, such as '20m'")
            return cls(seconds=3600 * float(match[1]) / float(match[3]))
        match = _DURATION.fullmatch(stripped)
        if match is None or not any(match.groups()):
            raise InvalidInputError(f"budget is {text!r}; {_EXPECTED}")
        hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return cls(seconds=3600 * hours + 60 * minutes + seconds)

    @classmethod
    def of(cls, given: Budget | str | int) -> Budget:
        """The budget that a caller gives: a budget, its text, or a number of forward passes.

        Raises:
            InvalidInputError: `given` is none of these.
        """
        if isinstance(given, Budget):
            return given
        if isinstance(given, str):
            return cls.parse(given)
        if isinstance(given, int) and not isinstance(given, bool):
            return cls(passes=given)
        raise InvalidInputError(f"budget is {given!r}; {_EXPECTED}")

    @property
    def amount(self) -> float:
        """Seconds or passes."""
        return float(self.seconds if self.seconds is not None else self.passes or 0)

    def __repr__(self) -> str:
        given = {"seconds": self.seconds, "passes": self.passes}
        return f"Budget({', '.join(f'{name}={value!r}' for name, value in given.items() if value is not None)})"

    def __str__(self) -> str:
        return self.format(self.amount)

    def format(self, amount: float) -> str:
        """An amount in the budget's unit: `12 min`, `3,000 passes`."""
        return f"{amount:,.0f} passes" if self.seconds is None else duration(amount)


def round_sizes(rows: int, classes: int) -> list[int]:
    """Rows of the probes that candidates are shown one after another. Each has twice as many as the one before.

    >>> round_sizes(2000, 10), round_sizes(2000, 100), round_sizes(100, 2)
    ([250, 500, 1000, 2000], [500, 1000, 2000], [100])
    """
    least = max(LEAST_ROWS, ROWS_PER_CLASS * classes)
    sizes = [rows]
    while len(sizes) < MOST_ROUNDS and sizes[0] // 2 >= least:
        sizes.insert(0, sizes[0] // 2)
    return sizes
