"""`score()` refuses bare arrays that it cannot score, and says why."""

from __future__ import annotations

import numpy as np
import pytest

import modelselect as ms
from modelselect.errors import EvidenceError


def test_the_wrong_number_of_labels_is_refused_by_score() -> None:
    with pytest.raises(EvidenceError, match="the numbers of rows differ"):
        ms.score(np.zeros((4, 2)), [0, 1, 1], "logme")
    with pytest.raises(EvidenceError, match="NaN"):
        ms.score([[0.0], [np.nan]], [0, 1], "logme")
    with pytest.raises(EvidenceError, match="one class"):
        ms.score([[0.0], [1.0]], [1, 1], "logme")


def test_neighbours_say_so_where_no_class_has_two_rows() -> None:
    with pytest.raises(ms.errors.NotApplicableError, match="no class has two"):
        ms.score(np.eye(4), [0, 1, 2, 3], "knn")
