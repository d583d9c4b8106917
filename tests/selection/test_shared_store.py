"""Several processes on one store at the same time: each gets the board of one that was alone, also if some are killed.

The suite starts two; `pytest -m attack` starts four, and kills some of them on the way.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import modelselect as ms
from modelselect.store import remote
from modelselect_plugins.zoos.embedded import EmbeddedZoo
from tests.conftest import REPOSITORY
from tests.selection.test_kills import left_in, without_times

PROGRAM = """
import os, random, signal, sys, time
from pathlib import Path

import torch
from tests.selection.test_kills import run  # which loads everything once, before the forks

mode, processes, kills, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])


def begin(name, store, start):
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        while time.time() < start:
            time.sleep(0.001)
        run(mode, store).save(folder / f"{name}.json")
        status = 0
    finally:
        os._exit(status)


def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


begun = time.time()
assert ended(begin("alone", folder / "alone", 0)) == 0
alone = time.time() - begun
random = random.Random(kills)
for round in range(max(kills, 1)):
    store, start = folder / f"store {round}", time.time() + 0.2
    children = [begin(f"{round} {number}", store, start) for number in range(processes)]
    for child in children[: 2 if kills else 0]:
        time.sleep(random.uniform(0, alone))
        os.kill(child, signal.SIGKILL)
    codes = [ended(child) for child in children]
    for number, code in enumerate(codes):
        assert code == 0 or (kills and number < 2), codes
        if code:
            assert ended(begin(f"{round} {number}", store, 0)) == 0
"""


def check(mode: str, processes: int, kills: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, mode, str(processes), str(kills), str(tmp_path)]
    ended = subprocess.run(command, cwd=REPOSITORY, timeout=1200, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3000:]
    expected = without_times(ms.Leaderboard.load(tmp_path / "alone.json"))
    boards = list(tmp_path.glob("[0-9]* *.json"))
    assert len(boards) == processes * max(kills, 1)
    for board in boards:
        assert without_times(ms.Leaderboard.load(board)) == expected, board.name
    kept, _ = left_in(tmp_path / "alone")
    for store in tmp_path.glob("store *"):
        assert left_in(store) == (kept, []), store.name


@pytest.mark.slow
def test_two_processes_on_one_store_get_the_board_of_one(tmp_path: Path) -> None:
    check("top_k", 2, 0, tmp_path)


@pytest.mark.attack
@pytest.mark.parametrize("kills", [0, 3])
@pytest.mark.parametrize("mode", ["plain", "top_k", "search", "budget"])
def test_four_processes_on_one_store_get_the_board_of_one(mode: str, kills: int, tmp_path: Path) -> None:
    check(mode, 4, kills, tmp_path)


def test_a_second_machine_loads_nothing_that_the_first_has_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    dataset = (rows, [0] * 20 + [1] * 20)
    address = f"file://{tmp_path / 'shared'}"

    def run() -> ms.Leaderboard:
        return ms.select(
            dataset, "embedded:resnet.*", estimators=["logme", "knn"], cache_dir=address, progress=False, history=False
        )

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    first = run()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "two"))
    remote._remote.cache_clear()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a candidate was loaded")

    monkeypatch.setattr(EmbeddedZoo, "load", refuse)
    assert without_times(run()) == without_times(first)
