"""Rows are appended without being held in memory, and an entry comes into being whole."""

from __future__ import annotations

import contextlib
import tracemalloc

import numpy as np
import pytest

from modelselect.errors import InvalidInputError
from modelselect.store.store import Store
from modelselect.store.writer import IN_MEMORY

# --- rows in batches -------------------------------------------------------------------------------------------------


def test_rows_are_written_as_they_come_without_being_held_in_memory(store: Store) -> None:
    key = store.key("features")
    batch = np.random.default_rng(0).normal(size=(256, 512)).astype(np.float32)
    tracemalloc.start()
    with store.writer(key, {"device": "cpu"}) as writer:
        for index in range(64):
            writer.append(features=batch + index, labels=np.full(256, index))
        assert store.get(key) is None, "it does not exist before the end"
        writer.metadata["batches"] = 64
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    entry = store.get(key)
    assert entry is not None
    assert entry.arrays["features"].nbytes == 64 * batch.nbytes > 4 * peak
    assert np.array_equal(entry.arrays["features"], np.concatenate([batch + index for index in range(64)]))
    assert np.array_equal(entry.arrays["labels"], np.repeat(np.arange(64), 256))
    assert entry.metadata == {"device": "cpu", "batches": 64}


@pytest.mark.parametrize(("rows", "in_memory"), [(3, True), (IN_MEMORY, False)])
def test_rows_can_be_read_before_the_entry_exists_and_after_its_files_are_gone(
    store: Store, rows: int, in_memory: bool
) -> None:
    key, batch = store.key("features"), np.arange(2.0 * rows).reshape(rows, 2)
    with store.writer(key) as writer:
        assert writer.mapped() == {}
        writer.append(features=batch, nothing=np.empty((0, 4)))
        found = writer.mapped()
        assert found["nothing"].shape == (0, 4)
        assert isinstance(found["features"], np.memmap) != in_memory
        writer.append(features=np.ones((1, 2)))
        assert len(writer.mapped()["features"]) == rows + 1
    np.testing.assert_array_equal(found["features"], batch)
    entry = store.get(key)
    assert entry is not None
    np.testing.assert_array_equal(entry.arrays["features"], np.append(batch, np.ones((1, 2)), axis=0))
    with pytest.raises(ValueError, match="read-only"):
        found["features"][0] = 0


def test_a_block_that_raises_leaves_nothing(store: Store) -> None:
    key = store.key("features")
    with contextlib.suppress(KeyboardInterrupt), store.writer(key) as writer:
        writer.append(x=np.ones((2, IN_MEMORY)))
        raise KeyboardInterrupt
    assert store.get(key) is None
    assert not list((store.path / "partial").iterdir())


def test_rows_that_do_not_fit_those_before_are_refused(store: Store) -> None:
    with store.writer(store.key("features")) as writer:
        writer.append(x=np.ones((2, 3), np.float32))
        for rows in (np.ones((2, 4), np.float32), np.ones((2, 3))):
            with pytest.raises(InvalidInputError, match="the rows before"):
                writer.append(x=rows)
        with pytest.raises(InvalidInputError, match="single number"):
            writer.append(y=np.float32(1))
