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
        rows: the index of each point's row on the leaderboard.
        points: (n, 2) positions of the candidates.
        background: (m, 2) positions of the atlas's other architectures; empty without an atlas.
        background_names: names of these architectures.
    """

    rows: tuple[int, ...]
    points: NDArray[np.float64]
    background: NDArray[np.float64]
    background_names: tuple[str, ...] = ()


def family_of(row: RankedCandidate) -> str:
    """The architecture's family as its zoo names it, else its cluster on this board, else an empty text."""
    known = row.candidate.metadata.get("family") or row.candidate.metadata.get("architecture")
    if known:
        return str(known)
    return "" if row.cluster is None else f"cluster {row.cluster}"
