"""The store keeps what it was given, under keys, whatever is killed, damaged or full."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from modelselect.errors import InvalidInputError, StoreError
from modelselect.store.store import Store
from tests.store.material import REPLACED, file_of

DTYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", ">i4", ">f8"]


@contextlib.contextmanager
def forked(work: Callable[[], Any]) -> Iterator[int]:
    """A child that runs `work` and ends; killed at the end of the block if it still lives."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def set_last_used(store: Store, key: str, *, hours_ago: float) -> None:
    then = time.time() - 3600 * hours_ago
    os.utime(file_of(store, key), (then, then))


# --- round trips -----------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
any_arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays_of.arrays(dtype, arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
names = st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__")


@settings(max_examples=60)
@given(st.dictionaries(names, any_arrays, max_size=4), st.dictionaries(st.text(), json_values, max_size=4))
def test_arrays_and_metadata_come_back_bit_for_bit(arrays: dict[str, Any], metadata: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        key = store.key("features", of="this test")
        store.put(key, arrays, metadata)
        entry = store.get(key)
        assert entry is not None
        assert entry.metadata == metadata
        assert entry.arrays.keys() == arrays.keys()
        for name, array in arrays.items():
            found = entry.arrays[name]
            assert (found.shape, found.dtype) == (array.shape, array.dtype.newbyteorder("<"))
            assert found.tobytes() == array.astype(found.dtype).tobytes()
            assert found.flags.aligned
            assert not found.flags.writeable


def test_arrays_are_mapped_not_loaded(store: Store) -> None:
    key = store.key("features")
    store.put(key, {"x": np.zeros((1000, 1000))})
    tracemalloc.start()
    entry = store.get(key)
    assert entry is not None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000 < entry.arrays["x"].nbytes


def test_an_array_outlives_the_eviction_of_its_entry(store: Store) -> None:
    key = store.key("features")
    store.put(key, {"x": np.arange(5)})
    entry = store.get(key)
    store.evict(max_bytes=0)
    assert entry is not None
    assert entry.arrays["x"].tolist() == [0, 1, 2, 3, 4]
    assert store.get(key) is None


def test_put_replaces(store: Store) -> None:
    key = store.key("scores")
    store.put(key, {}, {"logme": 0.5})
    store.put(key, {}, {"logme": 0.75})
    entry = store.get(key)
    assert entry is not None
    assert entry.metadata == {"logme": 0.75}
    assert abs(datetime.now(UTC) - entry.created) < timedelta(minutes=1)


def test_what_cannot_be_stored_is_refused_by_name_and_leaves_nothing(store: Store) -> None:
    key = store.key("scores")
    for arrays, metadata, message in (
        ({"words": np.array(["a"])}, {}, "'words' has dtype <U1"),
        ({"objects": np.array([None])}, {}, "'objects' has dtype object"),
        ({"__metadata__": np.ones(1)}, {}, "cannot have the name '__metadata__'"),
        ({}, {"path": Path()}, "metadata cannot be written as JSON"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            store.put(key, arrays, metadata)
    assert store.get(key) is None
    assert store.size() == 0


# --- keys ------------------------------------------------------------------------------------------------------------


def test_a_key_depends_on_everything_and_on_the_order_of_nothing() -> None:
    key = Store.key("features", a=1, b={"x": [1, 2], "y": None})
    assert key == Store.key("features", b={"y": None, "x": (1, 2)}, a=1)
    others = [
        Store.key("scores", a=1, b={"x": [1, 2], "y": None}),
        Store.key("features", a=1, b={"x": [2, 1], "y": None}),
    ]
    others += [Store.key("features", a=value, b={"x": [1, 2], "y": None}) for value in (2, 1.5, "1", True, None)]
    assert len({key, *others}) == len(others) + 1


@pytest.mark.parametrize("parts", [{"a": float("nan")}, {"a": Path()}, {"a": {1, 2}}, {"a": np.float32(1)}])
def test_a_part_that_is_not_json_is_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="parts of a key"):
        Store.key("features", **parts)


@pytest.mark.parametrize("key", ["", "features", "features-xyz", f"../x-{'0' * 64}", f"features-{'0' * 63}/", "a\n"])
def test_what_is_no_key_never_becomes_a_path(store: Store, key: str) -> None:
    for method in (store.get, store.contains, lambda k: store.put(k, {}), lambda k: store.lock(k).__enter__()):
        with pytest.raises(InvalidInputError, match="not a key"):
            method(key)
    with pytest.raises(InvalidInputError, match="kind"):
        store.key("../features")


def test_the_folder_is_the_callers_then_the_environments_then_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("MODELSELECT_CACHE", raising=False)
    assert Store().path == tmp_path / "xdg" / "modelselect"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Store().path == tmp_path / ".cache" / "modelselect"
    monkeypatch.setenv("MODELSELECT_CACHE", str(tmp_path / "mine"))
    assert Store().path == tmp_path / "mine"
    assert Store("~/given").path == tmp_path / "given"
    assert not list(tmp_path.iterdir()), "constructing a store must not write"


def test_a_store_can_be_sent_to_a_worker(store: Store) -> None:
    key = store.key("scores")
    store.put(key, {}, {"a": 1})
    assert pickle.loads(pickle.dumps(store)).get(key) is not None


def test_damage_is_logged_and_mended_by_the_next_put(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    key = store.key("scores")
    store.put(key, {}, {"a": 1})
    file_of(store, key).write_bytes(b"")
    with caplog.at_level(logging.WARNING, "modelselect"):
        assert store.get(key) is None
    assert "damaged" in caplog.text
    assert [info.key for info in store.entries()] == [key]
    store.put(key, {}, {"a": 2})
    entry = store.get(key)
    assert entry is not None
    assert entry.metadata == {"a": 2}


def consistent(metadata: dict[str, Any], arrays: dict[str, Any]) -> bool:
    return bool((arrays["x"] == metadata["value"]).all()) and len(arrays["x"]) == metadata["rows"]


def write_for_ever(store: Store, keys: list[str], seed: int) -> None:
    rng = random.Random(seed)
    while True:
        key, value, rows = rng.choice(keys), rng.randrange(250), rng.choice([0, 10, 100_000])
        x, metadata = np.full(rows, value, np.uint8), {"value": value, "rows": rows}
        if rng.random() < 0.5:
            store.put(key, {"x": x}, metadata)
        else:
            with store.writer(key, metadata) as writer:
                writer.append(x=x[: rows // 2])
                writer.append(x=x[rows // 2 :])


def test_a_writer_killed_at_any_moment_leaves_no_wrong_entry_and_no_rubbish(store: Store) -> None:
    keys = [store.key("features", candidate=i) for i in range(3)]
    rng = random.Random(0)
    found = 0
    for seed in range(300):
        if seed >= 30 and found > 20:
            break
        with forked(lambda seed=seed: write_for_ever(store, keys, seed)):
            time.sleep(rng.uniform(0.002, 0.03 * (1 + seed // 30)))  # longer on a machine where children start late
        for key in keys:
            entry = store.get(key)
            assert entry is not None or not file_of(store, key).exists()
            if entry is not None:
                found += 1
                assert consistent(dict(entry.metadata), dict(entry.arrays))
    assert found > 20, "the children wrote next to nothing; the test proves nothing"
    assert not list((store.path / "entries").rglob("*@*"))
    Store(store.path).put(keys[0], {})
    assert not list((store.path / "partial").iterdir()), "what killed writers leave is removed by the next one"


def test_many_writers_of_one_key_never_mix(store: Store) -> None:
    keys = [store.key("features", candidate=i) for i in range(2)]
    for key in keys:
        store.put(key, {"x": np.ones(1, np.uint8)}, {"value": 1, "rows": 1})
    with contextlib.ExitStack() as children:
        for seed in range(3):
            children.enter_context(forked(lambda seed=seed: write_for_ever(store, keys, seed)))
        until = time.monotonic() + 1
        seen = set()
        while time.monotonic() < until or len(seen) < 20:
            for key in keys:
                entry = store.get(key)
                assert entry is not None
                assert consistent(dict(entry.metadata), dict(entry.arrays))
                seen.add(entry.created)


# --- locks -----------------------------------------------------------------------------------------------------------


def test_of_many_processes_that_want_one_key_one_computes_it(store: Store, tmp_path: Path) -> None:
    key = store.key("features")

    def work() -> None:
        with store.lock(key):
            if store.get(key) is None:
                with (tmp_path / "computed").open("a") as log:
                    log.write("once\n")
                time.sleep(0.05)
                store.put(key, {"x": np.ones(1)})

    with contextlib.ExitStack() as children:
        pids = [children.enter_context(forked(work)) for _ in range(5)]
        for pid in pids:
            os.waitpid(pid, 0)
    assert (tmp_path / "computed").read_text() == "once\n"


def test_the_lock_of_a_killed_process_blocks_nobody(store: Store) -> None:
    key = store.key("features")
    reader, writer = multiprocessing.Pipe(duplex=False)

    def hold() -> None:
        with store.lock(key):
            writer.send("held")
            time.sleep(60)

    with forked(hold) as pid:
        assert reader.recv() == "held"
        with pytest.raises(StoreError, match="locked by another process"), store.lock(key, timeout=0.05):
            pass
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with store.lock(key, timeout=5):
            pass


def test_locks_of_other_keys_are_free(store: Store) -> None:
    with store.lock(store.key("features", a=1)), store.lock(store.key("features", a=2), timeout=0):
        pass


# --- how much, and what goes -----------------------------------------------------------------------------------------


def test_entries_say_what_there_is_and_size_adds_up(store: Store) -> None:
    keys = {store.key("features", i=i) for i in range(3)} | {store.key("scores")}
    for key in keys:
        store.put(key, {"x": np.ones(10)})
    (store.path / "entries" / "features" / "ab" / "unknown.safetensors").parent.mkdir(exist_ok=True)
    (store.path / "entries" / "features" / "ab" / "unknown.safetensors").touch()
    found = list(store.entries())
    assert {info.key for info in found} == keys
    assert sorted(info.kind for info in found) == ["features"] * 3 + ["scores"]
    assert store.size() == sum(info.size for info in found) == sum(file_of(store, key).stat().st_size for key in keys)
    assert all(abs(datetime.now(UTC) - info.created) < timedelta(minutes=1) for info in found)


def test_the_least_recently_used_go_first_and_reading_counts_as_use(store: Store) -> None:
    keys = [store.key("features", i=i) for i in range(5)]
    for age, key in enumerate(keys):
        store.put(key, {"x": np.ones(100)})
        set_last_used(store, key, hours_ago=5 - age)
    size = store.size() // 5
    store.get(keys[0])  # the oldest becomes the newest
    assert store.evict(max_bytes=3 * size) == 2 * size
    assert [store.contains(key) for key in keys] == [True, False, False, True, True]
    assert store.evict(max_bytes=3 * size) == 0


def test_what_was_not_used_for_long_goes_and_other_kinds_stay(store: Store) -> None:
    old, new, other = store.key("features", i=0), store.key("features", i=1), store.key("scores")
    for key, hours_ago in ((old, 50), (new, 1), (other, 50)):
        store.put(key, {})
        set_last_used(store, key, hours_ago=hours_ago)
    assert store.evict(older_than=timedelta(days=2), kind="features") > 0
    assert [store.contains(key) for key in (old, new, other)] == [False, True, True]
    with pytest.raises(InvalidInputError, match="max_bytes"):
        store.evict(kind="features")


def test_what_is_locked_stays(store: Store) -> None:
    locked, free = store.key("features", i=0), store.key("features", i=1)
    for key in (locked, free):
        store.put(key, {})
    with store.lock(free):
        pass
    with store.lock(locked):
        store.evict(max_bytes=0)
    assert [store.contains(key) for key in (locked, free)] == [True, False]
    store.evict(max_bytes=0)
    assert store.size() == 0


# --- a disk that does not play along ---------------------------------------------------------------------------------


@pytest.fixture
def protected() -> Iterator[Store]:
    """A store with one entry in a folder that may not be written (also not by root, who acts as nobody here)."""
    is_root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        store = Store(Path(folder) / "cache")
        store.put(store.key("scores", a=1), {}, {"logme": 0.5})
        for path in store.path.rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        store.path.chmod(0o555)
        if is_root:
            os.seteuid(65534)
        yield Store(store.path)
        if is_root:
            os.seteuid(0)
        for path in (store.path, *store.path.rglob("*")):
            path.chmod(0o755)


def test_a_read_only_store_can_be_read_and_says_what_to_do_when_written(protected: Store) -> None:
    entry = protected.get(protected.key("scores", a=1))
    assert entry is not None
    assert entry.metadata == {"logme": 0.5}
    key = protected.key("scores", a=2)
    assert protected.get(key) is None
    for attempt in (
        lambda: protected.put(key, {}),
        lambda: protected.evict(max_bytes=0),
        lambda: protected.lock(key).__enter__(),
    ):
        with pytest.raises(StoreError, match=r"(?i)permission denied.*MODELSELECT_CACHE"):
            attempt()


def test_a_file_where_the_folder_should_be_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = Store(tmp_path / "file")
    for attempt in (lambda: store.put(store.key("scores"), {}), lambda: store.get(store.key("scores"))):
        with pytest.raises(StoreError, match="Not a directory"):
            attempt()


def test_a_full_disk_is_a_store_error_with_advice_and_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"No space left.*evict"):
        store.put(store.key("features"), {"x": np.zeros(1 << 18)})
    assert not [path for path in store.path.rglob("*") if path.is_file()]


def test_a_write_cut_off_by_a_limit_leaves_nothing(store: Store) -> None:
    key = store.key("features")

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        with contextlib.suppress(StoreError):
            store.put(key, {"x": np.zeros(1 << 18)})
            (store.path / "wrong").touch()

    with forked(work) as pid:
        os.waitpid(pid, 0)
    assert not [path for path in store.path.rglob("*") if path.is_file()]


def test_importing_it_is_cheap() -> None:
    code = "import sys, modelselect.store; print({'torch', 'safetensors', 'filelock', 'scipy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="only Linux says who has a lock")
@pytest.mark.parametrize("may_go_on", [True, False])
def test_a_run_says_for_whom_it_waits_and_goes_on_without_a_suspended_one_where_that_is_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, may_go_on: bool
) -> None:
    monkeypatch.setattr("modelselect.store.store.LOOK_AFTER", 0.2)
    store, key = Store(tmp_path), Store.key("features", of="a")
    code = (
        "import os, signal, sys\nfrom modelselect.store import Store\n"
        "with Store(sys.argv[1]).lock(sys.argv[2]):\n    os.kill(os.getpid(), signal.SIGSTOP)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), key])
    os.waitpid(holder.pid, os.WUNTRACED)  # until it is suspended
    waiting = threading.Timer(2.0, holder.send_signal, [signal.SIGCONT])
    waiting.start()
    with store.lock(key, may_go_on=may_go_on):
        went_on = waiting.is_alive()
    waiting.cancel()
    holder.kill()
    holder.wait()
    assert went_on == may_go_on
    assert f"waiting for process {holder.pid} (suspended: continue it with `fg`" in caplog.text


@pytest.mark.parametrize("filled", [False, True])
def test_a_folder_with_the_name_of_an_entry_is_no_entry_and_gives_way(store: Store, filled: bool) -> None:
    keys = [store.key("features", part=part) for part in range(3)]
    for key in keys:
        file_of(store, key).mkdir(parents=True)
        if filled:
            (file_of(store, key) / "x").write_bytes(b"x")
    assert (list(store.entries()), store.size(), store.evict(max_bytes=0)) == ([], 0, 0)
    store.remove(keys[0])
    store.put(keys[1], {"a": np.ones(2)})
    with store.lock(keys[2]):
        assert store.get(keys[2]) is None
    store.remove(keys[2])
    assert [entry.key for entry in store.entries()] == [keys[1]]
    assert not file_of(store, keys[0]).exists()


@pytest.mark.parametrize("replace", REPLACED.values(), ids=REPLACED.keys())
def test_what_is_in_the_place_of_an_entry_or_a_lock_gives_way(store: Store, replace: Callable[[Path], None]) -> None:
    key = store.key("features", part=1)
    store.put(key, {"a": np.ones(2)})
    replace(file_of(store, key))
    assert store.get(key) is None
    store.put(key, {"a": np.ones(2)})
    assert store.get(key) is not None
    with store.lock(key):
        pass
    lock = next((store.path / "locks").iterdir())
    lock.touch()
    replace(lock)
    with store.lock(key):
        assert store.get(key) is not None
    lock.touch()
    replace(lock)
    store.remove(key)
    assert store.get(key) is None


def test_entries_with_a_damaged_byte_in_their_header_are_listed_and_not_read(store: Store) -> None:
    key = store.key("scores", part=1)
    store.put(key, {"a": np.ones(1)}, {"seconds": 1.5})
    whole = file_of(store, key).read_bytes()
    for place in range(0, len(whole), 3):
        for spoilt in (whole[place] ^ 1, ord("9"), ord("e")):
            if spoilt == whole[place]:
                continue
            file_of(store, key).write_bytes(whole[:place] + bytes([spoilt]) + whole[place + 1 :])
            assert [entry.key for entry in store.entries()] == [key]
            assert store.get(key) is None


def test_files_that_vanish_in_the_scratch_folders_of_others_disturb_no_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, is_file = Store(tmp_path), Path.is_file
    key = store.key("features", candidate="a")
    store.scratch(key).mkdir(parents=True)
    (store.scratch(key) / "training.partial").write_text("half")

    def vanishing(path: Path) -> bool:
        found = is_file(path)
        if path.name == "training.partial":
            path.unlink(missing_ok=True)  # its process has given it its name
        return found

    monkeypatch.setattr(Path, "is_file", vanishing)
    store.put(key, {"x": np.eye(2)})
    assert store.get(key) is not None


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_file_in_the_place_of_a_folder_of_entries_is_replaced(tmp_path: Path, level: int, kind: str) -> None:
    store, key = Store(tmp_path / "store"), Store.key("features", number=1)
    store.put(key, {"a": np.arange(3.0)})
    (entry,) = (tmp_path / "store" / "entries").rglob("*.safetensors")
    folder = entry.parents[level - 1]
    shutil.rmtree(folder)
    folder.write_bytes(b"x") if kind == "file" else folder.symlink_to("nothing")
    assert Store(tmp_path / "store").get(key) is None
    store.put(key, {"a": np.arange(3.0)})
    found = Store(tmp_path / "store").get(key)
    assert found is not None
    assert found.arrays["a"].tolist() == [0.0, 1.0, 2.0]
