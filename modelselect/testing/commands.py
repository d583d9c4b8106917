"""Named checks for authors of commands."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelselect.testing.checks import Check, lacking, name_is_valid, named_check, run_checks

if TYPE_CHECKING:
    import typer


def check_command(name: str, app: typer.Typer, *, expected_failures: Mapping[str, str] | None = None) -> None:
    """Runs every check of `command_checks` and reports all that fail, by name.

    Args:
        name: the name under which the command is registered.
        app: the Typer application.
        expected_failures: as for `check_estimator`.

    Raises:
        AssertionError: lists the checks that failed, or that passed although they were expected to fail.

    >>> import typer
    >>> app = typer.Typer(help="Count things.")
    >>> @app.command()
    ... def count(upto: int = 3) -> None:
    ...     "Count things."
    >>> check_command("count", app)
    """
    run_checks(f"command {name!r}", command_checks(name, app), expected_failures)


def command_checks(name: str, app: typer.Typer) -> list[Check]:
    """For every promise of a command, a name and a check; see `check_command`."""
    import typer

    if incomplete := lacking(app, typer.Typer):
        return incomplete
    return [
        named_check(name_is_valid, name),
        named_check(_can_be_built, app),
        named_check(_help_says_what_it_does, app),
        named_check(_an_unknown_option_is_refused, app),
    ]


def _can_be_built(app: typer.Typer) -> None:
    import typer

    typer.main.get_command(app)


def _run(app: typer.Typer, *arguments: str) -> tuple[int, str]:
    import typer

    written = io.StringIO()
    command: Any = typer.main.get_command(app)
    with contextlib.redirect_stdout(written), contextlib.redirect_stderr(written):
        try:
            command.main(args=list(arguments), prog_name="command")
        except SystemExit as stopped:
            return int(stopped.code or 0), written.getvalue()
    return 0, written.getvalue()


def _help_says_what_it_does(app: typer.Typer) -> None:
    import typer

    code, _ = _run(app, "--help")
    assert code == 0, f"--help ends with exit code {code}; expected 0"
    command: Any = typer.main.get_command(app)
    assert (command.help or "").strip(), "the command has no help; give its function a docstring"


def _an_unknown_option_is_refused(app: typer.Typer) -> None:
    code, _ = _run(app, "--no-such-option-of-the-checks")
    assert code == 2, f"an unknown option ends with exit code {code}; expected 2, bad usage"
