"""Extraction: one pass, each image prepared once, memory that runs out costs batch size and not the run."""

from __future__ import annotations

import errno
import os
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import modelselect as ms
from modelselect.candidates.backbone import Backbone, Outputs
from modelselect.candidates.preprocessing import CallablePreprocessing, ImagePreprocessing
from modelselect.candidates.readers import HeadInput, WholeOutput
from modelselect.errors import CandidateError, InvalidInputError, OutOfMemoryError, StoreError
from modelselect.evaluation.context import EvaluationContext
from modelselect.evaluation.loading import Assessor
from modelselect.evaluation.own_modules import ModuleZoo
from modelselect.extraction.devices import Compute, check_precision, choose_device
from modelselect.extraction.extractor import Extractor, choose_extractor
from modelselect.extraction.inputs import InputCache
from modelselect.host.host import Host, get_host
from modelselect.store.files import owned_name
from modelselect.utils.system import usable_cores

ROWS = 37
FIELDS = frozenset({"features", "source_probabilities"})
CPU = get_host().extractor("cpu")
BATCH_TOLERANCE = 1e-5
"""Features may differ by this much, relative to their largest, when the batch size does."""


class Net(torch.nn.Module):
    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 8, 3, stride=2)
        self.norm = torch.nn.BatchNorm2d(8)
        self.drop = torch.nn.Dropout(0.5)
        self.head = torch.nn.Linear(8, classes)
        self.calls: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(x))
        return self.head(self.drop(self.norm(self.conv(x)).relu().mean((2, 3))))


class CountingPreprocessing(ImagePreprocessing):
    prepared = 0

    def prepare(self, item: Any) -> torch.Tensor:
        type(self).prepared += 1
        return super().prepare(item)


