"""From the arguments of `Probe.of` to the rows to draw from, the rows to hold out, and what the provenance says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import DatasetError
from modelselect.probe.columns import Asked
from modelselect.probe.drawing import DrawingSettings, DrawnRows, whole_number
from modelselect.probe.holding_out import can_spare, cut_out, labelled_test, of_split
from modelselect.probe.labels import Labels
from modelselect.probe.rows import Rows
from modelselect.probe.sources import open_splits
from modelselect.probe.splits import check_wanted, choose_split
from modelselect.probe.targets import Targets
from modelselect.utils.target_kinds import LABEL_SETS, RELEVANCE, TARGET_KINDS
from modelselect.utils.text import as_python, counted
from modelselect.utils.versions import PROBE_LIBRARIES, numeric_versions


@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """The arguments of `Probe.of`, which describes them."""

    size: int | None
    seed: int
    holdout: float
    deduplicate: bool
    label: str | tuple[str, ...] | None
    input: str | tuple[str, str] | None
    split: str | None
    max_corrupt: float
    max_pixels: int | None
    test_as_holdout: bool
    may_keep_all: bool
    targets: str | None

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, as_python(getattr(self, field.name)))
        for name, several in (("label", True), ("input", True), ("split", False), ("targets", False)):
            _check_names(name, getattr(self, name), several=several)
        if self.targets is not None and self.targets not in TARGET_KINDS:
            raise DatasetError(f"targets is {self.targets!r}; expected one of {', '.join(TARGET_KINDS)}, or None.")
        _ = self.drawing
        if not isinstance(self.holdout, Real) or not 0 <= self.holdout < 1:
            raise DatasetError(f"holdout is {self.holdout!r}; expected a share of at least 0 and below 1.")
        check_wanted(self.split)

    @property
    def drawing(self) -> DrawingSettings:
        """How many rows are drawn, and which."""
        size = None if self.size is None else whole_number("size", self.size, 2)
        return DrawingSettings(whole_number("seed", self.seed, 0), self.max_corrupt, size)

    @property
    def asked(self) -> dict[str, Any]:
        """What differs from the usual, but size and seed, as the provenance keeps it and `of_record` takes it."""
        given = {name: getattr(self, name) for name in KEPT}
        kept = {name: value for name, value in given.items() if value is not None and value is not False}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}

    @staticmethod
    def of_record(record: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of `Probe.of` that a provenance keeps, which may come from a file."""
        whole, seed, known = (record.get(key) for key in ("part_of", "seed", "asked"))
        size = (whole if isinstance(whole, Mapping) else record).get("requested_size")
        asked = known if isinstance(known, Mapping) else {}
        given: dict[str, Any] = {name: tuple(v) if isinstance(v := asked.get(name), list) else v for name in KEPT}
        given = {name: value for name, value in given.items() if isinstance(value, str | int | float | tuple)}
        return {
            "size": size if isinstance(size, int) else None,
            "seed": seed if isinstance(seed, int) else 0,
            **given,
        }


def _check_names(name: str, value: Any, *, several: bool) -> None:
    """Raises for what is no text, and, where several may be given, no list of texts."""
    is_list = several and isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value)
    if value is not None and not isinstance(value, str) and not is_list:
        shown = repr(value) if isinstance(value, (int, float, bytes, list, tuple)) else type(value).__name__
        raise DatasetError(f"{name} is {shown}; expected a text{', a list of texts' if several else ''} or None.")


KEPT = tuple(field.name for field in fields(ProbeSettings) if field.name not in ("size", "seed"))
"""The settings that the provenance keeps as they were asked."""


@dataclass(frozen=True)
class Opened:
    """A dataset, ready to be drawn from.

    Attributes:
        available: the rows to draw from.
        held_out: the rows to measure on; None if none are held out.
        record: for the provenance of the probe.
        held_out_record: for the provenance of the held-out rows.
    """

    available: DrawnRows
    held_out: DrawnRows | None
    record: dict[str, Any]
    held_out_record: dict[str, Any]


