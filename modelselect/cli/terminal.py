"""Terminal output of all commands: tables, JSON, error messages."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from modelselect.cli.streams import answering, say_json

ROOM_BELOW = 8
"""Lines of a screen that a table's rows leave for its frame, the notes and the next command."""


def loaded_host() -> Any:
    from modelselect.host.host import get_host

    return get_host()


def check_writable(path: Path | None, option: str = "--json") -> None:
    """Raises `InvalidInputError` if the file cannot be written: before the work, not after it."""
    from modelselect.errors import InvalidInputError

    if path is not None and path != Path("-") and (path.is_dir() or not os.access(path.parent, os.W_OK)):
        raise InvalidInputError(
            f"{option} {str(path)!r} cannot be written; give a file in an existing folder that you may write to"
        )


FIGURES = (".png", ".svg", ".pdf")
"""Endings of the files that a figure is written into."""


def check_plot(path: Path | None, option: str = "--plot") -> None:
    """Raises `InvalidInputError` if no figure can be written into the file: before the work, not after it."""
    from importlib.util import find_spec

    from modelselect.errors import InvalidInputError

    if path is None:
        return
    if path.suffix.lower() not in FIGURES:
        ending = f"ends in {path.suffix!r}" if path.suffix else "has no ending"
        raise InvalidInputError(f"{option} {str(path)!r} {ending}; expected {', '.join(FIGURES)}")
    check_writable(path, option)
    if find_spec("matplotlib") is None:
        raise InvalidInputError(f"{option} needs matplotlib; install it with: pip install 'modelselect-automl[plots]'")


def print_listing(listed: Sequence[dict[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    if as_json:
        print_json(listed)
        return
    print_table(columns, [[text_of(row[column]) for column in columns] for row in listed])


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, all_rows: bool = True, optional: int = 0
) -> None:
    """Prints a table. Its cells may hold any characters.

    Args:
        columns: names of the columns.
        rows: the cells of each row.
        all_rows: whether to show more rows than a terminal has lines; the number of the others is printed.
        optional: number of columns, from the last, that may be left out if a terminal is too narrow.
    """
    from modelselect.utils.text import printable

    with answering():
        out = console()
        columns, rows, notes = _fitting(columns, rows, out, all_rows, optional)
        if (lines := _plain_table(columns, rows, out)) is not None:
            sys.stdout.write("\n".join([lines, *notes, ""]))
            return
        from rich.table import Table  # a twentieth of a second, which a plain table need not pay
        from rich.text import Text

        table = Table(header_style="bold")
        for index, column in enumerate(columns):
            table.add_column(column.replace("_", " "), overflow="fold", no_wrap=index == 0)
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        out.print(table)
        for line in notes:
            out.print(line, markup=False, highlight=False)


def _plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]], out: Any) -> str | None:
    """The table as Rich prints it where there is no terminal, in a twentieth of the time.

    None if there is a terminal, if the table is too wide, or if a cell needs more than one column for a character.
    """
    from modelselect.utils.text import printable

    cells = [[column.replace("_", " ") for column in columns], *([printable(cell) for cell in row] for row in rows)]
    if out.is_terminal or not rows or out.options.ascii_only or not all(map(_is_narrow, itertools.chain(*cells))):
        return None
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if 1 + sum(width + 3 for width in widths) > out.width:
        return None
    bars = [[line * (width + 2) for width in widths] for line in "━━─"]
    head, *body = ([f" {cell:<{width}} " for cell, width in zip(row, widths, strict=True)] for row in cells)
    lines = [f"┏{'┳'.join(bars[0])}┓", f"┃{'┃'.join(head)}┃", f"┡{'╇'.join(bars[1])}┩"]
    lines += [f"│{'│'.join(row)}│" for row in body]
    return "\n".join([*lines, f"└{'┴'.join(bars[2])}┘"])


def _is_narrow(cell: str) -> bool:
    """Whether each character of a cell takes one column."""
    return cell.replace("–", "-").replace("…", ".").isascii()


def _fitting(
    columns: Sequence[str], rows: Sequence[Sequence[str]], screen: Any, all_rows: bool, optional: int
) -> tuple[Sequence[str], Sequence[Sequence[str]], list[str]]:
    """The columns and the rows that fit a screen, and what to say of the others. All rows fit a file or a pipe."""
    notes: list[str] = []
    needed = [3 + max(len(texts[i]) for texts in (columns, *rows)) for i in range(len(columns))]
    count, least = len(columns), len(columns) - optional
    while count > least and 1 + sum(needed[:count]) > screen.width:
        count -= 1
    if hidden := columns[count:]:
        notes.append(f"Too narrow for {', '.join(name.replace('_', ' ') for name in hidden)}; --json shows all.")
    columns, rows = columns[:count], [row[:count] for row in rows]
    if screen.is_terminal and not all_rows and len(rows) > (most := max(screen.height - ROOM_BELOW, 1)):
        notes.append(f"… and {len(rows) - most:,} more; --all or --json shows them.")
        rows = rows[:most]
    return columns, rows, notes


def print_json(value: Any) -> None:
    from modelselect.utils.text import valid_text

    say_json(valid_text(json.dumps(value, indent=2, ensure_ascii=False, default=str)) + "\n")


def console() -> Any:
    """Rich's console, as wide as the terminal; see `line_width` for a file or a pipe."""
    from rich.console import Console

    from modelselect.utils.text import line_width

    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=line_width())


def note(message: str, settings: Mapping[str, Any]) -> None:
    """Prints a message about the run on standard error, unless the settings say `--quiet`."""
    if settings.get("progress", True):
        typer.echo(message, err=True)


@contextlib.contextmanager
def shown_records(level: int) -> Iterator[None]:
    """Shows the log records of modelselect from this level on, on standard error."""

    class Handler(logging.StreamHandler[Any]):
        def emit(self, record: logging.LogRecord) -> None:
            self.stream = sys.stderr  # which progress bars replace while they are shown
            super().emit(record)

    logger, handler = logging.getLogger("modelselect"), Handler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def complain(message: str) -> None:
    from rich.console import Console
    from rich.text import Text

    from modelselect.utils.text import printable_lines

    Console(stderr=True, soft_wrap=True).print(Text.assemble(("error: ", "bold red"), printable_lines(message)))


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Shows a warning that is meant for users (`UserWarning`) as a line of text, without its place in the code."""
    full = warnings.formatwarning

    def plain(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> str:
        from modelselect.utils.text import printable_lines

        if category is not UserWarning:
            return full(message, category, *where, **more)
        return f"warning: {printable_lines(str(message))}\n"

    warnings.formatwarning = plain
    try:
        yield
    finally:
        warnings.formatwarning = full


def text_of(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(str, value)) or "–"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def confirmed(question: str, given: bool) -> bool:
    """Whether the user agrees: by the option `--yes`, or by an answer on the terminal.

    Raises:
        InvalidInputError: the option was not given, and there is no terminal to ask on.
    """
    from modelselect.errors import InvalidInputError

    if given:
        return True
    if not _can_answer():
        raise InvalidInputError(f"{question} There is no terminal to answer on; add --yes to agree")
    return agreed(question)


def agreed(question: str) -> bool:
    """Whether the user answers yes. No answer is a no: without a terminal, or after Ctrl-C or Ctrl-D."""
    try:
        return _can_answer() and typer.confirm(question, err=True)
    except typer.Abort:
        return False


def _can_answer() -> bool:
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()
