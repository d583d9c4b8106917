"""What `select()` promises whatever the executor."""

from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import modelselect as ms
from modelselect.candidates.backbone import Backbone
from modelselect.errors import InvalidInputError
from tests.conftest import REPOSITORY
from tests.selection.material import QUICK, Flaky, rank


def test_a_candidate_that_takes_too_long_costs_its_row(
    dataset: Path, flaky: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Flaky.load

    def endless(self: Flaky, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> Backbone:
        if candidate.name == "raises":
            time.sleep(600)
        return load(self, candidate)

    monkeypatch.setattr(Flaky, "load", endless)
    rank(dataset, "flaky:good")  # imports take seconds
    board = rank(dataset, ["flaky:raises", "flaky:good"], task_timeout="3s")
    assert [row.candidate.name for row in board.ranked] == ["good"]
    failed = board.rows[-1].failure
    assert failed is not None
    assert (failed.error, failed.reason[:32]) == ("TimeoutError", "the item took longer than 3 s an")


def test_an_option_that_the_executor_does_not_have_is_an_error_that_names_the_keyword(dataset: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"'local' has no ray_address= \(--ray-address\); it has: timeout"):
        rank(dataset, "embedded:plain*", ray_address="auto")


class Watch(logging.Handler):
    """Notes CPU seconds and open files of this process after some numbers of scored candidates."""

    def __init__(self, *places: int) -> None:
        super().__init__()
        self.places = places
        self.seen: list[tuple[float, set[str]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        words = record.getMessage().split()
        if words[0] == "scoring" and words[1].partition("/")[0] in map(str, self.places):
            names = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
            self.seen.append((time.process_time(), {os.readlink(name) for name in names if name.is_symlink()}))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc here")
def test_the_hundredth_candidate_costs_what_the_twentieth_did_and_none_leaves_a_file_open(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    networks = [
        torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 2)
        ).eval()
        for _ in range(100)
    ]
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    watch, log = Watch(20, 60, 100), logging.getLogger("modelselect")
    caplog.set_level(logging.INFO, "modelselect")
    log.addHandler(watch)
    gc.disable()  # it would close what nobody has closed
    try:
        rank((images, [0, 1] * 10), networks, cache_dir=tmp_path, history=False)
    finally:
        gc.enable()
        log.removeHandler(watch)
    (first, at_first), (middle, _), (last, at_last) = watch.seen
    assert not {name for name in at_last - at_first if name.startswith("/") and str(tmp_path) in name}
    assert len(at_last) <= len(at_first) + 1
    assert last - middle < 2 * (middle - first)


@pytest.fixture
def cluster() -> Iterator[None]:
    """A cluster of this machine, which the run starts."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    ray.shutdown()
    yield
    ray.shutdown()


def without_times(board: ms.Leaderboard) -> list[ms.leaderboard.Row]:
    return [replace(row, seconds=0.0, fine_tuned_in=None) for row in board.rows]


@pytest.mark.slow
def test_ray_gives_the_board_of_local_though_a_worker_was_killed(
    dataset: Path, flaky: None, cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"
    monkeypatch.setenv("FLAKY_MARK", str(mark))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.environ["PYTHONPATH"], str(REPOSITORY / "plugins")]))
    names = [f"flaky:{name}" for name in ("good", "raises", "killed-once", "nan", "good-too")]

    def board(executor: str) -> list[ms.leaderboard.Row]:
        settings = {"executor": executor, "cache_dir": tmp_path / executor, "history": False}
        return without_times(rank(dataset, names, top_k=1, fine_tuning=QUICK, **settings))

    mark.touch()
    expected = board("local")
    mark.unlink()
    assert board("ray") == expected
    assert mark.exists(), "a worker was killed"
    assert [row.status for row in expected].count("ok") == 3


KILLED = """
import logging, os, signal, sys
import modelselect as ms

class Killer(logging.Handler):
    def emit(self, record):
        if record.getMessage().startswith("scoring 1/"):
            os.kill(os.getpid(), signal.SIGKILL)

logging.getLogger("modelselect").addHandler(Killer())
logging.getLogger("modelselect").setLevel(logging.INFO)
ms.select(
    sys.argv[1], "embedded:plain*", estimators="logme", progress=False, history=False, executor="ray",
    cache_dir=sys.argv[2],
)
"""


@pytest.mark.slow
def test_a_run_on_ray_that_was_killed_goes_on_from_the_store(dataset: Path, cluster: None, tmp_path: Path) -> None:
    script, killed = tmp_path / "killed.py", tmp_path / "killed"
    script.write_text(KILLED)
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run([sys.executable, script, dataset, killed], env=environment, stderr=subprocess.DEVNULL)
    assert done.returncode == -signal.SIGKILL
    kept = {path.name: path.stat().st_ino for path in (killed / "entries").rglob("*.safetensors")}
    assert kept
    boards = [
        rank(dataset, "embedded:plain*", history=False, cache_dir=folder) for folder in (killed, tmp_path / "whole")
    ]
    assert without_times(boards[0]) == without_times(boards[1])
    for path in (killed / "entries").rglob("*.safetensors"):
        assert path.stat().st_ino == kept.get(path.name, path.stat().st_ino), "what was kept is not computed again"
