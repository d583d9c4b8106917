"""A budget of time, money or forward passes: what it is, what is left of it, and whether the order is decided."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from modelselect.candidates import Candidate
from modelselect.errors import InvalidInputError
from modelselect.estimator import Vector

DEFAULT_CONFIDENCE = 0.9
"""From this probability on a first place counts as decided."""

DECISION_RESAMPLES = 20
"""Resamples in each round where the caller asks for none: a standard deviation of 20 is known to a sixth."""

MOST_ROUNDS = 4
"""The first of them sees an eighth of the probe."""

ROWS_PER_CLASS = 5
LEAST_ROWS = 60
"""The first round sees at least that many: fewer rows decide nothing."""

VERIFICATION_SHARE = 0.5
"""Of the budget, kept for fine-tuning where that is asked for; what scoring does not use goes to it as well."""

TRAINING_PASSES = 3
"""Forward passes that training on a row is worth: the backward pass takes about two."""

LEAST_EPOCHS = 3
LEAST_SHARE_OF_EPOCHS = 0.25
"""Fine-tuning for less than both says too little to be worth it; fewer candidates are fine-tuned instead."""

_DRAWS = 4000
"""Of the scores that another probe might give. A probability of 1% is known to a sixth of itself."""

_DURATION = re.compile(
    r"(?:(\d+(?:\.\d+)?)\s*h(?:ours?)?)?\s*(?:(\d+(?:\.\d+)?)\s*m(?:in(?:utes?)?)?)?\s*"
    r"(?:(\d+(?:\.\d+)?)\s*s(?:ec(?:onds?)?)?)?"
)
_PASSES = re.compile(r"(\d[\d_,]*)\s*(?:forward\s+)?passes")
_MONEY = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]{3}|€|\$)\s+at\s+(\d+(?:\.\d+)?)\s*([A-Za-z]{3}|€|\$)\s*/\s*h")

_EXPECTED = (
    "expected a time ('20m', '1h30m', '90s'), forward passes ('50000 passes', or 50000), or money "
    "('3 EUR at 1.20 EUR/h')"
)


@dataclass(frozen=True)
class Budget:
    """What a run may take: seconds of wall time, or forward passes (one row through one candidate).

    Attributes:
        seconds: or None.
        passes: or None; exactly one of the two is given.

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
            raise InvalidInputError(f"{self!r} is no budget; give seconds or passes, one of them")
        if not given[0] > 0 or not math.isfinite(given[0]):
            raise InvalidInputError(f"{self!r} is no budget; expected more than 0")

    @classmethod
    def parse(cls, text: str) -> Budget:
        """The budget that a text such as `20m` means.

        Raises:
            InvalidInputError: it cannot be read.

        >>> Budget.parse("20 min") == Budget.parse("20 minutes"), Budget.parse("1 hour 30 seconds")
        (True, Budget(seconds=3630.0))
        """
        stripped = text.strip()
        if match := _PASSES.fullmatch(stripped):
            return cls(passes=int(re.sub("[_,]", "", match[1])))
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
        """What a caller means: a budget, its text, or a number of forward passes.

        Raises:
            InvalidInputError: it is none of these.
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
        return self.told(self.amount)

    def told(self, amount: float) -> str:
        """An amount in its unit: `12 min`, `3,000 passes`."""
        return f"{amount:,.0f} passes" if self.seconds is None else duration(amount)


def check_confidence(confidence: float) -> None:
    """Raises InvalidInputError where it is no probability that something can reach."""
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0.5 <= confidence < 1:
        raise InvalidInputError(f"confidence is {confidence!r}; expected a probability of at least 0.5 and below 1")


class Meter:
    """How much of a budget is spent.

    Args:
        budget: to be kept.
        clock: gives seconds; what has passed since the meter was made counts.
    """

    def __init__(self, budget: Budget, clock: Callable[[], float] = time.monotonic) -> None:
        self.budget = budget
        self.passes = 0
        self._clock = clock
        self._begun = clock()

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return self._clock() - self._begun

    @property
    def left(self) -> float:
        """In the budget's unit; below 0 where it was overrun."""
        return self.budget.amount - (self.passes if self.budget.seconds is None else self.seconds)


class Gate:
    """Lets candidates begin, in the order given, as long as what they are going to take is left; then nobody else.

    Args:
        meter: of the budget.
        keep: what has to be left after them all, in the budget's unit.
        workers: candidates that are at work at a time.

    >>> meter = Meter(Budget(passes=250))
    >>> gate = Gate(meter)
    >>> names = [Candidate("shelf", name) for name in "abc"]
    >>> [candidate.name for candidate in gate.admit(names, lambda candidate: 100)]
    ['a', 'b']
    >>> gate.refused
    100
    """

    def __init__(self, meter: Meter, keep: float = 0.0, workers: int = 1) -> None:
        self._meter, self._keep, self._workers = meter, keep, workers
        self._under_way: dict[str, float] = {}
        self.refused: float | None = None
        """What the first one that was not let in would have taken."""

    def admit(self, candidates: Iterable[Candidate], price: Callable[[Candidate], float]) -> Iterator[Candidate]:
        """Those that may begin. Each is asked about when it is its turn, with what is left then."""
        for candidate in candidates:
            wanted = price(candidate)
            under_way = sum(self._under_way.values())
            if self._meter.budget.seconds is not None:
                under_way /= self._workers
            if under_way + wanted > self._meter.left - self._keep:
                self.refused = wanted
                return
            self._under_way[candidate.id] = wanted
            yield candidate

    def ended(self, candidate: Candidate) -> float:
        """To be called when a candidate's work is done; what it was expected to take."""
        return self._under_way.pop(candidate.id)


