"""The splits of a table without splits of its own: what a column, or the folders of its paths, say."""

from __future__ import annotations

import os
import re
from typing import Any

from modelselect.probe.columns import LABEL_NAMES, Label, is_text, sample_of, values_of
from modelselect.probe.paths import may_be_paths
from modelselect.probe.splits import TEST, TRAIN, kind_of_split

_SPLIT_COLUMNS = frozenset({"split", "set", "subset", "partition", "dataset_split", "usage"})
"""Columns that say splits, even if some of their values are no names of splits."""

_FLAG = re.compile(r"(is|in)[ _]")

_YES, _NO = frozenset({"1", "1.0", "true", "yes"}), frozenset({"0", "0.0", "false", "no"})

_NO_SPLIT = "no split"
"""The split of rows without a value in the column of splits."""


def by_split(dataset: Any, label: Label) -> tuple[str, dict[str, Any]] | None:
    """The rows of each split, and what says the split: a column, or the first folder of paths."""
    import numpy as np

    for column in [name for name in dataset.features if name != label and name.lower() not in LABEL_NAMES]:
        found = _splits_said(dataset, column)
        if found is None:
            continue
        what, said = found
        array = np.array(said, object)
        return what, {name: dataset.select(np.flatnonzero(array == name)) for name in sorted(set(said))}
    return None


def _splits_said(dataset: Any, column: str) -> tuple[str, list[str]] | None:
    """What says the splits, and the split of each row; None for a column that says none."""
    what, name = f"the column {column!r}", column.lower()
    if flag := _FLAG.match(name):
        return _splits_flagged(dataset, column, kind_of_split(name[flag.end() :]))
    if not is_text(dataset.features[column]):
        return None
    sample = sample_of(dataset, column)
    known = name in _SPLIT_COLUMNS
    of_paths = may_be_paths(sample) and all(kind_of_split(_first_folder(path)) for path in sample)
    if not (of_paths or known or all(value and kind_of_split(value) for value in sample)):
        return None
    said = values_of(dataset, column).to_pylist()
    if of_paths:
        what, said = f"the folders in the column {column!r}", [_first_folder(path) for path in said]
    kinds = {value: kind_of_split(value) if value else None for value in set(said)}
    found = set(kinds.values()) - {None}
    only_splits = None not in kinds.values()
    if known and found and (len(kinds) > 1 or TEST in found):
        return what, [value or _NO_SPLIT for value in said]
    if of_paths and only_splits and (len(kinds) > 1 or TEST in found):
        return what, said
    return (what, said) if only_splits and TRAIN in found and len(found) > 1 else None


def _splits_flagged(dataset: Any, column: str, kind: str | None) -> tuple[str, list[str]] | None:
    """The splits that a column such as `is_test` says with 0 and 1."""
    if kind not in (TRAIN, TEST):
        return None
    said = [str(value).lower() for value in values_of(dataset, column).to_pylist()]
    if not set(said) <= _YES | _NO or len(set(said)) < 2:
        return None
    other = TRAIN if kind == TEST else TEST
    return f"the column {column!r}", [kind if value in _YES else other for value in said]


def _first_folder(path: str | None) -> str:
    """The folder that a relative path begins with; an empty text for other paths."""
    first, slash, _ = (path or "").replace(os.sep, "/").removeprefix("./").partition("/")
    return first if slash else ""
