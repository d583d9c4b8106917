"""A run that is killed at any event of its store ends, when it is started again, with the board of one that never was.

The same holds for a run whose disk is full. The suite does this at some events, `pytest -m attack` at every one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.store.trust import CHECKED_FILES
from modelselect.verification import FineTuning
from tests.selection.material import QUICK, rank

EVENTS = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "os.utime", "shutil.rmtree"}

MODES: dict[str, dict[str, Any]] = {
    "plain": {"estimators": ["logme", "leep"]},
    "resamples": {"estimators": ["logme"], "resamples": 3},
    "top_k": {"estimators": ["knn"], "top_k": 2, "fine_tuning": replace(QUICK, epochs=2)},
    "tune": {"estimators": ["knn"], "tune": 2, "top_k": 1, "fine_tuning": replace(QUICK, epochs=2)},
    "head": {"estimators": ["knn"], "top_k": 2, "fine_tuning": QUICK, "verify": "head"},
    "search": {"estimators": ["knn"], "top_k": 1, "fine_tuning": FineTuning(epochs=2, batch_size=32, trials=3)},
    "budget": {"estimators": ["logme", "knn"], "budget": "100000 passes", "confidence": 0.999999},
    "report": {"estimators": ["logme"]},
}
CANDIDATES = ["embedded:plain.letters", "embedded:plain.random"]
SPREAD = 4
"""Number of events of each mode at which the suite kills."""


class Killed(BaseException):
    """In place of a signal."""


class Killer:
    """Counts the events below a folder. From one of them on, nothing there is opened, made, named or removed.

    With `full`, only what needs space counts, and the reason is a full disk.
    """

    def __init__(self) -> None:
        self.watch(None)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.folder or event not in EVENTS or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        path = os.fsdecode(arguments[0])
        if event in ("os.remove", "os.rmdir") and arguments[1] >= 0:  # relative to an open folder
            with contextlib.suppress(OSError):  # only Linux says which one
                path = os.path.join(os.readlink(f"/proc/self/fd/{arguments[1]}"), path)
        if not path.startswith(self.folder) or "/locks/" in path:  # the system releases locks
            return
        if self.full and not needs_space(event, arguments):
            return
        self.count += 1
        if self.at and self.count >= self.at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path) if self.full else Killed

    def watch(self, folder: Path | None, at: int = 0, *, full: bool = False) -> None:
        self.folder, self.count, self.at = "" if folder is None else str(folder), 0, at
        self.full = full


def needs_space(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether the event makes a file or a folder, or a name for one."""
    if event != "open":
        return event in ("os.mkdir", "os.rename")
    mode, flags = arguments[1], arguments[2]
    written = isinstance(mode, str) and any(letter in mode for letter in "wxa+")
    return written or bool(isinstance(flags, int) and flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR))


@pytest.fixture(scope="module")
def hook() -> Killer:
    killer = Killer()
    sys.addaudithook(killer)  # which stays until the process ends
    return killer


@pytest.fixture
def killer(hook: Killer) -> Iterator[Killer]:
    yield hook
    hook.watch(None)


def run(mode: str, store: Path) -> ms.Leaderboard:
    rng = np.random.default_rng(0)
    labels = np.arange(600 if mode == "budget" else 60) % 3
    images = rng.integers(0, 120, (len(labels), 32, 32, 3), dtype=np.uint8)
    for index, label in enumerate(labels):
        images[index, 10 * label : 10 * label + 12] += 60
    CHECKED_FILES.clear()  # a new process has checked no file yet
    board = rank((images, labels), CANDIDATES, history=False, cache_dir=store, **MODES[mode])
    if mode == "report":
        board.save(store / "board.json")
        board.report(store / "page.html")
    return board


def without_times(board: ms.Leaderboard) -> list[ms.leaderboard.Row]:
    return [replace(row, seconds=0.0, fine_tuned_in=None) for row in board.rows]


def left_in(store: Path) -> tuple[set[str], list[str]]:
    """Names of the entries, and of what belongs to no entry."""
    kept = {path.name for path in (store / "entries").rglob("*.safetensors")}
    others = [path for folder in ("partial", "scratch", "spool") for path in (store / folder).rglob("*")]
    others += store.glob(".*")
    return kept, [str(path.relative_to(store)) for path in others]


def bury(store: Path) -> None:
    """Files of this process become those of one that has ended."""
    for path in [*(store / "partial").glob("*"), *(store / "spool").glob("*"), *store.glob(".*.partial")]:
        path.rename(path.with_name(path.name.replace(f"@{os.getpid()}@", "@999999999@")))


def events_of(mode: str, folder: Path, killer: Killer) -> tuple[int, ms.Leaderboard]:
    killer.watch(folder)
    board = run(mode, folder)
    count = killer.count
    killer.watch(None)
    return count, board


def check_kill(mode: str, at: int, tmp_path: Path, killer: Killer, expected: ms.Leaderboard, kept: set[str]) -> None:
    store = tmp_path / f"killed at {at}"
    killer.watch(store, at)
    with contextlib.suppress(Killed):  # a run that takes less time may write fewer checkpoints, and end before
        run(mode, store)
        assert killer.count > 0.8 * at
    killer.watch(None)
    bury(store)
    again = run(mode, store)
    assert without_times(again) == without_times(expected), at
    assert left_in(store) == (kept, []), at


