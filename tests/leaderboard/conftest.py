"""What these tests share: a leaderboard of three rows."""

from __future__ import annotations

import pytest

import modelselect as ms
from tests.ranking.material import three_rows


@pytest.fixture
def board() -> ms.Leaderboard:
    return three_rows()
