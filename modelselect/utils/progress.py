"""Progress of a run: bars in a terminal and in a notebook, lines in a log; and records of the logger `modelselect`.

`Progress` keeps the state of the current stage. A view shows it: `Terminal`, `Notebook` or `Lines`, whichever suits
standard error.
"""

from __future__ import annotations

import contextlib
import contextvars
import html
import importlib
import json
import logging
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from modelselect.utils.measures import ACCURACY, Measure
from modelselect.utils.text import duration, plain_text, printable

if TYPE_CHECKING:
    from rich.console import RenderableType

LOGGER = logging.getLogger("modelselect")
"""The parent of all loggers of modelselect. A library shows no records by itself."""

LOGGER.addHandler(logging.NullHandler())

REFRESH_SECONDS = 0.25
"""Seconds between two reports of a worker process, and between two looks at them."""

LINE_SECONDS = 1.0
"""Seconds between two lines in a log, once there are many: 10,000 quick candidates do not make 10,000 lines."""

LINES_AT_ONCE = 50
"""Lines that a log may get at once."""

SILENCE_SECONDS = 60.0
"""Seconds after which a log gets a line on the candidate that is being processed."""

SHOWN_AT_ONCE = 4
"""Number of candidates in work that get a line of their own."""

LONGEST_REASON = 300
"""Characters of a failure's reason in a line; the leaderboard has all of them."""

SAME_REASON = 60
"""Characters in which two reasons agree that count as one; what follows may name the candidate."""

_LARGEST_SHARE = 0.9
"""Of the work on one candidate, as long as it has not ended: estimators come after the last row."""

_TRAINED_BEFORE = 0.01
"""Seconds of an epoch below which it was trained by an earlier run, whose epochs are reported again, all at once."""

_NARROWEST_BAR, _WIDEST_BAR = 10, 24
_NOTEBOOK_WIDTH = 100
_FORMAT = "%Y-%m-%d %H:%M:%S"


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
class _Work:
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
            return _clock(now - self.began)
        left = self.seconds_left(now)
        return f"{self.step}" + ("" if left is None else f", {_clock(left)} left")


@dataclass
class _Stage:
    """A stage in work. `running` holds the candidates in work, by id."""

    what: str
    total: int
    began: float
    done: int = 0
    failed: int = 0
    expected: float | None = None
    running: dict[str, _Work] = field(default_factory=dict)
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
        self._stage: _Stage | None = None
        self._expected: dict[str, float] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._view = _view() if wanted else None

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
        stage = _Stage(what, total, time.monotonic(), expected=self._expected.pop(what, None))
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
            self._line(f"{what}: {stage.done} of {total} in {_clock(seconds)}{failures}", always=True)

    def reports(self, isolated: bool) -> Report | None:
        """What to call with each step of a candidate's work, in this process or (isolated) in another one."""
        if not isolated:
            return self.step
        if self._view is None:
            return None
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="modelselect-progress-")
        return StepFiles(Path(self._folder.name))

    def step(self, candidate: str, step: Step) -> None:
        """Takes a report about a candidate in work."""
        with self._lock:
            stage = self._stage
            if stage is None:
                return
            now = time.monotonic()
            stage.running.setdefault(candidate, _Work(now)).take(step, now)
        if step.unit == "epoch":
            LOGGER.debug("%s: %s, %s", stage.what, self.name_of(candidate), step)

    def say(self, text: str) -> None:
        """A log record; shown above the bars if the program shows no records of level INFO."""
        LOGGER.info(text)
        if self._view is not None and not LOGGER.isEnabledFor(logging.INFO):
            self._view.say(text)

    def begin(self, stage: _Stage, candidate: str) -> None:
        """See `Track`."""
        with self._lock:
            stage.running[candidate] = _Work(time.monotonic())

    def end(self, stage: _Stage, candidate: str, ended: Ended) -> None:
        """See `Track`."""
        name, now = self.name_of(candidate), time.monotonic()
        with self._lock:
            work = stage.running.pop(candidate, _Work(now))
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
            return _Bars(stage, {key: self.name_of(key) for key in list(stage.running)[:SHOWN_AT_ONCE]})


class Track:
    """What a stage calls: `begin(id)` when the work on a candidate begins, and itself with the id when it ends."""

    def __init__(self, progress: Progress, stage: _Stage) -> None:
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


def _clear(folder: tempfile.TemporaryDirectory[str] | None) -> None:
    """Removes the steps of an earlier stage: another worker may have taken them."""
    for file in () if folder is None else Path(folder.name).glob("*.json"):
        file.unlink(missing_ok=True)


def _read(folder: tempfile.TemporaryDirectory[str] | None) -> Iterator[tuple[str, Step]]:
    for file in () if folder is None else Path(folder.name).glob("*.json"):
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(file.read_text(encoding="utf-8"))
            yield known.pop("candidate"), Step(**known)


