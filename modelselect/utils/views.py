"""How progress is shown on standard error: `Terminal`, `Notebook` or `Lines`, whichever suits it."""

from __future__ import annotations

import contextlib
import contextvars
import html
import importlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from modelselect.utils.stages import Stage, Work, clock
from modelselect.utils.text import plain_text, printable

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

_NARROWEST_BAR, _WIDEST_BAR = 10, 24

_NOTEBOOK_WIDTH = 100

_FORMAT = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True)
class Bars:
    """A bar for the stage, and one for each candidate in work, as wide as the console."""

    stage: Stage
    names: Mapping[str, str]

    def __rich_console__(self, console: Any, options: Any) -> Iterator[RenderableType]:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        stage, now = self.stage, time.monotonic()
        left = stage.seconds_left(now)
        failed = f"  {stage.failed} failed" if stage.failed else ""
        remaining = "" if left is None else f"  {clock(left)} left"
        rows: list[tuple[str, int, int, str]] = [
            (stage.what, stage.done, stage.total, f"{stage.done}/{stage.total}  {clock(now - stage.began)}{remaining}")
        ]
        width = options.max_width - 2
        working = [(name, stage.running.get(key, Work(now))) for key, name in self.names.items()]
        texts = [work.text(now) for _, work in working]
        names = max((2 + len(name) for name, _ in working), default=0)
        if names + max(map(len, texts), default=0) + _NARROWEST_BAR > width:  # a name is worth more than a time
            texts = [clock(now - work.began) if work.step is None else str(work.step) for _, work in working]
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


def view() -> _View:
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
        if isinstance(shown, Bars):
            stage = shown.stage
            for candidate, name in shown.names.items():
                now = time.monotonic()
                work = stage.running.get(candidate, Work(now))
                far = f"{clock(now - work.began)} so far" if work.step is None else work.text(now)
                self.say(f"{stage.what} {stage.done + 1}/{stage.total}: {printable(name)}, {far}")
