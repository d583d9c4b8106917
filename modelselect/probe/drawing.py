"""How the rows of a probe are drawn: stratified, seeded, and without copies if asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import DatasetError
from modelselect.probe.labels import Labels
from modelselect.probe.rows import Rows
from modelselect.probe.sampling import choose_holdout

_FINGERPRINT_VERSION = b"modelselect probe 1\0"


class CheckedRows(NamedTuple):
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    fingerprint: str
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class DrawnRows:
    """Some of the rows: their positions in ascending order, and their classes."""

    rows: Rows
    positions: NDArray[np.int64]
    labels: NDArray[np.int64]

    def where(self, mask: NDArray[np.bool_]) -> DrawnRows:
        return DrawnRows(self.rows, self.positions[mask], self.labels[mask])


@dataclass(frozen=True, slots=True)
class DrawingSettings:
    """Attributes: `per_class` is the maximum number of rows of each class, if the probe has no size of its own."""

    seed: int
    max_corrupt: float
    per_class: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.max_corrupt, Real) or not 0 <= self.max_corrupt <= 1:
            raise DatasetError(f"max_corrupt is {self.max_corrupt!r}; expected a share from 0 to 1.")
        if self.per_class is not None:
            whole_number("per_class", self.per_class, 1)


def fingerprint_of(modality: str, digests: Sequence[bytes], labels: NDArray[np.int64]) -> str:
    digest = hashlib.sha256(_FINGERPRINT_VERSION + f"{modality} {len(digests)}\0".encode())
    for each in digests:
        digest.update(each)
    digest.update(labels.astype("<i8").tobytes())
    return digest.hexdigest()


def whole_number(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise DatasetError(f"{name} is {value!r}; expected an integer of {least} or more.")
    return int(value)


def check_classes(classes: Labels, name: str) -> None:
    if not len(classes.indices):
        raise DatasetError(f"{name} has no rows; expected at least two rows, of two classes.")
    if len(classes.names) == 1:
        unlabelled = int((classes.indices < 0).sum())
        hint = f" ({unlabelled} rows are labelled -1 or None, which means unlabelled.)" if unlabelled else ""
        if classes.originals == (0,) and not unlabelled:
            raise DatasetError(
                f"all {len(classes.indices)} labels of {name} are 0; expected at least two classes. If labels of shape "
                "(N, 1) were given as labels.argmax(1), which is 0 in every row, give the labels themselves."
            )
        if classes.originals == (1,) and unlabelled:
            hint += " If -1 is the other class, give [label == 1 for label in labels]."
        raise DatasetError(
            f"{name} has one class, {classes.names[0]!r}; expected at least two. Check that you gave the folder that "
            f"holds the class folders, not a folder above or below it.{hint}"
        )


def unread(skipped: Sequence[tuple[str, str]]) -> list[str]:
    """The sentence that says which rows could not be read; none if all could."""
    if not skipped:
        return []
    some = "; ".join(f"{name} ({reason})" for name, reason in skipped[:3])
    more = f"; and {len(skipped) - 3} more" if len(skipped) > 3 else ""
    return [f"{len(skipped)} files or rows could not be read and were left out: {some}{more}."]


def first_of_each_content(rows: Rows) -> NDArray[np.int64]:
    """Positions of the rows that are not copies of earlier rows. Unreadable rows are kept, to be reported later."""
    seen: set[bytes] = set()
    kept = []
    for position, digest in enumerate(rows.digests(range(len(rows)))):
        if digest is None or digest not in seen:
            kept.append(position)
        if digest is not None:
            seen.add(digest)
    return np.array(kept, np.int64)


def cut_out(available: DrawnRows, share: float, seed: int, name: str) -> tuple[DrawnRows, DrawnRows]:
    """Training rows and held-out rows."""
    held_out = choose_holdout(available.labels, share, seed)
    if len(np.unique(available.labels[held_out])) < 2:
        counts = np.bincount(available.labels[available.labels >= 0])
        raise DatasetError(
            f"holdout={share} asks for held-out rows, but {int((counts < 2).sum())} of the {len(counts)} classes of "
            f"{name} have only one row; at least two classes need two or more. Give more rows or a validation split, "
            "or set holdout=0."
        )
    return available.where(~held_out), available.where(held_out)


def from_validation(rows: Rows, split: str, classes: Labels, training: DrawnRows | None) -> DrawnRows:
    """The labelled rows of a validation split, without those whose content is also in the given training rows."""
    labels, unknown = rows.labels.as_classes_of(classes)
    if unknown:
        raise DatasetError(
            f"the split {split!r} has classes that the training split lacks: {', '.join(unknown[:5])}. Use the same "
            "class names in both, or give only the training split, from which rows are then held out."
        )
    labelled = np.flatnonzero(labels >= 0)
    drawn = DrawnRows(rows, labelled, labels[labelled])
    if training is not None:
        known = set(training.rows.digests(training.positions.tolist()))
        drawn = drawn.where(np.array([digest not in known for digest in rows.digests(labelled.tolist())], np.bool_))
    if not len(drawn.positions):
        raise DatasetError(
            f"the split {split!r} has no labelled rows of its own to hold out; give only the training split."
        )
    return drawn
