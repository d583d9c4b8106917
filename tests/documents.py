"""Documents with one value changed: every path of a JSON value, and the value with another one there."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

REMOVED = object()
"""In the place of a value: the value is taken out."""

Path_ = tuple[Any, ...]


def paths(value: Any, path: Path_ = (), *, items: int = 1) -> Iterator[Path_]:
    """Every path of the document but the empty one; of each list so many items."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value[:items]) if isinstance(value, list) else ()
    for key, part in inner:
        yield from paths(part, (*path, key), items=items)


def changed(document: Any, path: Path_, value: Any) -> Any:
    """A copy of the document with this value at the path, or without the one that is there."""
    if not path:
        return copy.deepcopy(value)
    document = copy.deepcopy(document)
    place = document
    for key in path[:-1]:
        place = place[key]
    if value is REMOVED:
        del place[path[-1]]
    else:
        place[path[-1]] = copy.deepcopy(value)
    return document
