"""Inputs are prepared once, ahead of the network, within the room that there is; nothing half prepared is left."""

from __future__ import annotations

import errno
import os
import pickle
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import modelselect as ms
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.preprocessing import CallablePreprocessing, ImagePreprocessing
from modelselect.errors import CandidateError, StoreError
from modelselect.extraction.inputs import InputCache
from modelselect.store.files import owned_name
from tests.extraction.material import CPU, FIELDS, ROWS, CountingPreprocessing, Net, Raising, backbone


def test_an_image_is_prepared_once_for_all_candidates_that_see_it_alike(probe: ms.Probe, tmp_path: Path) -> None:
    CountingPreprocessing.prepared = 0
    plain = ImagePreprocessing((16, 16), 16)
    with InputCache.temporary(tmp_path) as spool:
        for name in ("a", "b", "c"):
            candidate = backbone(name=name)
            first = spool.first(probe, candidate.preprocessing)
            assert torch.equal(first[0], plain.prepare(probe.item(0)))
            first.zero_()  # a module may change it in place
            CPU.extract(candidate, probe, FIELDS, spool=spool)
        assert CountingPreprocessing.prepared == ROWS
        assert spool.folder is not None
        assert len(list(spool.folder.glob("*.npy"))) == 1
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_behind_is_removed_and_nothing_else(tmp_path: Path) -> None:
    mine = owned_name()
    killed = mine.replace(f"@{os.getpid()}@", "@999999999@")
    elsewhere = "another-machine@999999999@0123456789abcdef"
    long_ago = elsewhere.replace("0", "f")
    unknown = "@".join(mine.split("@")[:3]).replace(mine.split("@")[2], "0" * 16)  # of an earlier version
    long_unknown = unknown.replace("0" * 16, "1" * 16)
    for name in (mine, killed, elsewhere, long_ago, unknown, long_unknown, "somebody else's"):
        (tmp_path / name).mkdir()
    then = time.time() - 2 * 86_400
    kept = {mine, elsewhere, unknown, "somebody else's"}
    if sys.platform == "linux":  # a process that runs for days, and another one that has its number now
        (tmp_path / f"{mine}0").mkdir()
        os.utime(tmp_path / mine, (then, then))
    for name in (long_ago, long_unknown):
        os.utime(tmp_path / name, (then, then))
    with InputCache.temporary(tmp_path) as spool:
        assert spool.folder is not None
        names = {path.name for path in tmp_path.iterdir()}
    assert names == kept | {spool.folder.name}


def resized(size: int, *, kind: type[ImagePreprocessing] = CountingPreprocessing) -> ImagePreprocessing:
    return kind((16, 16), size, mean=(0.5,) * 3, std=(0.25,) * 3)


BYTES = ROWS * 3 * 16 * 16


def test_a_spool_in_use_is_kept_fresh_for_other_machines(probe: ms.Probe, tmp_path: Path) -> None:
    spool = InputCache(tmp_path)
    spool.prepared(probe, resized(16))
    os.utime(tmp_path, (0, 0))
    spool.prepared(probe, resized(16))
    assert tmp_path.stat().st_mtime > 0


def test_the_spool_keeps_within_its_bound_what_was_used_last(probe: ms.Probe, tmp_path: Path) -> None:
    spool = InputCache(tmp_path, limit=int(2.5 * BYTES))
    for size, others in ((16, 0), (17, 1), (16, 1), (18, 1)):
        spool.prepared(probe, resized(size))
        kept = list(tmp_path.glob("*.npy"))
        assert len(kept) == others + 1
        assert sum(path.stat().st_size for path in kept) <= spool.limit
        time.sleep(0.02)  # file systems tell times no finer than a clock tick
    CountingPreprocessing.prepared = 0
    spool.prepared(probe, resized(16))
    spool.prepared(probe, resized(18))
    assert CountingPreprocessing.prepared == 0
    spool.prepared(probe, resized(17))
    assert CountingPreprocessing.prepared == ROWS


def test_the_bound_is_at_most_half_of_what_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    with InputCache.temporary(tmp_path) as spool:
        assert spool.limit == 500


