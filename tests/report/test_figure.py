"""The plot shows every ranked candidate."""

from __future__ import annotations

import numpy as np
import pytest

import modelselect as ms
from tests.report.material import evil_board


def test_a_plot_shows_every_ranked_candidate_and_is_shown_by_a_notebook() -> None:
    board = evil_board()
    figure = board.plot("macs")
    offsets = np.concatenate([c.get_offsets() for c in figure.axes[0].collections[:1]])  # type: ignore[arg-type, misc]
    assert sorted(offsets[:, 0].tolist()) == sorted(float(row.macs or 0) for row in board.ranked)
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    with pytest.raises(ms.errors.InvalidInputError, match="expected a cost that is known"):
        board.plot("price")
