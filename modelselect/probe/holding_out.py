"""Which rows are held out: those of a validation split, or a share of the training rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import DatasetError
from modelselect.probe.drawing import DrawnRows
from modelselect.probe.labels import Labels
from modelselect.probe.queries import can_spare_queries, cut_out_queries, without_queries_of
from modelselect.probe.rows import Rows, Splits
from modelselect.probe.sampling import choose_holdout, rarest, wholes_of
from modelselect.probe.splits import test_split
from modelselect.probe.targets import Targets
from modelselect.utils.target_kinds import CLASSES


def can_spare(available: DrawnRows, share: float, seed: int) -> bool:
    """Whether holding rows out costs no more than this share of the rows, and leaves something to measure on.

    One row of every class is held out, at least. So a small dataset of many classes would lose more.
    """
    if available.are_queries:
        return can_spare_queries(available.labels, share)
    labels, held_out = available.labels, _held_out_of(available, share, seed)
    rows, classes = int((labels >= 0).sum()), len(np.unique(labels[labels >= 0]))
    return share * rows >= classes and len(np.unique(labels[held_out])) > 1


def cut_out(available: DrawnRows, share: float, seed: int) -> tuple[DrawnRows, DrawnRows]:
    """Training rows and held-out rows.

    Raises:
        DatasetError: there are too few rows.
    """
    if available.are_queries:
        return cut_out_queries(available, share, seed)
    held_out = _held_out_of(available, share, seed)
    if len(np.unique(available.labels[held_out])) < 2:
        if available.targets is not None:
            raise DatasetError(
                f"holdout={share} asks for held-out rows, and the {len(available.labels)} rows of {available.name} are "
                "too few for them. Give more rows or a validation split, or set holdout=0."
            )
        counts = np.bincount(available.labels[available.labels >= 0])
        raise DatasetError(
            f"holdout={share} asks for held-out rows, but {int((counts < 2).sum())} of the {len(counts)} classes of "
            f"{available.name} have only one row; at least two classes need two or more. Give more rows or a "
            "validation split, or set holdout=0."
        )
    return available.where(~held_out), available.where(held_out)


def of_split(held: Rows, split: str, known: Labels | Targets, training: DrawnRows, *, deduplicate: bool) -> DrawnRows:
    """The labelled rows of a validation split.

    Args:
        held: its rows.
        split: its name.
        known: what is to be predicted of the training rows.
        training: the rows to draw from.
        deduplicate: leave out rows whose content is in the training rows, too. Queries are always left out then.

    Raises:
        DatasetError: the split has classes that training lacks, or no rows of its own.
    """
    targets: Targets | None = None
    if isinstance(known, Labels):
        labels, unknown = held.labels.as_classes_of(known)
    else:
        found = held.targets(known.kind)
        assert isinstance(found, Targets)
        targets, unknown = found.in_columns_of(known)
        labels = targets.indices
    if unknown:
        raise DatasetError(
            f"the split {split!r} has {'classes' if targets is None else 'targets'} that the training split lacks: "
            f"{', '.join(unknown[:5])}. Use the same class names in both, or give only the training split, from which "
            "rows are then held out."
        )
    labelled = np.flatnonzero(labels >= 0)
    taken = None if targets is None else targets.take(labelled)
    drawn = DrawnRows(held, training.name, training.class_names, labelled, labels[labelled], taken)
    if deduplicate and not training.are_queries:
        seen = set(training.rows.digests(training.positions.tolist()))
        drawn = drawn.where(np.array([digest not in seen for digest in held.digests(labelled.tolist())], np.bool_))
    if not len(drawn.positions):
        raise DatasetError(
            f"the split {split!r} has no labelled rows of its own to hold out; give only the training split."
        )
    return without_queries_of(drawn, training, split) if training.are_queries else drawn


def labelled_test(splits: Splits, found: Labels | Targets) -> str | None:
    """The test split, if there is one and a row of it is labelled."""
    test = test_split(splits)
    kind = found.kind if isinstance(found, Targets) else CLASSES
    return test if test and (splits[test]().targets(kind).indices >= 0).any() else None


def _held_out_of(available: DrawnRows, share: float, seed: int) -> NDArray[np.bool_]:
    """(N,) True for the rows to hold out; see `choose_holdout`. Rows that are parts of one input stay together."""
    if available.rows.groups is None:
        return choose_holdout(available.labels, share, seed)
    whole, has = wholes_of(available.rows.groups[available.positions], available.labels)
    return choose_holdout(rarest(has), share, seed)[whole]
