"""A file is checked once, and again when it was touched."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from modelselect.store import entry_file, trust
from modelselect.store.store import Store
from tests.store.material import file_of


def test_a_file_is_checked_once_and_again_when_anybody_touched_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = store.key("features", candidate="a")
    store.put(key, {"x": np.arange(1000, dtype=np.float32)}, {})
    path = file_of(store, key)
    checks = []
    check = entry_file._check

    def counting(file: Any, header: bytes) -> None:
        checks.append(path)
        check(file, header)

    monkeypatch.setattr(entry_file, "_check", counting)
    for _ in range(3):
        assert store.get(key) is not None
    assert not checks, "written by this process, and untouched since"
    trust.CHECKED_FILES.clear()  # as in another process
    for _ in range(3):
        assert store.get(key) is not None
    assert len(checks) == 1
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    with path.open("r+b") as file:  # in place: same inode, same size
        file.write(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert store.get(key) is None
    assert len(checks) == 2


def test_a_write_right_after_a_read_is_noticed(store: Store) -> None:
    key = store.key("features", candidate="a")
    for flip in range(20):
        store.put(key, {"x": np.full(8, flip)}, {})
        assert store.get(key) is not None
        content = bytearray(file_of(store, key).read_bytes())
        content[-1] ^= 1
        with file_of(store, key).open("r+b") as file:
            file.write(content)
        assert store.get(key) is None