@pytest.mark.parametrize("on_disk", [True, False])
def test_what_has_no_room_is_prepared_batch_by_batch_and_not_kept(
    probe: ms.Probe, tmp_path: Path, on_disk: bool
) -> None:
    spool = InputCache(tmp_path if on_disk else None, limit=BYTES - 1)
    expected = InputCache(None).prepared(probe, resized(16))[:]
    CountingPreprocessing.prepared = 0
    inputs = spool.prepared(probe, resized(16))
    assert len(inputs) == ROWS
    assert CountingPreprocessing.prepared == 1
    assert torch.equal(inputs[4:9], expected[4:9])
    assert torch.equal(inputs[torch.tensor([7, 0, 36])], expected[[7, 0, 36]])
    assert CountingPreprocessing.prepared == 8
    assert not list(tmp_path.iterdir())
    features = CPU.extract(backbone(), probe, FIELDS, spool=spool, batch_size=8).features
    assert features is not None
    np.testing.assert_array_equal(features, CPU.extract(backbone(), probe, FIELDS, batch_size=8).features)


def test_two_that_want_the_same_inputs_prepare_them_once(probe: ms.Probe, tmp_path: Path) -> None:
    spool = InputCache(tmp_path)
    CountingPreprocessing.prepared = 0
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: spool.prepared(probe, resized(16)), range(2))
    assert torch.equal(first[:], second[:])
    assert CountingPreprocessing.prepared <= ROWS + 1


class Watching(ImagePreprocessing):
    """Remembers what share of its file was really on the disk whenever a row was prepared."""

    folder: Path
    shares: list[float]

    def prepare(self, item: Any) -> torch.Tensor:
        for partial in self.folder.glob("*.partial"):
            stat = partial.stat()
            self.shares.append(512 * stat.st_blocks / stat.st_size)
        return super().prepare(item)