def open_dataset(dataset: Any, settings: ProbeSettings) -> Opened:
    """The rows of a dataset.

    Raises:
        DatasetError: see `Probe.of`.
    """
    name, splits = open_splits(dataset, Asked(settings.input, settings.label, settings.split), settings.targets)
    chosen, validation = choose_split(splits, settings.split, name)
    rows = _rows_of(splits[chosen], settings)
    of_all = rows.targets(settings.targets)
    are_queries = isinstance(of_all, Targets) and of_all.kind == RELEVANCE
    deduplicate = settings.deduplicate and not are_queries  # a document is relevant by its id
    kept = _first_of_each_content(rows) if deduplicate else np.arange(len(rows))
    _check_targets(found := of_all.take(kept), name)
    targets = found if isinstance(found, Targets) else None
    class_names = found.names if targets is None or targets.kind == LABEL_SETS else ()
    available = DrawnRows(rows, name, class_names, kept, found.indices, targets)
    seed = settings.drawing.seed
    record = {
        "name": name,
        "split": chosen,
        "source": _source(available),
        **_described(found),
        "seed": seed,
        "requested_size": settings.drawing.size,
        "asked": settings.asked,
        "duplicates_dropped": len(rows) - len(kept) if deduplicate else None,
        "versions": dict(numeric_versions(PROBE_LIBRARIES)),
    }
    keeps_all = settings.may_keep_all and (validation is not None or not can_spare(available, settings.holdout, seed))
    if not settings.holdout or keeps_all:
        return Opened(available, None, record | {"training_rows": len(available.positions)}, {})
    if not found.names:
        raise DatasetError(
            f"{name} has no labels, so held-out rows cannot be scored. Give labels, or leave out what needs held-out "
            "rows: top_k= (--top-k) and tune= (--tune) of select(), holdout= of Probe.of()."
        )
    if settings.test_as_holdout:
        validation = labelled_test(splits, found) or validation
    if validation is not None:
        held = splits[validation]()
        held.shown_as(rows)
        held_out = of_split(held, validation, found, available, deduplicate=deduplicate)
    else:
        available, held_out = cut_out(available, settings.holdout, seed)
    split = validation or chosen
    counts = {
        "training_rows": len(available.positions),
        "holdout": {"split": split, "rows": len(held_out.positions)},
    }
    own = {"split": split, "source": _source(held_out), "requested_size": None}
    return Opened(available, held_out, record | counts, record | own)


def _rows_of(open_rows: Callable[[], Rows], settings: ProbeSettings) -> Rows:
    """The rows of a split, with the user's bound on their size."""
    rows = open_rows()
    if settings.max_pixels is not None:
        rows.bound(whole_number("max_pixels", settings.max_pixels, 1))
    if (settings.input or settings.label) and not rows.has_columns:
        raise DatasetError(
            f"input= (--input) and label= (--label) name columns, but the rows come from {rows.source}, which has no "
            "columns. Leave both out."
        )
    return rows


def _source(drawn: DrawnRows) -> dict[str, Any]:
    return {"kind": drawn.rows.source, **drawn.rows.notes}


def _first_of_each_content(rows: Rows) -> NDArray[np.int64]:
    """Positions of the rows that are not copies of earlier rows. Unreadable rows are kept, to be reported later."""
    seen: set[bytes] = set()
    kept = []
    for position, digest in enumerate(rows.digests(range(len(rows)))):
        if digest is None or digest not in seen:
            kept.append(position)
        if digest is not None:
            seen.add(digest)
    return np.array(kept, np.int64)


def _check_targets(found: Labels | Targets, name: str) -> None:
    """Raises if there is nothing to tell apart."""
    if not len(found.indices):
        raise DatasetError(f"{name} has no rows; expected at least two rows, of two classes.")
    if isinstance(found, Labels):
        _check_classes(found, name)


def _check_classes(classes: Labels, name: str) -> None:
    if len(classes.names) == 1:
        unlabelled = int((classes.indices < 0).sum())
        hint = f" (Labelled -1 or None, which means unlabelled: {counted(unlabelled, 'row')}.)" if unlabelled else ""
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


def _described(found: Labels | Targets) -> dict[str, Any]:
    """What the provenance says of the targets."""
    if isinstance(found, Targets):
        return {"classes": [], "label_map": {}, "targets": {"kind": found.kind, "names": list(found.names)}}
    label_map = {str(original): index for index, original in enumerate(found.originals)}
    return {"classes": list(found.names), "label_map": label_map}
