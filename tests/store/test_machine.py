"""Whatever is done to a store, in whatever order: what it gives is what was put last, or nothing."""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from modelselect.store.store import Store
from modelselect.store.trust import CHECKED_FILES
from tests.store.material import file_of

KEYS = [Store.key(kind, part=part) for kind in ("features", "scores", "fine_tuned") for part in range(2)]
keys, handles, places = st.sampled_from(KEYS), st.integers(0, 1), st.floats(0, 1, exclude_max=True)


class StoreMachine(RuleBasedStateMachine):
    """Two handles on one folder, and what was put last under each key."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.stores = [Store(self.folder / "cache"), Store(self.folder / "cache")]
        self.last: dict[str, Any] = {}  # what was put and has not been lost
        self.count = 0

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def made(self, rows: int) -> tuple[dict[str, Any], dict[str, int]]:
        self.count += 1
        return {"a": np.full((rows, 3), self.count, np.float32), "b": np.arange(rows)}, {"number": self.count}

    @rule(key=keys, handle=handles, rows=st.integers(0, 5), sync=st.booleans())
    def put(self, key: str, handle: int, rows: int, sync: bool) -> None:
        self.last[key] = self.made(rows)
        self.stores[handle].put(key, *self.last[key], sync=sync)

    @rule(key=keys, handle=handles, batches=st.lists(st.integers(0, 4), min_size=1, max_size=3), fails=st.booleans())
    def write_rows(self, key: str, handle: int, batches: list[int], fails: bool) -> None:
        parts = [self.made(rows)[0] for rows in batches]
        try:
            with self.stores[handle].writer(key, {"number": self.count}) as writer:
                for part in parts:
                    writer.append(**part)
                if fails:
                    raise InterruptedError
        except InterruptedError:
            return
        whole = {name: np.concatenate([part[name] for part in parts]) for name in ("a", "b")}
        self.last[key] = whole, {"number": self.count}

    @rule(key=keys, handle=handles)
    def remove(self, key: str, handle: int) -> None:
        self.stores[handle].remove(key)
        self.last.pop(key, None)

    @rule(key=keys, handle=handles)
    def a_locked_entry_is_not_evicted(self, key: str, handle: int) -> None:
        there = self.stores[0].contains(key)
        with self.stores[handle].lock(key):
            self.stores[1 - handle].evict(max_bytes=0)
            assert self.stores[1 - handle].contains(key) == there
        self.forget({k for k in KEYS if k != key and not k.startswith("fine_tuned")})

    @rule(handle=handles, kind=st.sampled_from([None, "features", "scores", "fine_tuned"]), most=st.integers(0, 2000))
    def evict(self, handle: int, kind: str | None, most: int) -> None:
        promised = self.stores[1 - handle].evictable(max_bytes=most, kind=kind)
        before = {entry.key for entry in self.stores[handle].entries()}
        assert self.stores[handle].evict(max_bytes=most, kind=kind) == sum(promised.values())
        assert before - {entry.key for entry in self.stores[handle].entries()} == set(promised)
        assert kind is not None or not any(key.startswith("fine_tuned") for key in promised)
        self.forget(set(promised))

    @rule(handle=handles)
    def nothing_new_is_old(self, handle: int) -> None:
        assert self.stores[handle].evict(older_than=timedelta(hours=1)) == 0

    @rule(key=keys, place=places, bit=st.integers(0, 7))
    def flip_a_bit(self, key: str, place: float, bit: int) -> None:
        path = file_of(self.stores[0], key)
        if path.is_file():
            raw = bytearray(path.read_bytes())
            raw[int(place * len(raw))] ^= 1 << bit
            path.write_bytes(raw)
            self.last.pop(key, None)

    @rule(key=keys, place=places, filling=st.sampled_from([b"", b"\0" * 64, b"{" * 64]))
    def cut_and_fill(self, key: str, place: float, filling: bytes) -> None:
        path = file_of(self.stores[0], key)
        if path.is_file():
            raw = path.read_bytes()
            path.write_bytes(raw[: int(place * len(raw))] + filling)
            self.last.pop(key, None)

    @rule(key=keys, other=keys)
    def swap(self, key: str, other: str) -> None:
        one, two = (file_of(self.stores[0], k) for k in (key, other))
        if key != other and one.is_file() and two.is_file():
            shutil.copyfile(one, two)
            self.last.pop(other, None)

    @rule(key=keys, filled=st.booleans())
    def a_folder_in_its_place(self, key: str, filled: bool) -> None:
        path = file_of(self.stores[0], key)
        if path.is_file():
            path.unlink()
            path.mkdir()
            if filled:
                (path / "x").write_bytes(b"x")
            self.last.pop(key, None)

    @rule(handle=handles)
    def open_again(self, handle: int) -> None:
        self.stores[handle] = Store(self.folder / "cache")
        CHECKED_FILES.clear()  # as in a new process

    @rule(key=keys, rows=st.integers(1, 3))
    def take_over(self, key: str, rows: int) -> None:
        other = Store(self.folder / "other")
        self.last[key] = self.made(rows)
        other.put(key, *self.last[key])
        self.stores[0].take_over(key, other)

    @rule()
    def all_is_deleted(self) -> None:
        shutil.rmtree(self.folder / "cache", ignore_errors=True)
        self.last.clear()

    @invariant()
    def what_is_found_was_put_last(self) -> None:
        for store in self.stores:
            for key in KEYS:
                entry = store.get(key)
                if key not in self.last:
                    assert entry is None
                    continue
                arrays, metadata = self.last[key]
                assert entry is not None
                assert entry.metadata == metadata
                assert {name: array.tolist() for name, array in entry.arrays.items()} == {
                    name: array.tolist() for name, array in arrays.items()
                }

    @invariant()
    def the_list_is_whole(self) -> None:
        listed = list(self.stores[0].entries())
        assert {entry.key for entry in listed} >= self.last.keys()
        assert not list((self.folder / "cache" / "partial").glob("*"))

    def forget(self, gone: set[str]) -> None:
        for key in gone:
            self.last.pop(key, None)


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=10, stateful_step_count=20, suppress_health_check=list(HealthCheck))
