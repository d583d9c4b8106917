"""What is left of a budget, and which candidates may begin under it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from modelselect.budget.budget import Budget
from modelselect.candidates.candidate import Candidate


class Meter:
    """How much of a budget is spent.

    Args:
        budget: the budget.
        clock: returns seconds. The time counts from the creation of the meter, or from the last `begin()`.
    """

    def __init__(self, budget: Budget, clock: Callable[[], float] = time.monotonic) -> None:
        self.budget = budget
        self.passes = 0
        self._clock = clock
        self._begun = clock()

    def begin(self) -> None:
        """The time counts from now: what was imported, read and measured before is no part of it."""
        self._begun = self._clock()

    @property
    def seconds(self) -> float:
        """Seconds since the time counts."""
        return self._clock() - self._begun

    @property
    def left(self) -> float:
        """What is left, in the budget's unit; below 0 after an overrun."""
        return self.budget.amount - (self.passes if self.budget.seconds is None else self.seconds)


class Gate:
    """Lets candidates begin, in the order given, while the budget pays for them; after the first refusal, none.

    Args:
        meter: says what is left of the budget.
        keep: what must be left after all of them, in the budget's unit.
        workers: number of candidates that run at a time.

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
        """What the first refused candidate would have taken; None if none was refused."""

    def admit(self, candidates: Iterable[Candidate], price: Callable[[Candidate], float]) -> Iterator[Candidate]:
        """The candidates that may begin. At its turn, a candidate's price is asked and compared with what is left."""
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
        """Called when a candidate is done. Returns what it was expected to take."""
        return self._under_way.pop(candidate.id)
