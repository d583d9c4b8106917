"""The command line: `modelselect demo | select | benchmark | report | search | embed | history | ...`.

Exit codes: 0 done, 1 nothing could be ranked, 2 bad usage. Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from modelselect.cli import history
from modelselect.cli.benchmark import benchmark
from modelselect.cli.completion import VARIABLE, completing, words_as_typed
from modelselect.cli.configuration import Configuration, ConfiguredCommand, applies, read
from modelselect.cli.demo import demo
from modelselect.cli.doctor import doctor
from modelselect.cli.embed import embed
from modelselect.cli.listings import estimators, plugins, pools, search, store, zoos
from modelselect.cli.report import report
from modelselect.cli.select import select
from modelselect.cli.terminal import complain, loaded_host

EXIT_NOTHING_RANKED = 1
EXIT_BAD_USAGE = 2
EXIT_INTERRUPTED = 130


class PluginGroup(TyperGroup):
    """The shipped commands, and the commands of plugins whose names are not taken by a shipped one."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *_plugin_commands()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # Typer's version decides which Click these types are of
        shipped = super().get_command(ctx, cmd_name)
        if shipped is not None:
            return shipped
        if cmd_name not in (brought := _plugin_commands()):
            return None
        command = typer.main.get_command(brought[cmd_name])
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=PluginGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Which pre-trained model should I fine-tune on my data?",
)

app.add_typer(history.app, name="history")


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from modelselect.utils.versions import __version__

        typer.echo(f"modelselect {__version__}")
        raise typer.Exit


for command in (select, report, benchmark, search, embed, estimators, zoos, pools, plugins, store, doctor, demo):
    app.command(cls=ConfiguredCommand)(completing(command))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command. An error that modelselect raises on purpose becomes one message and an exit code."""
    from modelselect.errors import ModelSelectError, NothingRankedError

    # Idle threads sleep instead of spinning: on a busy machine that is many times faster. Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = Configuration()
    try:
        if applies(given) and VARIABLE not in os.environ:
            options = read(Path.cwd())
        with words_as_typed(), options.in_environment():
            app(args=given, prog_name="modelselect", default_map=options.defaults())
    except ModelSelectError as error:
        complain(str(error))
        _mention(options)
        sys.exit(EXIT_NOTHING_RANKED if isinstance(error, NothingRankedError) else EXIT_BAD_USAGE)
    except SystemExit as stopped:
        if stopped.code == EXIT_INTERRUPTED:  # Typer makes this of Ctrl-C
            complain("interrupted; all results so far are kept, and the next run continues from there")
        if stopped.code == EXIT_BAD_USAGE:
            _mention(options)
        raise


def _mention(options: Configuration) -> None:
    """Says which options an error may be about that are not on the command line."""
    if options.options:
        names = ", ".join(name.replace("_", "-") for name in options.options)
        typer.echo(f"note: {options.path} sets {names}", err=True)


def _plugin_commands() -> dict[str, typer.Typer]:
    """Commands of third-party plugins. Without such plugins none is loaded, since the shipped ones have no commands."""
    from importlib.metadata import entry_points

    from modelselect.host.entry_points import PROJECT

    if all(point.value.startswith("modelselect_plugins.") for point in entry_points(group=PROJECT)):
        return {}
    commands: dict[str, typer.Typer] = loaded_host().commands
    return commands