def backbone(module: torch.nn.Module | None = None, name: str = "net", **reader: Any) -> Backbone:
    preprocessing = CountingPreprocessing((16, 16), 16, mean=(0.5,) * 3, std=(0.25,) * 3)
    return Backbone(ms.Candidate("shelf", name), module or Net(), preprocessing, HeadInput("head", **reader), "weights")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (ROWS, 20, 24, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def probe(images: np.ndarray) -> ms.Probe:
    return ms.Probe.of((images, np.arange(ROWS) % 3), size=None)


def test_features_and_probabilities_are_those_of_a_bare_loop(probe: ms.Probe) -> None:
    net = Net().eval()
    evidence = CPU.extract(backbone(net), probe, FIELDS, batch_size=8)
    assert evidence.features is not None
    assert evidence.source_probabilities is not None
    for row in range(ROWS):
        image: Image.Image = probe.item(row)
        resized = image.resize((int(16 * 24 / 20), 16), Image.Resampling.BILINEAR)
        left = round((resized.width - 16) / 2)
        pixels = np.array(resized.crop((left, 0, left + 16, 16)))
        x = (torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.25
        with torch.no_grad():
            features = net.norm(net.conv(x)).relu().mean((2, 3))
            probabilities = net.head(features).softmax(1)
        np.testing.assert_allclose(evidence.features[row], features[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(evidence.source_probabilities[row], probabilities[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(evidence.labels, probe.labels)


def test_every_row_goes_through_the_network_once(probe: ms.Probe) -> None:
    net = Net()
    CPU.extract(backbone(net), probe, FIELDS, batch_size=8)
    assert net.calls == [8, 8, 8, 8, 5]


def test_features_do_not_depend_on_the_batch_size(probe: ms.Probe) -> None:
    found = [CPU.extract(backbone(), probe, FIELDS, batch_size=size).features for size in (1, 7, 64)]
    for features in found[1:]:
        assert np.abs(features - found[0]).max() <= BATCH_TOLERANCE * np.abs(found[0]).max()


def test_the_module_comes_back_as_it_was(probe: ms.Probe) -> None:
    net = Net().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    CPU.extract(backbone(net), probe, FIELDS)
    assert net.training
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_backbone_without_source_classes_gives_no_probabilities(probe: ms.Probe) -> None:
    evidence = CPU.extract(backbone(has_logits=False), probe, FIELDS)
    assert evidence.source_probabilities is None
    assert evidence.features is not None


def test_an_image_is_prepared_once_for_all_candidates_that_see_it_alike(probe: ms.Probe, tmp_path: Path) -> None:
    CountingPreprocessing.prepared = 0
    with InputCache.temporary(tmp_path) as spool:
        for name in ("a", "b", "c"):
            CPU.extract(backbone(name=name), probe, FIELDS, spool=spool)
        assert CountingPreprocessing.prepared == ROWS
        assert spool.folder is not None
        assert len(list(spool.folder.glob("*.npy"))) == 1
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_behind_is_removed_and_nothing_else(tmp_path: Path) -> None:
    mine = owned_name()
    killed = mine.replace(f"@{os.getpid()}@", "@999999999@")
    elsewhere = "another-machine@999999999@0123456789abcdef"
    long_ago = elsewhere.replace("0", "f")
    for name in (mine, killed, elsewhere, long_ago, "somebody else's"):
        (tmp_path / name).mkdir()
    then = time.time() - 2 * 86_400
    os.utime(tmp_path / long_ago, (then, then))
    with InputCache.temporary(tmp_path) as spool:
        assert spool.folder is not None
        names = {path.name for path in tmp_path.iterdir()}
    assert names == {mine, elsewhere, "somebody else's", spool.folder.name}


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


# --- overlap ---------------------------------------------------------------------------------------------------------


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


class TwoUnderWay(type(CPU)):  # type: ignore[misc]
    """Collects a batch only when the next has been sent, as on a device that computes by itself."""

    in_flight = 2


def test_batches_under_way_at_once_keep_their_order_and_survive_a_smaller_batch(probe: ms.Probe) -> None:
    expected = CPU.extract(backbone(), probe, FIELDS, batch_size=4)
    found = TwoUnderWay().extract(backbone(), probe, FIELDS, batch_size=4)
    np.testing.assert_array_equal(found.features, expected.features)
    np.testing.assert_array_equal(found.source_probabilities, expected.source_probabilities)
    hungry = backbone(Hungry(4, OUT_OF_MEMORY[0], after=2), name="later hungry")
    found = TwoUnderWay().extract(hungry, probe, FIELDS, batch_size=8)
    assert hungry.module.calls[:4] == [8, 8, -8, 4]
    np.testing.assert_allclose(found.features, expected.features, rtol=1e-5, atol=1e-6)


# --- how it computes -------------------------------------------------------------------------------------------------


def test_large_rows_go_through_the_processor_a_few_at_a_time() -> None:
    pixels = np.zeros((20, 8, 8, 3), np.uint8)
    probe = ms.Probe.of((pixels, np.arange(20) % 2), size=None)
    for size, expected in ((224, [8, 8, 4]), (32, [20])):
        net = Net()
        candidate = backbone(net)
        candidate.preprocessing = ImagePreprocessing((size, size), size)
        CPU.extract(candidate, probe, FIELDS)
        assert net.calls == expected


def test_no_more_threads_compute_than_there_are_cores(probe: ms.Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(Net):
        threads: int

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.threads = torch.get_num_threads()
            return super().forward(x)

    before = torch.get_num_threads()
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    torch.set_num_threads(3)
    try:
        counting = backbone(Counting())
        CPU.extract(counting, probe, FIELDS)
        assert counting.module.threads == 1
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_containers_share_of_the_cores_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    for quota, cores in (("150000 100000", 2), ("max 100000", 64), ("", 64), ("5000 100000", 1)):
        monkeypatch.setattr("modelselect.utils.system._control_group", lambda name, quota=quota: quota)
        assert usable_cores() == cores


def test_less_precision_changes_features_a_little_and_they_stay_float32(probe: ms.Probe) -> None:
    full = CPU.extract(backbone(), probe, FIELDS).features
    half = CPU.extract(backbone(), probe, FIELDS, precision="bfloat16").features
    assert full is not None
    assert half is not None
    assert half.dtype == np.float32
    assert 0 < np.abs(half - full).max() <= 2**-6 * np.abs(full).max()


@pytest.mark.parametrize(("precision", "words"), [("float16", "only be emulated"), ("int8", "expected one of")])
def test_a_precision_that_the_processor_has_not_is_refused(precision: str, words: str) -> None:
    check_precision("float32", "cpu")
    with pytest.raises(InvalidInputError, match=words):
        check_precision(precision, "cpu")


def test_bfloat16_is_for_processors_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for instructions in ({"avx512_bf16": True}, {"bf16": True}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=instructions: found, raising=False)
        check_precision("bfloat16", "cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False}, raising=False)
    with pytest.raises(InvalidInputError, match="emulated"):
        check_precision("bfloat16", "cpu")


def test_a_compiled_candidate_gives_the_same_features(probe: ms.Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def compile(read: Any) -> Any:  # traced as ever; what follows needs a compiler, and half a minute
        compiled.append(read)
        return torch._dynamo.optimize("eager")(read)

    expected = CPU.extract(backbone(), probe, FIELDS, batch_size=8)
    monkeypatch.setattr(torch, "compile", compile)
    found = CPU.extract(backbone(), probe, FIELDS, batch_size=8, compile=True)
    assert len(compiled) == 1
    np.testing.assert_allclose(found.features, expected.features, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.source_probabilities, expected.source_probabilities, rtol=1e-5, atol=1e-6)


class Uneven(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(x), len(x))


def test_batches_of_different_widths_are_a_failed_candidate(probe: ms.Probe) -> None:
    uneven = backbone(Uneven())
    uneven.read = WholeOutput()
    with pytest.raises(CandidateError, match="8 dimensions in one batch and 5 in another"):
        CPU.extract(uneven, probe, FIELDS, batch_size=8)


def test_probabilities_of_some_batches_alone_are_a_failed_candidate(probe: ms.Probe) -> None:
    torn = backbone()
    whole, calls = torn.read, iter(range(100))

    def read(module: torch.nn.Module, batch: torch.Tensor) -> Outputs:
        outputs = whole(module, batch)
        return outputs if next(calls) < 2 else outputs._replace(logits=None)

    torn.read = read
    with pytest.raises(CandidateError, match="first batch has features and source_probabilities, but another has"):
        CPU.extract(torn, probe, FIELDS | {"source_probabilities"}, batch_size=8)


class Collecting:
    """A sink that remembers the sizes of what it is sent."""

    def __init__(self) -> None:
        self.sizes: dict[str, list[int]] = {}
        self.rows: dict[str, list[np.ndarray]] = {}

    def append(self, **rows: np.ndarray) -> None:
        for name, batch in rows.items():
            self.sizes.setdefault(name, []).append(len(batch))
            self.rows.setdefault(name, []).append(batch)

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: np.concatenate(batches) for name, batches in self.rows.items()}


def test_a_sink_is_sent_every_batch_as_it_comes(probe: ms.Probe) -> None:
    sink = Collecting()
    evidence = CPU.extract(backbone(), probe, FIELDS, batch_size=8, sink=sink)
    assert sink.sizes == {field: [8, 8, 8, 8, 5] for field in FIELDS}
    expected = CPU.extract(backbone(), probe, FIELDS, batch_size=8)
    np.testing.assert_array_equal(evidence.features, expected.features)
    np.testing.assert_array_equal(evidence.source_probabilities, expected.source_probabilities)


def test_features_stream_to_the_store_and_are_read_from_its_file(tmp_path: Path) -> None:
    rows, dimensions = 6000, 2048
    numbers = np.random.default_rng(0).normal(size=(rows, 16)).astype(np.float32)
    probe = ms.Probe.of((numbers, np.arange(rows) % 3), size=None)
    zoo = ModuleZoo({"wide": (torch.nn.Sequential(torch.nn.Linear(16, dimensions), torch.nn.ReLU()), None)}, probe)
    context = EvaluationContext(
        probe=probe,
        source=None,
        estimators=(),
        cache_dir=tmp_path,
        spool=InputCache(tmp_path / "spool"),
        compute=Compute("cpu", 64),
        trust_remote_code=False,
        seed=0,
        zoos={"module": zoo},
    )
    assessor = Assessor(context, next(iter(zoo.search("*"))))
    _ = assessor.backbone, probe.labels
    tracemalloc.start()
    features = assessor._forward(probe, FIELDS)["features"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert features.shape == (rows, dimensions)
    assert peak < features.nbytes / 2, f"{peak:,} bytes"
    with torch.no_grad():
        expected = assessor.backbone.module(torch.from_numpy(numbers))
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)


class Hungry(Net):
    """Runs out of memory above a batch size, as CUDA and the CPU allocator say it."""

    def __init__(self, limit: int, error: Exception, after: int = 0) -> None:
        super().__init__()
        self.limit, self.error, self.after = limit, error, after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.limit and len(self.calls) >= self.after:
            self.calls.append(-len(x))
            raise self.error
        return super().forward(x)


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried ..."),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_out_of_memory_halves_the_batch_and_is_remembered(probe: ms.Probe, error: Exception) -> None:
    net = Hungry(5, error)
    hungry = backbone(net, name=f"hungry-{type(error).__name__}")
    evidence = CPU.extract(hungry, probe, FIELDS, batch_size=16)
    assert net.calls[:3] == [-16, -8, 4]
    plain = CPU.extract(backbone(), probe, FIELDS, batch_size=4)
    np.testing.assert_allclose(evidence.features, plain.features, rtol=1e-5, atol=1e-6)
    net.calls.clear()
    CPU.extract(hungry, probe, FIELDS, batch_size=16)
    assert net.calls[0] == 4


def test_a_model_that_does_not_fit_at_all_says_so(probe: ms.Probe) -> None:
    with pytest.raises(OutOfMemoryError, match="a single row"):
        CPU.extract(backbone(Hungry(0, OUT_OF_MEMORY[0]), name="giant"), probe, FIELDS)


class Raising(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise KeyError("nothing here")


class Overflowing(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x * float("inf"))


def test_a_forward_pass_that_raises_is_a_failed_candidate(probe: ms.Probe) -> None:
    with pytest.raises(CandidateError, match="KeyError"):
        CPU.extract(backbone(Raising()), probe, FIELDS)


def test_features_that_are_not_finite_are_refused(probe: ms.Probe) -> None:
    with pytest.raises(ms.errors.EvidenceError, match="NaN or infinity"):
        CPU.extract(backbone(Overflowing()), probe, FIELDS)


def test_the_device_is_chosen_and_checked() -> None:
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == "cpu"
    with pytest.raises(InvalidInputError, match="abacus"):
        choose_device("abacus")
    assert choose_device("abacus:1", ["cpu", "abacus"]) == "abacus:1"
    if not torch.cuda.is_available():
        with pytest.raises(InvalidInputError, match="cuda"):
            choose_device("cuda", ["cpu", "cuda"])
    extractors: dict[str, Extractor] = get_host().extractors
    assert choose_extractor(extractors, backbone(), "cpu").name == "cpu"
    assert choose_extractor(extractors, backbone(), "cuda:1").name == "cuda"
    with pytest.raises(CandidateError, match="no extractor"):
        choose_extractor(extractors, backbone(), "xpu")


class Abacus(type(CPU)):  # type: ignore[misc]
    name = "abacus"

    def supports(self, backbone: Backbone, device: str) -> bool:
        return device.split(":")[0] == "abacus"

    def extract(self, *given: Any, device: str, **settings: Any) -> ms.Evidence:
        assert device == "abacus:1"
        evidence: ms.Evidence = super().extract(*given, device="cpu", **settings)
        return evidence


class Beads:
    @ms.hookimpl
    def modelselect_register_extractors(self) -> list[Extractor]:
        return [Abacus()]


def test_an_extractor_for_a_device_that_torch_does_not_know_is_used(
    images: np.ndarray, tmp_path: Path, use_host: Callable[[Host], None]
) -> None:
    host = Host.load()
    host.register(Beads(), "beads")
    use_host(host)
    dataset = (images, np.arange(ROWS) % 3)
    boards = [
        ms.select(dataset, "embedded:plain*", estimators="logme", device=device, cache_dir=tmp_path, progress=False)
        for device in ("abacus:1", "cpu")
    ]
    assert [row.score for row in boards[0].rows] == [row.score for row in boards[1].rows]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_gives_the_same_features_as_the_processor(probe: ms.Probe) -> None:
    cuda = get_host().extractor("cuda")
    on_cpu = CPU.extract(backbone(), probe, FIELDS).features
    on_gpu = cuda.extract(backbone(), probe, FIELDS, device="cuda").features
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-4, atol=1e-5)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("settings", [{"precision": "float16"}, {"compile": True}])
def test_the_gpu_gives_nearly_the_same_features_in_other_ways(probe: ms.Probe, settings: dict[str, Any]) -> None:
    cuda = get_host().extractor("cuda")
    expected = cuda.extract(backbone(), probe, FIELDS, device="cuda").features
    found = cuda.extract(backbone(), probe, FIELDS, device="cuda", batch_size=8, **settings).features
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-2)
