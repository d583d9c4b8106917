"""Progress in the terminal: a bar over candidates, and one over the rows of the current candidate."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import TracebackType


class Progress:
    """Progress bars on standard error; standard output is left to the result.

    Args:
        wanted: False shows nothing. Nothing is shown either if standard error is not a terminal.
    """

    def __init__(self, wanted: bool) -> None:
        from rich import progress
        from rich.console import Console

        console = Console(stderr=True)
        self._bars = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("{task.fields[detail]}", style="dim"),
            console=console,
            disable=not (wanted and console.is_terminal),
            transient=True,
        )
        self._rows: progress.TaskID | None = None

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    @contextlib.contextmanager
    def candidates(self, what: str, total: int) -> Iterator[Callable[[str], None]]:
        """A bar over candidates; yields a function to call with each finished candidate's id."""
        task = self._bars.add_task(what, total=total, detail="")
        yield lambda finished: self._bars.update(task, advance=1, detail=finished)
        self._bars.remove_task(task)
        if self._rows is not None:
            self._bars.remove_task(self._rows)
            self._rows = None

    def batches(self, done: int, total: int) -> None:
        """Updates the bar over rows."""
        if self._rows is None:
            self._rows = self._bars.add_task("rows", total=total, detail="")
        self._bars.update(self._rows, completed=done, total=total)
