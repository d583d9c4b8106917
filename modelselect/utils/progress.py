"""Progress of a run: bars in a terminal and in a notebook, lines in a log; and records of the logger `modelselect`.

`Progress` keeps the state of the current stage, and a view of `modelselect.utils.views` shows it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, ClassVar

from modelselect.utils.stages import Ended, Report, Stage, Step, Work, clock
from modelselect.utils.text import duration, printable
from modelselect.utils.views import LOGGER, REFRESH_SECONDS, Bars, view

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN_AT_ONCE = 4
"""Number of candidates in work that get a line of their own."""

LONGEST_REASON = 300
"""Characters of a failure's reason in a line; the leaderboard has all of them."""

_PREFIX = "modelselect-progress-"
"""Of the names of folders in which worker processes keep their steps."""

_LEFT_AFTER = 86_400.0
"""Seconds without a step after which such a folder is that of a killed run."""

SAME_REASON = 60
"""Characters in which two reasons agree that count as one; what follows may name the candidate."""


class Progress:
    """Shows how far a run is, on standard error; standard output is left to the result.

    A terminal and a notebook get bars. Otherwise, each candidate that ends gets a line; of many candidates, at most one
    a second. If the program shows log records of level INFO, these are the lines.

    Args:
        wanted: False shows nothing. Log records are written all the same.
        names: the names to show, by candidate id. Other candidates are shown by their ids.
    """

    def __init__(self, wanted: bool, names: Mapping[str, str] = MappingProxyType({})) -> None:
        self._names = names
        self._lock = threading.RLock()
        self._stage: Stage | None = None
        self._expected: dict[str, float] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._view = view() if wanted else None

    def __enter__(self) -> Progress:
        if self._view is not None:
            self._view.start(self._rendered)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stage = None
        if self._view is not None:
            self._view.stop()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def expect(self, what: str, seconds: float) -> None:
        """Notes how long a stage that is to come is expected to take."""
        if seconds > 0:
            self._expected[what] = seconds

    @contextlib.contextmanager
    def candidates(self, what: str, total: int) -> Iterator[Track]:
        """A stage over this number of candidates; yields what to call when the work on one begins or ends."""
        stage = Stage(what, total, time.monotonic(), expected=self._expected.pop(what, None))
        with self._lock:
            _clear(self._folder)
            self._stage = stage
        if total:
            about = "" if stage.expected is None else f", about {duration(stage.expected)}"
            self._line(f"{what}: {total} candidate{'' if total == 1 else 's'}{about}", always=True)
        try:
            yield Track(self, stage)
        finally:
            with self._lock:
                self._stage = None
        if total:
            seconds, failures = time.monotonic() - stage.began, f", {stage.failed} failed" if stage.failed else ""
            self._line(f"{what}: {stage.done} of {total} in {clock(seconds)}{failures}", always=True)

    def reports(self, isolated: bool) -> Report | None:
        """What to call with each step of a candidate's work, in this process or (isolated) in another one."""
        if not isolated:
            return self.step
        if self._view is None:
            return None
        if self._folder is None:
            _remove_left(Path(tempfile.gettempdir()))
            self._folder = tempfile.TemporaryDirectory(prefix=_PREFIX)
        return StepFiles(Path(self._folder.name))

    def step(self, candidate: str, step: Step) -> None:
        """Takes a report about a candidate in work."""
        with self._lock:
            stage = self._stage
            if stage is None:
                return
            now = time.monotonic()
            stage.running.setdefault(candidate, Work(now)).take(step, now)
        if step.unit == "epoch":
            LOGGER.debug("%s: %s, %s", stage.what, self.name_of(candidate), step)

    def say(self, text: str) -> None:
        """A log record; shown above the bars if the program shows no records of level INFO."""
        LOGGER.info(text)
        if self._view is not None and not LOGGER.isEnabledFor(logging.INFO):
            self._view.say(text)

    def begin(self, stage: Stage, candidate: str) -> None:
        """See `Track`."""
        with self._lock:
            stage.running[candidate] = Work(time.monotonic())

    def end(self, stage: Stage, candidate: str, ended: Ended) -> None:
        """See `Track`."""
        name, now = self.name_of(candidate), time.monotonic()
        with self._lock:
            work = stage.running.pop(candidate, Work(now))
            stage.done += 1
            stage.failed += ended.failed
            if ended.accuracy is not None and (stage.best is None or ended.accuracy > stage.best[1]):
                stage.best = name, ended.accuracy, ended.measure.text(ended.accuracy)
            seconds = now - work.began if ended.seconds is None else ended.seconds
            text = ended.text if len(ended.text) <= LONGEST_REASON else f"{ended.text[: LONGEST_REASON - 1]}…"
            if ended.failed:
                reason = ended.text[:SAME_REASON]
                text = "failed for the same reason as another one" if reason in stage.reasons else text
                stage.reasons.add(reason)
            stage.last = line = printable(f"{name}, {seconds:.1f} s" + (f", {text}" if text else ""))
        self._line(f"{stage.what} {stage.done}/{stage.total}: {line}")

    def name_of(self, candidate: str) -> str:
        return self._names.get(candidate, candidate)

    def _line(self, text: str, *, always: bool = False) -> None:
        LOGGER.info(text)
        if self._view is not None:
            self._view.line(text, always)

    def _rendered(self) -> RenderableType:
        with self._lock:
            stage = self._stage
            if stage is None:
                return ""
            for candidate, step in _read(self._folder):
                if candidate in stage.running:
                    stage.running[candidate].take(step, time.monotonic())
            return Bars(stage, {key: self.name_of(key) for key in list(stage.running)[:SHOWN_AT_ONCE]})


