"""A training that was killed goes on from its last checkpoint."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from modelselect.verification import checkpoint, verify
from modelselect.verification.checkpoint import Checkpoint
from tests.store.material import REPLACED
from tests.verification.material import FORK, HARD, FitsOnly, Killed, killed_after, overlapping, result, with_dropout


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    weights, random = torch.arange(100_000.0), torch.get_rng_state()
    checkpoint = Checkpoint(tmp_path / "training.pt")
    assert checkpoint.load() is None
    checkpoint.save({"network": {"weight": weights}, "random": [[random]], "history": [(0.5, None)]})
    state = checkpoint.load()
    assert state is not None
    assert torch.equal(state["network"]["weight"], weights)
    assert torch.equal(state["random"][0][0], random)
    assert state["history"] == [(0.5, None)]


@pytest.mark.parametrize(("seconds", "saves"), [(0, 4), (3600, 1)])
def test_fast_epochs_are_saved_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, saves: int
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", seconds)
    saved = []
    save = Checkpoint.save
    monkeypatch.setattr(
        Checkpoint, "save", lambda self, state: (saved.append(len(state["history"])), save(self, state))
    )
    verify(with_dropout(), overlapping(20), overlapping(40, seed=1), replace(HARD, epochs=4), folder=tmp_path)
    assert saved == [1, 2, 3, 4][-saves:]


def test_a_damaged_checkpoint_counts_as_none(tmp_path: Path) -> None:
    whole = verify(with_dropout(), overlapping(20), overlapping(40, seed=1), HARD)
    with pytest.raises(Killed):
        verify(
            with_dropout(), overlapping(20), overlapping(40, seed=1), HARD, folder=tmp_path, progress=killed_after(3)
        )
    path = tmp_path / "training.pt"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert Checkpoint(path).load() is None
    again = verify(with_dropout(), overlapping(20), overlapping(40, seed=1), HARD, folder=tmp_path)
    assert result(again) == result(whole)


@pytest.mark.parametrize("replaced", REPLACED.values(), ids=REPLACED.keys())
def test_what_is_in_the_place_of_files_that_a_killed_training_left_gives_way(
    tmp_path: Path, replaced: Callable[[Path], None]
) -> None:
    settings = replace(HARD, epochs=2, trials=2)
    whole = verify(with_dropout(), overlapping(20), overlapping(40, seed=1), settings)
    with pytest.raises(Killed):
        verify(
            with_dropout(), overlapping(20), overlapping(40, seed=1), settings, folder=tmp_path / "left",
            progress=killed_after(3),
        )  # fmt: skip
    for name in ("journal.log", "trial-0.pt", "trial-1.pt", "trial-1.partial"):
        folder = Path(shutil.copytree(tmp_path / "left", tmp_path / name))
        (folder / name).touch()
        replaced(folder / name)
        again = verify(with_dropout(), overlapping(20), overlapping(40, seed=1), settings, folder=folder)
        assert result(again) == result(whole), name


@pytest.mark.parametrize("trials", [1, 3])
def test_a_bit_that_flips_in_what_a_killed_training_left_changes_nothing(tmp_path: Path, trials: int) -> None:
    settings = replace(HARD, epochs=4, trials=trials)
    whole = verify(with_dropout(), overlapping(20), overlapping(40, seed=1), settings)
    with pytest.raises(Killed):
        verify(
            with_dropout(), overlapping(20), overlapping(40, seed=1), settings, folder=tmp_path / "left",
            progress=killed_after(6 if trials > 1 else 3),
        )  # fmt: skip
    names = sorted(path.name for path in (tmp_path / "left").iterdir() if path.suffix in (".pt", ".log"))
    assert names == (["journal.log", "trial-0.pt", "trial-1.pt"] if trials > 1 else ["training.pt"])
    for name in names:
        size = (tmp_path / "left" / name).stat().st_size
        for place in range(size // 6, size, size // 3):
            folder = Path(shutil.copytree(tmp_path / "left", tmp_path / f"{name} {place}"))
            content = bytearray((folder / name).read_bytes())
            content[place] ^= 16
            (folder / name).write_bytes(content)
            again = verify(with_dropout(), overlapping(20), overlapping(40, seed=1), settings, folder=folder)
            assert result(again) == result(whole), (name, place)


class Noting(FitsOnly):
    """A reader that notes every batch that is trained on, where a kill cannot take it."""

    def __init__(self, path: Path) -> None:
        super().__init__(1000)
        self.path = path

    def __call__(self, module: nn.Module, batch: torch.Tensor) -> Any:
        if module.training:
            with self.path.open("a") as file:
                file.write(".")
        return super().__call__(module, batch)

    @property
    def batches(self) -> int:
        return len(self.path.read_text()) if self.path.exists() else 0


def run_to_the_end(folder: Path, trials: int) -> None:
    """What is killed: fine-tuning into a folder; its result goes to a file."""
    torch.set_num_threads(1)
    made = replace(with_dropout(), read=Noting(folder / "batches"))
    settings = replace(HARD, epochs=8, trials=trials)
    found = verify(made, overlapping(20), overlapping(40, seed=1), settings, folder=folder / "run")
    (folder / "found.json").write_text(json.dumps(result(found)))


@pytest.mark.parametrize(("trials", "kills"), [(1, (10, 21)), (6, (10, 40))])
def test_a_process_killed_in_the_midst_goes_on_from_its_last_epoch(
    tmp_path: Path, trials: int, kills: tuple[int, ...]
) -> None:
    def start(folder: Path) -> Any:
        folder.mkdir(exist_ok=True)
        process = FORK.Process(target=run_to_the_end, args=(folder, trials))
        process.start()
        return process

    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for batches in kills:
        process = start(killed)
        while Noting(killed / "batches").batches < batches:
            assert process.is_alive()
            time.sleep(0.001)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert not (killed / "found.json").exists()
    for folder in (killed, whole):
        process = start(folder)
        process.join(timeout=120)
        assert process.exitcode == 0
    assert (killed / "found.json").read_text() == (whole / "found.json").read_text()
    per_epoch = 4 if trials == 1 else 3  # a search keeps rows for validation
    repeated = Noting(killed / "batches").batches - Noting(whole / "batches").batches
    assert 0 <= repeated <= per_epoch * len(kills)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_cuda_device_resumes_in_every_precision(tmp_path: Path, precision: str) -> None:
    settings = replace(HARD, precision=precision, patience=6)
    whole = verify(with_dropout(), overlapping(20), overlapping(40, seed=1), settings, device="cuda")
    with pytest.raises(Killed):
        verify(
            with_dropout(), overlapping(20), overlapping(40, seed=1), settings,
            device="cuda", folder=tmp_path, progress=killed_after(3),
        )  # fmt: skip
    again = verify(with_dropout(), overlapping(20), overlapping(40, seed=1), settings, device="cuda", folder=tmp_path)
    assert result(again) == result(whole)
    assert whole.accuracy > 0.5
