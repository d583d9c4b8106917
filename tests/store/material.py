"""What the tests of the store share."""

from __future__ import annotations

from pathlib import Path

from modelselect.store.store import Store


def file_of(store: Store, key: str) -> Path:
    return store._path(key)
