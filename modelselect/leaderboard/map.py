"""The map of architectures for a page, from an atlas."""

from __future__ import annotations

import os

import numpy as np

from modelselect.archi2vec.atlas import Atlas, default_path
from modelselect.errors import InvalidInputError
from modelselect.ranking.ranking import Ranking
from modelselect.report.map import Map


def architecture_map(board: Ranking, atlas: str | os.PathLike[str] | None = None) -> Map | None:
    """The places of the candidates: in the atlas if it has at least three of them, else by the board's own vectors.

    Args:
        board: the ranking of the candidates.
        atlas: the file of an atlas; None for the user's own atlas, if there is one.

    Returns:
        The map; None if fewer than three candidates have a place.

    Raises:
        InvalidInputError: `atlas` is given, and the file cannot be read.
    """
    path = default_path() if atlas is None else atlas
    try:
        whole = Atlas.load(path) if atlas is not None or default_path().exists() else None
    except InvalidInputError:
        if atlas is not None:
            raise
        whole = None  # nobody asked for this atlas: a damaged one does not prevent the report
    if whole is not None:
        places = {name: index for index, name in enumerate(whole.names)}
        rows = [i for i, row in enumerate(board.rows) if row.candidate.unversioned_id in places]
        if len(rows) >= 3:
            flat = whole.plane()
            own = [places[board.rows[i].candidate.unversioned_id] for i in rows]
            others = np.setdiff1d(np.arange(len(whole)), own)
            return Map(tuple(rows), flat[own], flat[others], tuple(whole.names[i] for i in others))
    widths = [len(row.embedding or ()) for row in board.rows]  # in a board of somebody else, they may differ
    rows = [i for i, width in enumerate(widths) if 2 <= width == max(widths)]
    if len(rows) < 3:
        return None
    vectors = np.array([board.rows[i].embedding for i in rows], dtype=np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    left, singular, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    return Map(tuple(rows), (left * singular)[:, :2], np.empty((0, 2)))
