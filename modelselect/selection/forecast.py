"""What scoring under a budget will cost."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from modelselect.budget.budget import VERIFICATION_SHARE, Budget
from modelselect.candidates.candidate import Candidate
from modelselect.evaluation.results import Preview, ScoringResult
from modelselect.evaluation.timing import decode_seconds, macs_per_second
from modelselect.probe.probe import Probe
from modelselect.utils.text import two_digits

TRACING_SHARE = 0.1
"""Maximum share of the budget for tracing, which counts the multiply-accumulates of each candidate."""


@dataclass(frozen=True)
class PlannedRound:
    """A round, as planned before the first one begins.

    Attributes:
        rows: number of rows of the round's probe.
        candidates: number of candidates, if half of them are eliminated after each round.
        passes: number of forward passes.
        seconds: the time for these; None if no candidate's multiply-accumulates are known.
    """

    rows: int
    candidates: int
    passes: int
    seconds: float | None


def plan_rounds(
    sizes: Sequence[int],
    row_seconds: Sequence[float | None],
    budget: Budget,
    places: int,
    keep: float,
    spare: int = 1,
) -> tuple[PlannedRound, ...]:
    """The rounds that a budget pays for, if half of the candidates are eliminated after each.

    Args:
        sizes: numbers of rows of the probes.
        row_seconds: for each candidate, the time to decode a row and pass it forward; 0 if its evidence is in the
            store, None if unknown.
        budget: the budget for all rounds.
        places: number of places to decide. A round with no more candidates than places decides nothing.
        keep: what is reserved for fine-tuning, in the budget's unit.
        spare: candidates that go on besides those for the places, at least.

    >>> plan_rounds([100, 200], [0.01, 0.01, 0.03, None], Budget(passes=650), places=1, keep=0)[-1]
    PlannedRound(rows=200, candidates=2, passes=200, seconds=3.3333333333333335)
    """
    known = [seconds for seconds in row_seconds if seconds is not None]
    mean = statistics.fmean(known) if known else None
    new = sum(seconds != 0 for seconds in row_seconds) / max(len(row_seconds), 1)
    left = budget.amount - keep
    rounds: list[PlannedRound] = []
    candidates, seen = len(row_seconds), 0
    for rows in sizes:
        each = (rows - seen) * new if budget.seconds is None else (rows - seen) * (mean or 0.0)
        affordable = candidates if each == 0 else min(candidates, int(left / each))
        if affordable <= (places if rounds else 0):
            break
        passes = round(affordable * (rows - seen) * new)
        seconds = None if mean is None else affordable * (rows - seen) * mean
        rounds.append(PlannedRound(rows, affordable, passes, seconds))
        left -= affordable * each
        candidates, seen = max(math.ceil(affordable / 2), min(places + spare, affordable)), rows
    return tuple(rounds)


def kept_for_verification(budget: Budget, fine_tunes: bool) -> float:
    """The part of a budget that scoring does not use, if any candidate is fine-tuned."""
    return VERIFICATION_SHARE * budget.amount if fine_tunes else 0.0


def smallest_budget(budget: Budget, price: float, fine_tunes: bool) -> int:
    """The smallest amount that scores all candidates in a first round, in the unit of this budget, rounded up.

    Args:
        budget: gives the unit.
        price: what scoring all candidates takes.
        fine_tunes: whether a part of the budget is kept for fine-tuning.

    >>> smallest_budget(Budget(passes=30), 720, fine_tunes=True), smallest_budget(Budget(seconds=1), 11.8, False)
    (1440, 12)
    """
    enough = price / (1 - VERIFICATION_SHARE if fine_tunes else 1)
    return two_digits(enough) if budget.seconds is not None else math.ceil(enough)


@dataclass
class Forecast:
    """What scoring a candidate takes of a budget: calculated from multiply-accumulates until it has been measured.

    Attributes:
        budget: gives the unit of prices.
        macs_per_second: the device's speed.
        decoding: seconds for a row.
        scoring: seconds in which all estimators score a candidate in the first round, resamples included.
    """

    budget: Budget
    macs_per_second: float = 0.0
    decoding: float = 0.0
    scoring: float = 0.0
    _measured: dict[str, tuple[ScoringResult, int]] = field(default_factory=dict)
    _calculated: float = 0.0
    _taken: float = 0.0

    @classmethod
    def of(cls, budget: Budget, probe: Probe, device: str) -> Forecast:
        """Measures the device and the decoding if the budget is a time."""
        if budget.seconds is None:
            return cls(budget)
        return cls(budget, macs_per_second(device), decode_seconds(probe) / len(probe))

    def row_seconds(self, macs: float | None) -> float:
        """The calculated time to decode a row and pass it forward."""
        return 0.0 if macs is None or not self.macs_per_second else macs / self.macs_per_second + self.decoding

    def price(self, candidate: Candidate, preview: Preview, rows: int, typical_macs: float | None) -> float:
        """What scoring a candidate on this number of rows will take."""
        if self.budget.seconds is None:
            return preview.passes
        if candidate.id not in self._measured:
            slower = self._taken / self._calculated if self._calculated else 1.0
            return slower * self._calculate(preview, preview.macs or typical_macs)
        before, rows_before = self._measured[candidate.id]
        rest = max(before.elapsed_seconds - before.forward_seconds, 0.0)  # loading, scores and resamples
        return (before.extraction_seconds * preview.passes + rest * rows) / rows_before

    def learn(self, candidate: Candidate, result: ScoringResult, rows: int, preview: Preview) -> None:
        """Takes note of what scoring the candidate took."""
        if candidate.id not in self._measured and (calculated := self._calculate(preview, preview.macs)):
            self._calculated += calculated
            self._taken += result.elapsed_seconds
        self._measured[candidate.id] = result, rows

    def _calculate(self, preview: Preview, macs: float | None) -> float:
        """Seconds for the forward passes and the scores."""
        return preview.passes * self.row_seconds(macs) + (0.0 if preview.scored else self.scoring)


def median_macs(macs: Iterable[int | None]) -> float | None:
    known = [each for each in macs if each is not None]
    return statistics.median(known) if known else None
