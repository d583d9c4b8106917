"""What is said of rows that cannot be read, and of classes with too few rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modelselect.errors import DatasetError


def check_corrupt(skipped: Sequence[tuple[str, str]], looked_at: int, name: str, limit: float) -> None:
    """Raises if too many of the rows that were read cannot be used.

    Args:
    skipped: name and reason of each that cannot.
    looked_at: number of rows that were read.
    name: of the dataset.
    limit: maximum share of corrupt rows.
    """
    if len(skipped) > limit * looked_at or len(skipped) == looked_at:
        some = "; ".join(f"{name} ({reason})" for name, reason in skipped[:5])
        more = f"; and {len(skipped) - 5} more" if len(skipped) > 5 else ""
        which = f"{len(skipped)} of the {looked_at} rows"
        if len(skipped) == looked_at:
            which = "the only row" if looked_at == 1 else f"all {looked_at} rows"
        raise DatasetError(
            f"{which} read from {name} {'is' if which == 'the only row' else 'are'} corrupt: {some}{more}. "
            f"At most {limit:.0%} may be. Repair or remove these rows, or allow more with max_corrupt= "
            "(--max-corrupt)."
        )


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
