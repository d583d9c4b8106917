"""The map of architectures on a page."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelselect.ranking.row import RankedCandidate


@dataclass(frozen=True)
class Map:
    """The candidates in a plane where architectures that work alike lie near each other.

    Attributes:
        rows: index of the leaderboard's row that each of the points is.
        points: (n, 2) where they are.
        background: (m, 2) other architectures of the atlas; empty where there is no atlas.
        background_names: of these.
    """

    rows: tuple[int, ...]
    points: NDArray[np.float64]
    background: NDArray[np.float64]
    background_names: tuple[str, ...] = ()


def family_of(row: RankedCandidate) -> str:
    """The architecture's family as its zoo calls it, else its cluster on this board, else nothing."""
    known = row.candidate.metadata.get("family") or row.candidate.metadata.get("architecture")
    if known:
        return str(known)
    return "" if row.cluster is None else f"cluster {row.cluster}"
