"""The kit for authors of commands: every kind of broken command is caught."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from modelselect.testing.commands import check_command, command_checks
from tests.testing.material import failing


def good() -> typer.Typer:
    app = typer.Typer(help="Count things.")

    @app.command()
    def count(upto: int = 3) -> None:
        """Count things."""

    return app


def without_help() -> typer.Typer:
    app = typer.Typer()

    @app.command()
    def count(upto: int = 3) -> None: ...

    return app


def swallowing() -> typer.Typer:
    app = typer.Typer()

    @app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
    def count(context: typer.Context) -> None:
        """Count things."""

    return app


def test_a_good_command_passes() -> None:
    check_command("count", good())


@pytest.mark.parametrize(
    ("name", "app", "check", "message"),
    [
        ("Count!", good(), "name_is_valid", "lower-case"),
        ("count", print, "is_complete", "is no Typer"),
        ("count", typer.Typer(), "can_be_built", "raised"),
        ("count", without_help(), "help_says_what_it_does", "docstring"),
        ("count", swallowing(), "an_unknown_option_is_refused", "exit code 0; expected 2"),
    ],
)
def test_a_broken_command_is_caught_by_name(name: str, app: Any, check: str, message: str) -> None:
    assert message in failing(command_checks(name, app))[check]
