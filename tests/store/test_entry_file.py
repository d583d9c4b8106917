"""An entry is one safetensors file, and damage is noticed."""

from __future__ import annotations

import numpy as np

from modelselect.store.store import Store
from tests.store.material import file_of


def test_an_entry_is_a_safetensors_file_that_the_library_reads(store: Store) -> None:
    from safetensors import safe_open
    from safetensors.numpy import load_file

    key = store.key("features", candidate="a")
    arrays = {
        "features": np.arange(6.0, dtype=np.float32).reshape(2, 3),
        "labels": np.array([1, -1]),
        "flag": np.array([True]),
    }
    store.put(key, arrays, {"quote": 'a "sha256":"0" and \ud800'})
    loaded = load_file(file_of(store, key))
    assert loaded.keys() == arrays.keys()
    assert all(np.array_equal(loaded[name], arrays[name]) for name in arrays)
    with safe_open(file_of(store, key), "np") as file:
        assert len(file.metadata()["sha256"]) == 64


# --- damage ----------------------------------------------------------------------------------------------------------


def test_every_flipped_byte_and_every_truncation_is_noticed(store: Store) -> None:
    key = store.key("features", candidate="a")
    store.put(key, {"x": np.arange(16, dtype=np.float32)}, {"seconds": 1.5})
    path = file_of(store, key)
    good = path.read_bytes()
    for position in range(len(good)):
        flipped = bytearray(good)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        assert store.get(key) is None, position
    for length in range(len(good)):
        path.write_bytes(good[:length])
        assert store.get(key) is None, length
    path.write_bytes(good + b"\0")
    assert store.get(key) is None
    path.write_bytes(good)
    assert store.get(key) is not None


def test_an_entry_under_another_name_is_not_believed(store: Store) -> None:
    mine, other = store.key("scores", candidate="a"), store.key("scores", candidate="b")
    store.put(mine, {}, {"a": 1})
    file_of(store, other).parent.mkdir(parents=True, exist_ok=True)
    file_of(store, mine).rename(file_of(store, other))
    assert store.get(other) is None


def test_a_file_with_a_fitting_checksum_but_a_senseless_header_is_not_believed(store: Store) -> None:
    import hashlib
    import struct

    key = store.key("scores")
    store.put(key, {}, {})
    for header in ('{"__metadata__":{"sha256":"%s"}}', '{"__metadata__":{"sha256":"%s","modelselect":"[]"}}'):
        length = struct.pack("<Q", len(header % ("0" * 64)))
        digest = hashlib.sha256(length + (header % ("0" * 64)).encode()).hexdigest()
        file_of(store, key).write_bytes(length + (header % digest).encode())
        assert store.get(key) is None