# --- how it looks ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Bars:
    """A bar for the stage, and one for each candidate in work, as wide as the console."""

    stage: _Stage
    names: Mapping[str, str]

    def __rich_console__(self, console: Any, options: Any) -> Iterator[RenderableType]:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        stage, now = self.stage, time.monotonic()
        left = stage.seconds_left(now)
        failed = f"  {stage.failed} failed" if stage.failed else ""
        remaining = "" if left is None else f"  {_clock(left)} left"
        rows: list[tuple[str, int, int, str]] = [
            (stage.what, stage.done, stage.total, f"{stage.done}/{stage.total}  {_clock(now - stage.began)}{remaining}")
        ]
        width = options.max_width - 2
        working = [(name, stage.running.get(key, _Work(now))) for key, name in self.names.items()]
        texts = [work.text(now) for _, work in working]
        names = max((2 + len(name) for name, _ in working), default=0)
        if names + max(map(len, texts), default=0) + _NARROWEST_BAR > width:  # a name is worth more than a time
            texts = [_clock(now - work.began) if work.step is None else str(work.step) for _, work in working]
        for (name, work), text in zip(working, texts, strict=True):
            done, total = (0, 0) if work.step is None else (work.step.done, work.step.total)
            rows.append((f"  {printable(name)}", done, total, text))
        states = max(len(row[3]) for row in rows)
        named = max(min(max(len(row[0]) for row in rows), width - states - _NARROWEST_BAR), width // 5)
        bar = max(min(width - named - states, _WIDEST_BAR), _NARROWEST_BAR)
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=named, no_wrap=True, overflow="ellipsis")
        grid.add_column(width=bar, no_wrap=True)
        grid.add_column(width=max(width - named - bar, 1), no_wrap=True, overflow="ellipsis")
        for name, done, total, text in rows:
            drawn = ProgressBar(total=total, completed=done, width=bar) if total else Text("")
            grid.add_row(Text(name), drawn, Text(text))
        yield grid
        best = "" if stage.best is None else f"  best so far: {stage.best[0]}, {stage.best[2]}"
        for line in filter(None, (best or (stage.last and f"  last: {stage.last}"), failed)):
            yield Text(line, style="dim", no_wrap=True, overflow="ellipsis")


def _clock(seconds: float) -> str:
    """`0:01:05`."""
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}"


class _View(Protocol):
    """Where progress is shown."""

    def start(self, render: Callable[[], RenderableType]) -> None:
        """Begins to show what `render` returns."""

    def stop(self) -> None:
        """Leaves nothing half drawn."""

    def line(self, text: str, always: bool) -> None:
        """A candidate has ended, or (always) a stage."""

    def say(self, text: str) -> None:
        """Shows a message."""


def _view() -> _View:
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_jupyter:
        return Notebook()
    return Terminal(console) if console.is_terminal else Lines()


class Terminal:
    """Bars that are drawn again and again, and removed at the end. What others print appears above them."""

    def __init__(self, console: Any) -> None:
        self._console = console
        self._live: Any = None

    def start(self, render: Callable[[], RenderableType]) -> None:
        from rich.live import Live

        self._live = Live(get_renderable=render, console=self._console, transient=True, refresh_per_second=4)
        self._live.start()

    def stop(self) -> None:
        if self._live is not None:
            self._live.stop()

    def line(self, text: str, always: bool) -> None:
        """The bars show it."""

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class _Ticking:
    """Calls `tick` again and again, in a thread that ends with the run."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, tick: Callable[[], None], period: float) -> None:
        def run() -> None:
            while not self._over.wait(period):
                tick()

        context = contextvars.copy_context()  # a notebook's kernel finds the cell of an output there
        self._thread = threading.Thread(target=context.run, args=(run,), name="modelselect-progress", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()


class Notebook:
    """One output below the cell, which changes. It takes nothing that IPython does not bring."""

    def __init__(self) -> None:
        self._ticking = _Ticking()
        self._shown = ""
        self._ended: list[str] = []

    def start(self, render: Callable[[], RenderableType]) -> None:
        display: Any = importlib.import_module("IPython.display").display
        self._render = render
        self._handle = display(_as_output(" "), raw=True, display_id=True)
        self._ticking.begin(self._show, REFRESH_SECONDS)

    def stop(self) -> None:
        self._ticking.end()
        self._show()

    def line(self, text: str, always: bool) -> None:
        if always:
            self._ended.append(text)

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def _show(self) -> None:
        text = "\n".join([*self._ended, plain_text(self._render(), _NOTEBOOK_WIDTH)]).rstrip()
        if text != self._shown:
            self._shown = text
            self._handle.update(_as_output(text or " "), raw=True)


def _as_output(text: str) -> dict[str, str]:
    return {"text/plain": text, "text/html": f"<pre>{html.escape(text)}</pre>"}


class Lines:
    """Lines on standard error, with the date and the time."""

    def __init__(self) -> None:
        self._ticking = _Ticking()
        self._last = self._counted = time.monotonic()
        self._allowed = float(LINES_AT_ONCE)
        self._lock = threading.Lock()

    def start(self, render: Callable[[], RenderableType]) -> None:
        self._render = render
        self._ticking.begin(self._break_silence, LINE_SECONDS)

    def stop(self) -> None:
        self._ticking.end()

    def line(self, text: str, always: bool) -> None:
        now = time.monotonic()
        self._allowed = min(self._allowed + (now - self._counted) / LINE_SECONDS, LINES_AT_ONCE)
        self._counted = now
        if always or self._allowed >= 1:
            self._allowed -= 1
            self.say(text)

    def say(self, text: str) -> None:
        if LOGGER.isEnabledFor(logging.INFO):
            return  # it was written there
        with self._lock, contextlib.suppress(OSError, ValueError):  # a stream that is closed costs the line only
            self._last = time.monotonic()
            print(time.strftime(_FORMAT), text, file=sys.stderr, flush=True)

    def _break_silence(self) -> None:
        if time.monotonic() - self._last < SILENCE_SECONDS:
            return
        shown = self._render()
        if isinstance(shown, _Bars):
            stage = shown.stage
            for candidate, name in shown.names.items():
                now = time.monotonic()
                work = stage.running.get(candidate, _Work(now))
                far = f"{_clock(now - work.began)} so far" if work.step is None else work.text(now)
                self.say(f"{stage.what} {stage.done + 1}/{stage.total}: {printable(name)}, {far}")
