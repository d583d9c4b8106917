"""The command line as a whole: plugins, interruptions, and text that reaches the terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import modelselect as ms
from modelselect.cli import app
from modelselect.host.entry_points import others_may_be_installed
from modelselect.host.hookspecs import RESERVED_COMMANDS
from modelselect.leaderboard.leaderboard import Row
from tests.cli.conftest import run

pytestmark = pytest.mark.usefixtures("cache")


def test_a_plugins_command_joins_the_shipped_ones(tmp_path: Path) -> None:
    (tmp_path / "counting.py").write_text(
        "import modelselect, typer\n"
        "app = typer.Typer(help='Count things.')\n"
        "@app.callback(invoke_without_command=True)\n"
        "def count(): typer.echo('one two three')\n"
        "@modelselect.hookimpl\n"
        "def modelselect_register_commands(): return {'count': app}\n"
    )
    info = tmp_path / "counting-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[modelselect]\ncounting = counting\n")
    environment: dict[str, Any] = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "modelselect"]
    shown = subprocess.run([*command, "--help"], env=environment, capture_output=True, text=True, check=True)
    assert "count" in shown.stdout
    done = subprocess.run([*command, "count"], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "one two three\n"


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version")[1] == f"modelselect {ms.__version__}\n"


def test_a_link_is_followed_and_a_device_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "latest.json").symlink_to(tmp_path / "real.json")
    ms.Leaderboard.empty().save(tmp_path / "latest.json")
    assert (tmp_path / "latest.json").is_symlink()
    assert ms.Leaderboard.load(tmp_path / "real.json") == ms.Leaderboard.empty()
    ms.Leaderboard.empty().save("/dev/null")
    assert not Path("/dev/null").is_file()


def test_control_characters_do_not_reach_the_terminal() -> None:
    row = Row(ms.Candidate("shelf", "esc\x1b[31mred\nnext"), rank=1, score=1.0)
    assert "\x1b" not in str(ms.Leaderboard((row,)))


def test_an_interruption_says_that_nothing_is_lost(
    capsys: pytest.CaptureFixture[str], dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("modelselect.selection.funnel.select", interrupt)
    code, _, err = run(capsys, "select", dataset, "-c", "embedded:plain*")
    assert code == app.EXIT_INTERRUPTED
    assert "the next run continues from there" in " ".join(err.split())


def test_sigterm_ends_a_run_as_an_interruption_does(
    capsys: pytest.CaptureFixture[str], dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    monkeypatch.setattr("modelselect.selection.funnel.select", end)
    code, _, err = run(capsys, "select", dataset, "-c", "embedded:plain*")
    assert code == app.EXIT_TERMINATED == 143
    assert "ended by SIGTERM; all results so far are kept, and the next run continues from there" in " ".join(
        err.split()
    )
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


INTERRUPTED = """
import atexit, os, signal, sys, time
import modelselect.selection.funnel
from modelselect.cli import main

class Library:
    def __del__(self):
        time.sleep(60)

def end(*_, **__):
    os.kill(os.getpid(), int(sys.argv.pop()))
    time.sleep(60)

library = Library()
library.itself = library
atexit.register(print, "at the end")
signal.signal(signal.SIGINT, signal.default_int_handler)
modelselect.selection.funnel.select = end
main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_command_that_is_ended_does_not_wait_for_libraries_to_free_their_objects(
    number: signal.Signals, code: int, dataset: Path, tmp_path: Path
) -> None:
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    line = [sys.executable, script, "select", dataset, "-c", "embedded:plain*", str(number.value)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout) == (code, "at the end\n")
    assert "all results so far are kept" in done.stderr


def test_a_run_whose_terminal_is_closed_ends_with_the_code_of_the_signal(dataset: Path, tmp_path: Path) -> None:
    script = tmp_path / "waits.py"
    script.write_text(INTERRUPTED.replace("os.kill(os.getpid(), int(sys.argv.pop()))", "print('here', flush=True)"))
    process, terminal = pty.fork()
    if not process:
        os.execv(sys.executable, [sys.executable, str(script), "select", str(dataset), "-c", "embedded:plain*"])
    said = b""
    while b"here" not in said:
        said += os.read(terminal, 1000)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 129


def test_a_plugin_cannot_take_the_name_of_a_shipped_command() -> None:
    assert set(app.SHIPPED) == set(RESERVED_COMMANDS)


@pytest.mark.parametrize("name", app.SHIPPED)
def test_the_line_of_help_is_that_of_the_command_itself(name: str) -> None:
    command = app.shipped_command(name)
    assert command.name == name
    assert (command.help or "").partition("\n")[0] == app.SHIPPED[name][1]


def test_an_archive_on_the_path_is_not_taken_for_a_place_without_plugins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "modelselect_automl-1.dist-info"
    own.mkdir()
    (own / "entry_points.txt").write_text("[modelselect]\nzoos.x = x\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "missing")])
    assert not others_may_be_installed()
    (tmp_path / "a.zip").write_bytes(b"")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "a.zip")])
    assert others_may_be_installed()
    other = tmp_path / "other-1.dist-info"
    other.mkdir()
    (other / "entry_points.txt").write_text("[modelselect]\nx = x\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert others_may_be_installed()
