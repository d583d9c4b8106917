"""How the rows of a probe are drawn: a sample that is stratified and seeded, and whose rows are read once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import DatasetError
from modelselect.probe.faults import check_corrupt, check_readable
from modelselect.probe.rows import Rows
from modelselect.probe.sampling import quotas, shuffled_strata
from modelselect.probe.targets import Targets
from modelselect.utils.target_kinds import CLASSES, RELEVANCE

_FINGERPRINT_VERSION = b"modelselect probe 1\0"


@dataclass(frozen=True, slots=True)
class DrawnRows:
    """Some rows of a dataset, and what is to be predicted of them.

    Attributes:
        rows: all rows of the split.
        name: of the dataset.
        class_names: of the classes 0, 1, ..., or of the labels of label sets.
        positions: (N,) in `rows`, ascending.
        labels: (N,) the class of each row, or its stratum; -1 for unlabelled rows.
        targets: of each row; None for classes.
    """

    rows: Rows
    name: str
    class_names: tuple[str, ...]
    positions: NDArray[np.int64]
    labels: NDArray[np.int64]
    targets: Targets | None = None

    @property
    def target_kind(self) -> str:
        return CLASSES if self.targets is None else self.targets.kind

    @property
    def are_queries(self) -> bool:
        return self.target_kind == RELEVANCE

    def row_name(self, place: int) -> str:
        """What the row at a place among `positions` is called."""
        return self.rows.row_name(int(self.positions[place]))

    def where(self, mask: NDArray[np.bool_]) -> DrawnRows:
        chosen = np.flatnonzero(mask)
        targets = None if self.targets is None else self.targets.take(chosen)
        return replace(self, positions=self.positions[mask], labels=self.labels[mask], targets=targets)


class CheckedRows(NamedTuple):
    """The rows of a probe. `labels` are classes or strata, and `targets` are None for classes."""

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    fingerprint: str
    skipped: tuple[tuple[str, str], ...]
    targets: Targets | None = None


@dataclass(frozen=True, slots=True)
class DrawingSettings:
    """How many rows are drawn, and which.

    Attributes:
        seed: of the sample.
        max_corrupt: maximum share of corrupt rows among those that were read.
        size: maximum number of rows; None takes all.
        per_class: maximum number of rows of each class; None if the size says how many.
    """

    seed: int
    max_corrupt: float
    size: int | None = None
    per_class: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.max_corrupt, Real) or not 0 <= self.max_corrupt <= 1:
            raise DatasetError(f"max_corrupt is {self.max_corrupt!r}; expected a share from 0 to 1.")
        if self.per_class is not None:
            whole_number("per_class", self.per_class, 1)


def draw(available: DrawnRows, settings: DrawingSettings, *, keep_every_class: bool) -> CheckedRows:
    """A sample whose every row was read and decoded once. Corrupt rows are replaced by others of their class.

    Args:
        available: the rows to draw from, which are no queries.
        settings: how many, and which.
        keep_every_class: whether it is an error if no row of a class can be read.

    Raises:
        DatasetError: too many rows are corrupt, or the sample has one class.
    """
    rows, positions, labels = available.rows, available.positions, available.labels
    digests, bad = _read(available, settings)
    good = sorted(digests)
    chosen = labels[good]
    of_classes = available.target_kind == CLASSES
    if keep_every_class and of_classes:
        faults = [(int(labels[place]), available.row_name(place), bad[place]) for place in sorted(bad)]
        check_readable(faults, chosen, available.class_names)
    if available.class_names and of_classes and len(np.unique(chosen[chosen >= 0])) < 2:
        raise DatasetError(
            f"the {len(good)} rows drawn from {available.name} are all of one class, though it has "
            f"{len(available.class_names)}. Give a larger size, or repair the files that cannot be read."
        )
    chosen.flags.writeable = False
    targets = None if available.targets is None else available.targets.take(np.array(good, np.int64))
    fingerprint = fingerprint_of(rows.modality, [digests[place] for place in good], chosen, targets)
    return CheckedRows(positions[good], chosen, fingerprint, (*rows.skipped, *_skipped(available, bad)), targets)


def _read(available: DrawnRows, settings: DrawingSettings) -> tuple[dict[int, bytes], dict[int, str]]:
    """The digest of each row of the sample, and why others that were drawn cannot be used, by their places."""
    labels = available.labels
    strata = shuffled_strata(labels, settings.seed)
    if settings.per_class is None:
        wanted = quotas(strata, len(labels) if settings.size is None else settings.size)
    else:
        wanted = {k: min(settings.per_class, len(places)) if k >= 0 else 0 for k, places in strata.items()}
    taken = dict.fromkeys(strata, 0)
    digests: dict[int, bytes] = {}
    bad: dict[int, str] = {}
    while any(wanted.values()):
        drawn = [strata[k][taken[k] : taken[k] + wanted[k]] for k in strata]
        batch = np.sort(np.concatenate(drawn))
        taken = {k: taken[k] + len(part) for k, part in zip(strata, drawn, strict=True)}
        missing = dict.fromkeys(strata, 0)
        checks = available.rows.check(available.positions[batch].tolist())
        for place, check in zip(batch.tolist(), checks, strict=True):
            if check.reason is None:
                digests[place] = check.digest
            else:
                bad[place] = check.reason
                missing[int(labels[place])] += 1
        wanted = {k: min(count, len(strata[k]) - taken[k]) for k, count in missing.items()}
        looked_at = len(digests) + len(bad)
        check_corrupt(_skipped(available, bad), looked_at, available.name, settings.max_corrupt)
    return digests, bad


def _skipped(available: DrawnRows, bad: dict[int, str]) -> list[tuple[str, str]]:
    return [(available.row_name(place), bad[place]) for place in sorted(bad)]


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
