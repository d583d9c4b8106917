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
from modelselect.probe.sampling import choose_holdout, rarest, wholes_of
from modelselect.probe.targets import Targets
from modelselect.utils.target_kinds import TARGET_KINDS

_FINGERPRINT_VERSION = b"modelselect probe 1\0"


class CheckedRows(NamedTuple):
    """The rows of a probe. `labels` are classes or strata, and `targets` are None for classes."""

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    fingerprint: str
    skipped: tuple[tuple[str, str], ...]
    targets: Targets | None = None


@dataclass(frozen=True, slots=True)
class DrawnRows:
    """Some of the rows: their positions in ascending order, and their classes; or their strata and their targets."""

    rows: Rows
    positions: NDArray[np.int64]
    labels: NDArray[np.int64]
    targets: Targets | None = None

    def where(self, mask: NDArray[np.bool_]) -> DrawnRows:
        chosen = np.flatnonzero(mask)
        targets = None if self.targets is None else self.targets.take(chosen)
        return DrawnRows(self.rows, self.positions[mask], self.labels[mask], targets)


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


def fingerprint_of(
    modality: str, digests: Sequence[bytes], labels: NDArray[np.int64], targets: Targets | None = None
) -> str:
    """The digest of rows and of what is to be predicted of them: classes, or targets of another kind."""
    digest = hashlib.sha256(_FINGERPRINT_VERSION + f"{modality} {len(digests)}\0".encode())
    for each in digests:
        digest.update(each)
    if targets is None:
        digest.update(labels.astype("<i8").tobytes())
    else:
        digest.update(f"{targets.kind} {targets.names}\0".encode())
        digest.update(np.where(np.isnan(targets.values), -1.0, targets.values).astype("<f8").tobytes())
    return digest.hexdigest()


