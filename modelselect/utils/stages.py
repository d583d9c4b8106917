"""How far a stage of a run is: the candidates in work, their last steps, and how long the rest takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from modelselect.utils.measures import ACCURACY, Measure

_LARGEST_SHARE = 0.9
"""Of the work on one candidate, as long as it has not ended: estimators come after the last row."""

_TRAINED_BEFORE = 0.01
"""Seconds of an epoch below which it was trained by an earlier run, whose epochs are reported again, all at once."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far the work on one candidate is.

    Attributes:
        unit: what is counted, `rows` or `epoch`.
        done: how many of them are done.
        total: how many there are.
        note: what is known so far, such as `accuracy 71.2%`.
    """

    unit: str
    done: int
    total: int
    note: str = ""

    def __str__(self) -> str:
        return f"{self.unit} {self.done}/{self.total}" + (f", {self.note}" if self.note else "")


Report = Callable[[str, Step], None]
"""Takes a candidate's id, and how far the work on it is."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the work on one candidate ended.

    Attributes:
        text: the result or the reason of the failure.
        failed: whether there is no result.
        seconds: what it took; None for the time since its beginning.
        accuracy: the result of fine-tuning, if it is one; higher is better.
        measure: what it is.
    """

    text: str = ""
    failed: bool = False
    seconds: float | None = None
    accuracy: float | None = None
    measure: Measure = ACCURACY


@dataclass
class Work:
    """A candidate in work.

    Attributes:
        began: when the work began, on the clock of `time.monotonic`.
        step: how far it is; None before the first report.
        moved: when `step` was reported, on the same clock.
        pace: seconds that a unit took between the last two reports; None before the first.
    """

    began: float
    step: Step | None = None
    moved: float = 0.0
    pace: float | None = None

    def take(self, step: Step, now: float) -> None:
        """Takes a report."""
        before, since = (0, self.began) if self.step is None else (self.step.done, self.moved)
        if step.done > before:
            self.pace, self.moved = (now - since) / (step.done - before), now
        self.step = step

    @property
    def share(self) -> float:
        """The part of it that is done, from 0 to 1."""
        step = self.step
        return 0.0 if step is None or not step.total else min(step.done / step.total, _LARGEST_SHARE)

    def seconds_left(self, now: float) -> float | None:
        """What the rest of its epochs takes, if each takes as long as the last one; None before there is one."""
        step, pace = self.step, self.pace
        if step is None or step.unit != "epoch" or pace is None or pace < _TRAINED_BEFORE:
            return None
        return max(pace * (step.total - step.done) - (now - self.moved), 0.0)

    def text(self, now: float) -> str:
        """How far it is, and how long the rest takes, as far as that is known."""
        if self.step is None:
            return clock(now - self.began)
        left = self.seconds_left(now)
        return f"{self.step}" + ("" if left is None else f", {clock(left)} left")


@dataclass
class Stage:
    """A stage in work. `running` holds the candidates in work, by id."""

    what: str
    total: int
    began: float
    done: int = 0
    failed: int = 0
    expected: float | None = None
    running: dict[str, Work] = field(default_factory=dict)
    last: str = ""
    best: tuple[str, float, str] | None = None
    reasons: set[str] = field(default_factory=set)

    def seconds_left(self, now: float) -> float | None:
        """What the rest takes if it takes as long as what is done; before anything is done, what was expected, if any.

        If only candidates in work are left, and their epochs say how long these take, it is the longest of these times.
        """
        lefts = [work.seconds_left(now) for work in self.running.values()]
        known = [left for left in lefts if left is not None]
        if known and len(known) == len(lefts) == self.total - self.done:
            return max(known)
        done = self.done + sum(work.share for work in self.running.values())
        if not done and self.expected is not None:
            return max(self.began + self.expected - now, 0.0)
        return (now - self.began) * (self.total - done) / done if 0 < done <= self.total else None


def clock(seconds: float) -> str:
    """`0:01:05`."""
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}"