@pytest.mark.parametrize("mode", MODES)
def test_a_killed_run_ends_as_if_it_never_was(mode: str, tmp_path: Path, killer: Killer) -> None:
    count, expected = events_of(mode, tmp_path / "whole", killer)
    kept, left = left_in(tmp_path / "whole")
    assert left == []
    for at in sorted({round(1 + part * (count - 1) / SPREAD) for part in range(1, SPREAD + 1)}):
        check_kill(mode, at, tmp_path, killer, expected, kept)


@pytest.mark.attack
@pytest.mark.parametrize("mode", MODES)
def test_a_run_killed_at_any_event_ends_as_if_it_never_was(mode: str, tmp_path: Path, killer: Killer) -> None:
    count, expected = events_of(mode, tmp_path / "whole", killer)
    kept, _ = left_in(tmp_path / "whole")
    for at in range(1, count + 1):
        check_kill(mode, at, tmp_path, killer, expected, kept)


def check_full_disk(
    mode: str, at: int, tmp_path: Path, killer: Killer, expected: ms.Leaderboard, kept: set[str]
) -> None:
    """With a full disk, a run ends in a board or in one error with advice. A run with space is as if nothing was."""
    store = tmp_path / f"full at {at}"
    killer.watch(store, at, full=True)
    said = ""
    try:
        run(mode, store)
    except ms.errors.ModelSelectError as error:
        said = str(error)
    assert not said or "No space left on device" in said, at
    killer.watch(None)
    again = run(mode, store)
    assert without_times(again) == without_times(expected), at
    found, left = left_in(store)
    assert found >= kept, at  # what was computed while the disk was full may be there, too
    assert left == [], at


@pytest.mark.parametrize("mode", ["budget", "search"])
def test_a_run_whose_disk_was_full_ends_as_if_it_never_was(mode: str, tmp_path: Path, killer: Killer) -> None:
    killer.watch(tmp_path / "whole", full=True)
    expected, count = run(mode, tmp_path / "whole"), killer.count
    killer.watch(None)
    kept, _ = left_in(tmp_path / "whole")
    check_full_disk(mode, count // 2, tmp_path, killer, expected, kept)


@pytest.mark.attack
@pytest.mark.parametrize("mode", MODES)
def test_a_run_whose_disk_was_full_at_any_event_ends_as_if_it_never_was(
    mode: str, tmp_path: Path, killer: Killer
) -> None:
    killer.watch(tmp_path / "whole", full=True)
    expected, count = run(mode, tmp_path / "whole"), killer.count
    killer.watch(None)
    kept, _ = left_in(tmp_path / "whole")
    for at in range(1, count + 1):
        check_full_disk(mode, at, tmp_path, killer, expected, kept)


PROGRAM = """
import os, signal, sys

role, at, store, marks = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
here = "run" if __name__ == "__main__" else "worker"
counted = os.open(f"{marks}.{here}", os.O_CREAT | os.O_APPEND | os.O_WRONLY)  # one byte for each event

def hook(event, arguments):
    if event not in EVENTS or not isinstance(arguments[0], (str, bytes, os.PathLike)):
        return
    path = os.fsdecode(arguments[0])
    if path.startswith(store) and "/locks/" not in path:
        os.write(counted, b".")
        if role == here and os.fstat(counted).st_size == at:
            os.kill(os.getpid(), signal.SIGKILL)

EVENTS = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "os.utime", "shutil.rmtree"}
sys.addaudithook(hook)

if __name__ == "__main__":
    import numpy as np
    import modelselect as ms

    labels = np.arange(60) % 3
    images = np.random.default_rng(0).integers(0, 120, (60, 32, 32, 3), dtype=np.uint8)
    for index, label in enumerate(labels):
        images[index, 10 * label : 10 * label + 12] += 60
    board = ms.select(
        (images, labels), ["embedded:plain.letters", "embedded:plain.random"], estimators=["logme", "leep"],
        executor="process", history=False, cache_dir=store, progress=False,
    )
    board.save(marks + ".json")
"""


@pytest.mark.attack
@pytest.mark.parametrize("role", ["run", "worker"])
def test_a_run_with_worker_processes_that_loses_any_of_them_ends_as_if_it_never_had(role: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    def go(store: str, marks: str, at: int = 0) -> int:
        command = [sys.executable, str(program), role, str(at), str(tmp_path / store), str(tmp_path / marks)]
        return subprocess.run(command, timeout=300, stderr=subprocess.DEVNULL).returncode

    assert go("whole", "whole") == 0
    expected = without_times(ms.Leaderboard.load(tmp_path / "whole.json"))
    kept, _ = left_in(tmp_path / "whole")
    count = (tmp_path / f"whole.{role}").stat().st_size
    assert count > 3
    for at in (1, count // 2, count):
        store = f"killed at {at}"
        assert go(store, f"first {at}", at) == (-signal.SIGKILL if role == "run" else 0)
        assert go(store, f"second {at}") == 0
        assert without_times(ms.Leaderboard.load(tmp_path / f"second {at}.json")) == expected, at
        assert left_in(tmp_path / store) == (kept, []), at