def whole_number(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise DatasetError(f"{name} is {value!r}; expected an integer of {least} or more.")
    return int(value)


def check_target_kind(kind: str | None) -> None:
    if kind is not None and kind not in TARGET_KINDS:
        raise DatasetError(f"targets is {kind!r}; expected one of {', '.join(TARGET_KINDS)}, or None.")


def check_targets(found: Labels | Targets, name: str) -> None:
    """Raises if there is nothing to tell apart."""
    if not len(found.indices):
        raise DatasetError(f"{name} has no rows; expected at least two rows, of two classes.")
    if isinstance(found, Labels):
        _check_classes(found, name)


def _check_classes(classes: Labels, name: str) -> None:
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


def sparse(drawn: NDArray[np.int64], available: NDArray[np.int64], names: Sequence[str]) -> list[str]:
    """The sentence that says that there are too few rows for the classes; none for a usual dataset.

    Args:
        drawn: (N,) the class of each row of the probe; -1 is unlabelled.
        available: (M,) the class of each row that the probe was drawn from.
        names: of the classes.
    """
    n_classes = len(names)
    if not n_classes:
        return []
    rows, shown = (np.bincount(labels[labels >= 0], minlength=n_classes) for labels in (available, drawn))
    if rows.max() == 1:
        return [
            f"Each of the {n_classes:,} labels belongs to one row only, as if the labels were row numbers or names. "
            "No score means anything then. Give the class of each row as its label."
        ]
    if rows.sum() < 2 * n_classes:
        return [
            f"The {rows.sum():,} labelled rows have {n_classes:,} classes: fewer than two rows for a class. No score "
            "means much then. Give more rows, or fewer classes."
        ]
    if shown.sum() < 2 * n_classes:
        enough = 5 * n_classes
        none = f", and none at all for {missing:,} of them" if (missing := int((shown == 0).sum())) else ""
        more = (f"probe_size={enough}", str(enough)) if enough < rows.sum() else ("probe_size=None", "all")
        return [
            f"The probe has {shown.sum():,} labelled rows for {n_classes:,} classes: fewer than two for a class{none}. "
            f"Draw more with {more[0]} (on the command line: --probe-size {more[1]}), or size= of Probe.of()."
        ]
    once = np.flatnonzero((rows == 1) | (shown == 1)).tolist()
    if not once:
        return []
    some = ", ".join(names[k] for k in once[:5]) + (f" and {len(once) - 5} more" if len(once) > 5 else "")
    classes = f"{len(once):,} of the {n_classes:,} classes have" if len(once) > 1 else "One class has"
    what = "give more rows of it" if any(rows[k] == 1 for k in once) else "draw more rows with a larger probe_size"
    return [f"{classes} one row only ({some}). No score can show how well such a class is recognised: {what}."]


def check_readable(bad: Sequence[tuple[int, str, str]], drawn: NDArray[np.int64], names: Sequence[str]) -> None:
    """Raises if a class would vanish because none of its rows can be read.

    Args:
        bad: class, name and reason of each row that cannot be read.
        drawn: (N,) the class of each row that can be read, of those that were tried.
        names: of the classes.
    """
    lost = sorted({label for label, _, _ in bad if label >= 0} - set(drawn.tolist()))
    if lost:
        rows = [f"{name} ({reason})" for label, name, reason in bad if label == lost[0]]
        more = f"; and {len(rows) - 3} more" if len(rows) > 3 else ""
        others = f" The same holds for {', '.join(names[label] for label in lost[1:6])}." if len(lost) > 1 else ""
        raise DatasetError(
            f"no row of the class {names[lost[0]]!r} can be read, so this class would be left out: "
            f"{'; '.join(rows[:3])}{more}. Repair these rows, or remove the class.{others}"
        )


def unread(skipped: Sequence[tuple[str, str]]) -> list[str]:
    """The sentence that says which rows could not be read; none if all could."""
    if not skipped:
        return []
    some = "; ".join(f"{name} ({reason})" for name, reason in skipped[:3])
    more = f"; and {len(skipped) - 3} more" if len(skipped) > 3 else ""
    if len(skipped) == 1:
        return [f"One file or row was left out: {some}."]
    return [f"{len(skipped)} files or rows were left out: {some}{more}."]


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


def held_out_of(available: DrawnRows, share: float, seed: int) -> NDArray[np.bool_]:
    """(N,) True for the rows to hold out; see `choose_holdout`. Rows that are parts of one input stay together."""
    if available.rows.groups is None:
        return choose_holdout(available.labels, share, seed)
    whole, has = wholes_of(available.rows.groups[available.positions], available.labels)
    return choose_holdout(rarest(has), share, seed)[whole]


def can_spare(available: DrawnRows, share: float, seed: int) -> bool:
    """Whether holding rows out costs no more than this share of the rows, and leaves something to measure on.

    One row of every class is held out, at least. So a small dataset of many classes would lose more.
    """
    labels, held_out = available.labels, held_out_of(available, share, seed)
    rows, classes = int((labels >= 0).sum()), len(np.unique(labels[labels >= 0]))
    return share * rows >= classes and len(np.unique(labels[held_out])) > 1


def cut_out(available: DrawnRows, share: float, seed: int, name: str) -> tuple[DrawnRows, DrawnRows]:
    """Training rows and held-out rows."""
    held_out = held_out_of(available, share, seed)
    if len(np.unique(available.labels[held_out])) < 2:
        if available.targets is not None:
            raise DatasetError(
                f"holdout={share} asks for held-out rows, and the {len(available.labels)} rows of {name} are too few "
                "for them. Give more rows or a validation split, or set holdout=0."
            )
        counts = np.bincount(available.labels[available.labels >= 0])
        raise DatasetError(
            f"holdout={share} asks for held-out rows, but {int((counts < 2).sum())} of the {len(counts)} classes of "
            f"{name} have only one row; at least two classes need two or more. Give more rows or a validation split, "
            "or set holdout=0."
        )
    return available.where(~held_out), available.where(held_out)


def from_validation(rows: Rows, split: str, known: Labels | Targets, training: DrawnRows | None) -> DrawnRows:
    """The labelled rows of a validation split, without those whose content is also in the given training rows."""
    targets: Targets | None = None
    if isinstance(known, Labels):
        labels, unknown = rows.labels.as_classes_of(known)
    else:
        found = rows.targets(known.kind)
        assert isinstance(found, Targets)
        targets, unknown = found.in_columns_of(known)
        labels = targets.indices
    if unknown:
        raise DatasetError(
            f"the split {split!r} has {'classes' if targets is None else 'targets'} that the training split lacks: "
            f"{', '.join(unknown[:5])}. Use the same "
            "class names in both, or give only the training split, from which rows are then held out."
        )
    labelled = np.flatnonzero(labels >= 0)
    drawn = DrawnRows(rows, labelled, labels[labelled], None if targets is None else targets.take(labelled))
    if training is not None:
        seen = set(training.rows.digests(training.positions.tolist()))
        drawn = drawn.where(np.array([digest not in seen for digest in rows.digests(labelled.tolist())], np.bool_))
    if not len(drawn.positions):
        raise DatasetError(
            f"the split {split!r} has no labelled rows of its own to hold out; give only the training split."
        )
    return drawn
