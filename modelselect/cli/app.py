"""The command line: `modelselect demo | select | predict | benchmark | reproduce | report | search | history | ...`.

Exit codes: 0 done, 1 nothing could be ranked, 2 bad usage, 74 the answer could not be printed, 130 interrupted
(Ctrl-C), 143 ended (SIGTERM). Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
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
from modelselect.cli.estimators import estimators
from modelselect.cli.listings import plugins, pools, search, store, tasks, zoos
from modelselect.cli.new import new
from modelselect.cli.predict import predict
from modelselect.cli.report import report
from modelselect.cli.reproduce import reproduce
from modelselect.cli.select import select
from modelselect.cli.streams import apart, kept_apart, open_standard_streams
from modelselect.cli.terminal import complain, loaded_host

EXIT_NOTHING_RANKED = 1
EXIT_BAD_USAGE = 2
EXIT_NO_OUTPUT = 74
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class PluginGroup(TyperGroup):
    """The shipped commands, and the commands of plugins whose names are not taken by a shipped one."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *_plugin_commands()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # Typer's version decides which Click these types are of
        shipped = super().get_command(ctx, cmd_name)
        if shipped is not None:
            return kept_apart(shipped)
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


for command in (
    select,
    predict,
    report,
    benchmark,
    reproduce,
    search,
    embed,
    estimators,
    zoos,
    pools,
    tasks,
    plugins,
    new,
    store,
    doctor,
    demo,
):
    app.command(cls=ConfiguredCommand)(completing(command))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command. An error that modelselect raises on purpose becomes one message and an exit code."""
    from modelselect.errors import ModelSelectError, NothingRankedError, OutputError

    # Idle threads sleep instead of spinning: on a busy machine that is many times faster. Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    open_standard_streams()
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = Configuration()
    ended: list[int] = []
    _leave_deleted_folder()
    try:
        if applies(given) and VARIABLE not in os.environ:
            options = read(Path.cwd())
        with _ended_as_interrupted(ended), words_as_typed(), options.in_environment():
            app(args=given, prog_name="modelselect", default_map=options.defaults(), obj=options)
    except ModelSelectError as error:
        complain(str(error))
        if not isinstance(error, OutputError):
            _mention(options)
        exits = {NothingRankedError: EXIT_NOTHING_RANKED, OutputError: EXIT_NO_OUTPUT}
        sys.exit(exits.get(type(error), EXIT_BAD_USAGE))
    except SystemExit as stopped:
        if stopped.code == EXIT_INTERRUPTED:  # Typer makes this of Ctrl-C
            what = "ended by SIGTERM" if ended else "interrupted"
            complain(f"{what}; all results so far are kept, and the next run continues from there")
            if ended:
                sys.exit(EXIT_TERMINATED)
        if stopped.code == EXIT_BAD_USAGE:
            _mention(options)
        raise


@contextlib.contextmanager
def _ended_as_interrupted(ended: list[int]) -> Iterator[None]:
    """SIGTERM, which batch systems and containers send, does what Ctrl-C does: workers end, and bars are removed."""

    def end(number: int, frame: Any) -> None:
        ended.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield  # the handler that is set decides
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _mention(options: Configuration) -> None:
    """Says which options an error may be about that are not on the command line."""
    if options.options:
        typer.echo(f"note: {options}", err=True)


def _leave_deleted_folder() -> None:
    """Goes to the root folder if the current folder was deleted: libraries of torch end the process there."""
    try:
        os.getcwd()
    except FileNotFoundError:
        os.chdir(os.sep)
        typer.echo(f"the current folder was deleted, so relative paths are read from {os.sep}", err=True)


def _plugin_commands() -> dict[str, typer.Typer]:
    """Commands of third-party plugins. Without such plugins none is loaded, since the shipped ones have no commands."""
    from modelselect.host.entry_points import installed

    if all(point.value.startswith("modelselect_plugins.") for point in installed()[0]):
        return {}
    with apart():
        commands: dict[str, typer.Typer] = loaded_host().commands
    return commands
