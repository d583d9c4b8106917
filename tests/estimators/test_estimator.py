"""An estimator's key is that of its parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

import modelselect as ms


def test_parameters_that_differ_make_another_estimator() -> None:
    class Weighted(ms.Estimator):
        name = "weighted"
        requires = frozenset({"features"})
        citation = "Nobody, 2026."

        def __init__(self, weights: Any) -> None:
            self.weights = weights

        def score(self, evidence: ms.Evidence) -> dict[str, float]:
            return {"weighted": 0.0}

    many = np.zeros(2000)
    other = many.copy()
    other[1000] = 5
    keys = {Weighted(w).key for w in (many, other, [0, 1], {"a"}, {"b"}, None)}
    assert len(keys) == 6
    assert Weighted(many.copy()).key == Weighted(many).key