class Track:
    """What a stage calls: `begin(id)` when the work on a candidate begins, and itself with the id when it ends."""

    def __init__(self, progress: Progress, stage: Stage) -> None:
        self._progress, self._stage = progress, stage

    def begin(self, candidate: str) -> None:
        self._progress.begin(self._stage, candidate)

    def __call__(self, candidate: str, ended: Ended | None = None) -> None:
        self._progress.end(self._stage, candidate, ended or Ended())


class StepFiles:
    """A `Report` for worker processes: each keeps its last step in a file, which the main process reads.

    Attributes:
        relay: on another machine, takes this object, the worker's name, the candidate and the step to the main process,
            which calls `write` with them. An executor that has such machines sets it there; None: such steps are lost.
    """

    relay: ClassVar[Callable[[StepFiles, str, str, Step], None] | None] = None

    def __init__(self, folder: Path) -> None:
        self._folder, self._written, self._machine = folder, 0.0, socket.gethostname()

    def __call__(self, candidate: str, step: Step) -> None:
        now = time.monotonic()
        if step.unit == "rows" and now - self._written < REFRESH_SECONDS:
            return
        self._written = now
        if (machine := socket.gethostname()) == self._machine:
            self.write(str(os.getpid()), candidate, step)
        elif (relay := type(self).relay) is not None:
            relay(self, f"{machine}-{os.getpid()}", candidate, step)

    def write(self, worker: str, candidate: str, step: Step) -> None:
        """Keeps the last step of the worker of this name."""
        own = self._folder / worker
        with contextlib.suppress(OSError):  # the run has ended
            new, kept = own.with_name(f"{own.name}.new"), own.with_name(f"{own.name}.json")
            new.write_text(json.dumps({"candidate": candidate, **asdict(step)}), encoding="utf-8")
            new.replace(kept)


def _remove_left(parent: Path) -> None:
    """Removes the folders of steps that killed runs left. At worst, a run without a step for a day loses its bars."""
    for left in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _LEFT_AFTER:
                shutil.rmtree(left, ignore_errors=True)


def _clear(folder: tempfile.TemporaryDirectory[str] | None) -> None:
    """Removes the steps of an earlier stage: another worker may have taken them."""
    for file in () if folder is None else Path(folder.name).glob("*.json"):
        with contextlib.suppress(OSError):
            file.unlink()


def _read(folder: tempfile.TemporaryDirectory[str] | None) -> Iterator[tuple[str, Step]]:
    for file in () if folder is None else Path(folder.name).glob("*.json"):
        with contextlib.suppress(Exception):  # a file that was damaged, whatever is in it now
            known = json.loads(file.read_bytes())
            step = Step(str(known["unit"]), int(known["done"]), int(known["total"]), str(known["note"]))
            yield str(known["candidate"]), step