@pytest.mark.parametrize("support", ["yes", "not on this file system", "not on this system"])
def test_space_is_taken_before_rows_are_prepared(
    probe: ms.Probe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, support: str
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    if support == "not on this file system":
        monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    elif support == "not on this system":
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    monkeypatch.setattr(Watching, "folder", tmp_path, raising=False)
    monkeypatch.setattr(Watching, "shares", [], raising=False)
    inputs = InputCache(tmp_path).prepared(probe, resized(16, kind=Watching))
    assert min(Watching.shares) >= 1, "the file has holes: a full disk would kill the process"
    assert torch.equal(inputs[:], InputCache(None).prepared(probe, resized(16))[:])


def test_a_full_disk_is_an_error_with_advice_and_leaves_nothing(
    probe: ms.Probe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(StoreError, match=r"is full: free some space.*--cache-dir"):
        CPU.extract(backbone(), probe, FIELDS, spool=InputCache(tmp_path))
    assert {path.suffix for path in tmp_path.iterdir()} <= {".lock"}


class Irregular(ImagePreprocessing):
    calls = 0

    def prepare(self, item: Any) -> torch.Tensor:
        type(self).calls += 1
        return torch.zeros(3, 16, 16 + (type(self).calls == 5))


def test_inputs_that_cannot_be_prepared_leave_nothing(probe: ms.Probe, tmp_path: Path) -> None:
    with pytest.raises(CandidateError, match="different shapes"):
        InputCache(tmp_path).prepared(probe, resized(16, kind=Irregular))
    (tmp_path / "of a killed process.partial").touch()
    InputCache(tmp_path).prepared(probe, resized(16))
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.suffix != ".lock") == [".npy"]


def test_inputs_of_different_types_are_a_failed_candidate(probe: ms.Probe, tmp_path: Path) -> None:
    types = iter([torch.uint8, torch.float32] * ROWS)
    mixed = CallablePreprocessing(lambda image: torch.full((3,), 200, dtype=next(types)), "mixed")
    with pytest.raises(CandidateError, match="different dtypes: uint8 for row 0 and float32"):
        InputCache(tmp_path).prepared(probe, mixed)


def test_inputs_whose_room_is_taken_at_once_are_read_all_the_same(
    probe: ms.Probe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = InputCache(None).prepared(probe, resized(16))[:]
    keep = InputCache._keep

    def keep_and_lose(self: InputCache, path: Path) -> None:
        keep(self, path)
        path.unlink()  # as another process does that makes room

    monkeypatch.setattr(InputCache, "_keep", keep_and_lose)
    assert torch.equal(InputCache(tmp_path).prepared(probe, resized(16))[:], expected)


class Threads(ImagePreprocessing):
    seen: set[int]

    def prepare(self, item: Any) -> torch.Tensor:
        self.seen.add(threading.get_ident())
        time.sleep(0.002)
        return super().prepare(item)


def test_rows_are_prepared_on_no_more_cores_than_are_ours(probe: ms.Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2}, raising=False)
    monkeypatch.setattr(Threads, "seen", set(), raising=False)
    InputCache(None).prepared(probe, resized(16, kind=Threads))
    assert 1 < len(Threads.seen - {threading.get_ident()}) <= 3


class Waiting(Net):
    """Its first forward pass ends only when a row of a later batch has been prepared."""

    def __init__(self, prepared: threading.Event) -> None:
        super().__init__()
        self.prepared = prepared
        self.overlapped: list[bool] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.overlapped.append(self.prepared.wait(10))
        return super().forward(x)


class Announcing(ImagePreprocessing):
    """Says when a row of the second batch or later is prepared, and remembers how many were."""

    after: int
    event: threading.Event
    count = 0

    def prepare(self, item: Any) -> torch.Tensor:
        type(self).count += 1
        if type(self).count > self.after:
            self.event.set()
        return super().prepare(item)


@pytest.mark.parametrize("on_disk", [True, False])
def test_rows_are_prepared_while_the_network_computes(
    probe: ms.Probe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_disk: bool
) -> None:
    for name, value in (("after", 8), ("event", threading.Event()), ("count", 0)):
        monkeypatch.setattr(Announcing, name, value, raising=False)
    waiting = backbone(Waiting(Announcing.event))
    waiting.preprocessing = resized(16, kind=Announcing)
    CPU.extract(waiting, probe, FIELDS, batch_size=8, spool=InputCache(tmp_path if on_disk else None))
    assert waiting.module.overlapped == [True] * 5
    assert Announcing.count == ROWS


class Lagging(Net):
    """Remembers how many rows had been prepared when it was given each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(0.05)
        self.prepared.append(CountingPreprocessing.prepared)
        return super().forward(x)


def test_no_more_rows_are_prepared_ahead_than_two_batches(probe: ms.Probe) -> None:
    CountingPreprocessing.prepared = 0
    net = Lagging()
    CPU.extract(backbone(net), probe, FIELDS, batch_size=4)
    read = np.minimum(4 * np.arange(1, len(net.prepared) + 1), ROWS)
    assert (np.array(net.prepared) <= read + 2 * 4).all()
    assert (np.array(net.prepared) >= read).all()


def test_a_candidate_that_fails_on_the_way_leaves_no_half_prepared_inputs(probe: ms.Probe, tmp_path: Path) -> None:
    spool = InputCache(tmp_path)
    with pytest.raises(CandidateError):
        CPU.extract(backbone(Raising()), probe, FIELDS, spool=spool, batch_size=8)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".lock"}
    CPU.extract(backbone(), probe, FIELDS, spool=spool)
    assert len(list(tmp_path.glob("*.npy"))) == 1


class Flat(Net):
    """Takes its rows as they are kept: nothing has copied them on the way."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.reshape(-1, 3, 20, 24))


class Defacing(Flat):
    """Works in place, on its very input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.mul_(0))


def test_what_a_module_does_to_its_input_in_place_reaches_nobody_else(probe: ms.Probe, tmp_path: Path) -> None:
    def flat(module: torch.nn.Module) -> Backbone:
        candidate = backbone(module)
        candidate.preprocessing = CallablePreprocessing(
            lambda image: torch.from_numpy(np.array(image)).permute(2, 0, 1).float().flatten(), "flat"
        )
        return candidate

    spool = InputCache(tmp_path)
    found = [
        CPU.extract(flat(m), probe, FIELDS, spool=spool).features for m in (Defacing(), Flat(), Defacing(), Flat())
    ]
    expected = CPU.extract(flat(Flat()), probe, FIELDS).features
    np.testing.assert_allclose(found[1], expected, rtol=1e-6)
    np.testing.assert_allclose(found[3], expected, rtol=1e-6)


def test_on_another_machine_the_spool_is_a_folder_there_that_nobody_else_can_write(
    probe: ms.Probe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = pickle.dumps(InputCache(tmp_path / "spool" / owned_name()))
    assert pickle.loads(sent).folder == pickle.loads(sent).folder
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    there = pickle.loads(sent)
    assert there.folder.parent.parent == tmp_path
    assert there.folder.parent.stat().st_mode & 0o077 == 0
    counting, before = backbone().preprocessing, CountingPreprocessing.prepared
    for _ in range(2):
        with pickle.loads(sent).opened(probe, counting) as inputs:
            assert len(inputs[0 : len(probe)]) == len(probe)
    assert CountingPreprocessing.prepared - before <= len(probe) + 1
    monkeypatch.setattr("os.getuid", lambda: 1 + os.stat(tmp_path).st_uid)
    assert pickle.loads(sent).folder is None