def round_sizes(rows: int, classes: int) -> list[int]:
    """Rows of the probes that candidates are shown one after another: each twice the one before, the last all.

    >>> round_sizes(2000, 10), round_sizes(2000, 100), round_sizes(100, 2)
    ([250, 500, 1000, 2000], [500, 1000, 2000], [100])
    """
    least = max(LEAST_ROWS, ROWS_PER_CLASS * classes)
    sizes = [rows]
    while len(sizes) < MOST_ROUNDS and sizes[0] // 2 >= least:
        sizes.insert(0, sizes[0] // 2)
    return sizes


@dataclass(frozen=True)
class Chances:
    """How probable it is, with all that is known, that candidates keep their places.

    Attributes:
        best: (n,) that the candidate is the best.
        among: (n,) that it is among the best k.
        decided: that the best k are those that lead now, in whatever order.
    """

    best: Vector
    among: Vector
    decided: float


def chances(totals: ArrayLike, replicates: ArrayLike, halved: ArrayLike, places: int, seed: int = 0) -> Chances:
    """Chances by the normal distribution: the order moves with the choice of rows, and with their number.

    How far the choice of rows moves scores, and which move together, the replicates tell. How far the number of rows
    moves them besides is told by the scores on half of the rows: by how much more than their choice explains the order
    changed when rows were doubled, it may change again.

    Args:
        totals: (n,) scores; NaN for a candidate that has none, and no chance.
        replicates: (B, n) totals on other probes of this size; a column of NaN where nothing is known, which is taken
            for as uncertain as the most uncertain.
        halved: (n,) totals on half of the rows; NaN where there is none.
        places: k.
        seed: of the draws.

    >>> found = chances([1.0, 0.9, 0.0], [[1.1, 0.8, 0.0], [0.9, 1.0, 0.0]], [1.0, 0.9, 0.0], places=1)
    >>> found.best.round(1).tolist()
    [0.6, 0.4, 0.0]
    """
    totals, replicates, halved = (np.asarray(given, np.float64) for given in (totals, replicates, halved))
    there = ~np.isnan(totals)
    n, draws = len(totals), len(replicates)
    rng = np.random.default_rng([seed, n])
    moved = np.full((_DRAWS, n), -np.inf)
    spread = replicates - replicates.mean(axis=0) if draws > 1 else np.full((2, n), np.nan)
    deviations = spread.std(axis=0, ddof=1)
    told = there & ~np.isnan(deviations)
    width = float(np.ptp(totals[there])) if there.any() else 0.0
    unknown = float(deviations[told].max()) if told.any() else width
    noise = rng.normal(size=(_DRAWS, len(spread))) @ np.where(told, spread, 0.0) / math.sqrt(len(spread) - 1)
    extra = np.where(told, 0.0, unknown) ** 2 + _excess(totals, spread, halved, told)
    jitter = 1e-9 * (width or 1.0)  # equals share their places
    noise += np.sqrt(extra + jitter**2) * rng.normal(size=(_DRAWS, n))
    moved[:, there] = (totals + noise)[:, there]
    order = np.argsort(-moved, axis=1)
    k = min(places, n)
    in_first = np.zeros((_DRAWS, n), np.bool_)
    np.put_along_axis(in_first, order[:, :k], True, axis=1)
    in_first &= there
    now = np.argsort(-np.where(there, totals, -np.inf), kind="stable")[: min(places, int(there.sum()))]
    return Chances(
        best=np.bincount(order[:, 0], minlength=n) / _DRAWS * there if n else np.zeros(0),
        among=in_first.mean(axis=0),
        decided=float(in_first[:, now].all(axis=1).mean()),
    )


def _excess(totals: Vector, spread: Vector, halved: Vector, told: Any) -> float:
    """Variance by which totals moved from half of the rows to all, beyond what the choice of rows explains.

    Between a half of m rows and all of them a mean moves with a variance of 1/(m/2) - 1/m = 1/m of a row's: as much as
    that of the mean itself. What all candidates moved together does not change their order.
    """
    both = told & ~np.isnan(halved)
    if both.sum() < 2:
        return 0.0
    change = (totals - halved)[both]
    own = spread[:, both] - spread[:, both].mean(axis=1, keepdims=True)
    return max(0.0, float(np.var(change, ddof=1) - own.var(axis=0, ddof=1).mean()))


def hopeless(among: Vector, risk: float, keep: int) -> list[int]:
    """Which candidates may go: the least probable, as long as all of them together have less than `risk`.

    Args:
        among: (n,) probabilities.
        risk: that one of them would have had a place after all.
        keep: so many are kept at least.

    >>> hopeless(np.array([0.97, 0.02, 0.004, 0.006]), risk=0.02, keep=1)
    [2, 3]
    """
    order = np.argsort(among, kind="stable")[: max(len(among) - keep, 0)]
    return sorted(order[np.cumsum(among[order]) <= risk].tolist())


def duration(seconds: float | None) -> str:
    """`4 s`, `3 min`, `2.5 h`.

    >>> duration(200.0)
    '3 min'
    """
    if seconds is None:
        return "unknown"
    if seconds < 100:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def told(record: Mapping[str, Any]) -> list[str]:
    """What was done with a budget, from a leaderboard's provenance: a line for each stage, and what was spent."""
    lines = []
    for stage in record["stages"]:
        rows = f" on {stage['rows']} rows" if stage.get("rows") else ""
        took = duration(stage["seconds"])
        lines.append(f"{stage['stage']}{rows}: {stage['candidates']} candidates, {took}; {stage['decision']}")
    spent = f"{duration(record['spent']['seconds'])} and {record['spent']['passes']:,} forward passes"
    return [f"budget of {record['asked']}: took {spent}", *lines]
