"""The command line: `modelselect demo | select | predict | serve | benchmark | report | search | history | ...`.

Exit codes: 0 done, 1 nothing could be ranked, 2 bad usage, 74 the answer could not be printed, 130 interrupted
(Ctrl-C), 143 ended (SIGTERM), 129 the terminal was closed (SIGHUP). A command is imported when it runs, and `--help`
imports none.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from modelselect.cli.completion import VARIABLE, completing, words_as_typed
from modelselect.cli.configuration import Configuration, ConfiguredCommand, applies, read
from modelselect.cli.streams import apart, kept_apart, open_standard_streams
from modelselect.cli.terminal import complain, loaded_host, plain_warnings
from modelselect.cli.values import as_typed

SHIPPED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "select": ("select", "Rank candidates for a dataset; fine-tune the top k. Without candidates, choose them."),
        "predict": (
            "predict",
            "Predict classes, numbers, labels, tags or masks of images or texts with a saved winner.",
        ),
        "report": (
            "report",
            "Write a leaderboard as a web page, as Markdown, as a table or as a figure; or push it to the Hub.",
        ),
        "serve": ("serve", "Show saved leaderboards, the store and the history in a browser, and as JSON. Read-only."),
        "benchmark": ("benchmark", "Judge estimators by known fine-tuning results."),
        "reproduce": ("reproduce", "Run a published experiment, and compare figures."),
        "features": ("features", "Compute features of a dataset, as select does."),
        "search": ("listings", "List the candidates that expressions name."),
        "embed": ("embed", "Embed architectures, without weights, into the atlas."),
        "estimators": ("estimators", "List estimators, or show one in detail."),
        "zoos": ("listings", "List zoos, and say why one cannot be used."),
        "pools": ("listings", "List pools: candidates under one name, such as pool:images-fast."),
        "tasks": ("listings", "List tasks: what can be predicted, and by which metric candidates are judged."),
        "plugins": ("listings", "List plugins, and say why one is broken."),
        "new": ("new", "Start a package with a plugin: module, tests, metadata and a workflow."),
        "store": ("listings", "Show the size of the store, or remove entries."),
        "doctor": ("doctor", "Check this installation, and say what to fix."),
        "demo": ("demo", "Rank twelve embedded networks, and check the answer."),
        "history": ("history", "The transfer history: past results of candidates on datasets."),
    }
)
"""The shipped commands: the module in `modelselect.cli` that holds each, and its line in `--help`."""

EXIT_NOTHING_RANKED = 1
EXIT_BAD_USAGE = 2
EXIT_NO_OUTPUT = 74
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class Shipped(TyperCommand):
    """A shipped command by its name and its line of help. The command itself is imported when it runs."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        assert self.name is not None
        return shipped_command(self.name).make_context(info_name, args, parent, **extra)


class Commands(TyperGroup):
    """The shipped commands, and the commands of plugins whose names are not taken by a shipped one."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        as_typed(self)

    def list_commands(self, ctx: Any) -> list[str]:
        return [*SHIPPED, *_plugin_commands()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # Typer's version decides which Click these types are of
        if cmd_name in SHIPPED:
            return Shipped(name=cmd_name, help=SHIPPED[cmd_name][1])
        if cmd_name not in (brought := _plugin_commands()):
            return None
        command = typer.main.get_command(brought[cmd_name])
        command.name = cmd_name
        return command


def shipped_command(name: str) -> Any:
    """The command itself, with its options."""
    found = getattr(
        importlib.import_module(f"modelselect.cli.{SHIPPED[name][0]}"), "app" if name == "history" else name
    )
    if not isinstance(found, typer.Typer):
        alone = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
        alone.command(name, cls=ConfiguredCommand)(completing(found))
        found = alone
    command = typer.main.get_command(found)
    command.name = name
    return as_typed(kept_apart(command))


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Which pre-trained model should I fine-tune on my data?",
)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from modelselect.utils.versions import __version__

        typer.echo(f"modelselect {__version__}")
        raise typer.Exit


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
        with _ended_as_interrupted(ended), plain_warnings(), words_as_typed(), options.in_environment():
            app(args=given, prog_name="modelselect", default_map=options.defaults(), obj=options)
    except ModelSelectError as error:
        complain(str(error))
        if not isinstance(error, OutputError):
            _mention(options)
        exits = {NothingRankedError: EXIT_NOTHING_RANKED, OutputError: EXIT_NO_OUTPUT}
        sys.exit(exits.get(type(error), EXIT_BAD_USAGE))
    except SystemExit as stopped:
        if ended or stopped.code == EXIT_INTERRUPTED:  # Typer makes this of Ctrl-C
            _end(ended, leaves=arguments is None)
        if stopped.code == EXIT_BAD_USAGE:
            _mention(options)
        raise
    except OSError:
        if ended:  # the terminal was closed
            _end(ended, leaves=arguments is None)
        raise


@contextlib.contextmanager
def _ended_as_interrupted(ended: list[int]) -> Iterator[None]:
    """SIGTERM, which batch systems and containers send, and SIGHUP, which a terminal sends when it is closed, do what
    Ctrl-C does: workers end, and bars are removed. A signal that is ignored, as `nohup` has it, stays so.
    """

    def end(number: int, frame: Any) -> None:
        ended.append(number)
        raise KeyboardInterrupt

    known = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    free = [number for number in known if signal.getsignal(number) == signal.SIG_DFL]  # else that handler decides
    if threading.current_thread() is not threading.main_thread():
        free = []
    for number in free:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in free:
            signal.signal(number, signal.SIG_DFL)


def _end(ended: Sequence[int], *, leaves: bool) -> NoReturn:
    """Says that a signal, or Ctrl-C, has ended the command, and ends it."""
    what = f"ended by {signal.Signals(ended[0]).name}" if ended else "interrupted"
    with contextlib.suppress(OSError):
        complain(f"{what}; all results so far are kept, and the next run continues from there")
    code = 128 + ended[0] if ended else EXIT_INTERRUPTED
    if leaves:
        _leave(code)
    sys.exit(code)


def _leave(code: int) -> NoReturn:
    """Ends this process as Python does, but frees no objects and waits for no threads, which can take seconds."""
    try:
        atexit._run_exitfuncs()  # noqa: SLF001 (no public function does this)
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
    finally:  # also if a stream is closed, or a second Ctrl-C does not wait
        os._exit(code)


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
    from modelselect.host.entry_points import installed, others_may_be_installed

    if not others_may_be_installed() or all(point.value.startswith("modelselect_plugins.") for point in installed()[0]):
        return {}
    with apart():
        commands: dict[str, typer.Typer] = loaded_host().commands
    return commands
