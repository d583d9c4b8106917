"""An estimator's key is that of its parameters."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.errors import EvidenceError
from modelselect.estimators.estimator import evaluate


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


class Endless(Mapping[str, float]):
    """A mapping that says it has one item."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        return map(str, itertools.count())

    def __getitem__(self, name: str) -> float:
        return 1.0


def test_components_without_end_are_refused() -> None:
    class Talkative(ms.Estimator):
        name, requires, citation = "talkative", frozenset({"features"}), "nobody"

        def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
            return Endless()

    with pytest.raises(EvidenceError, match="talkative returned more than 10,000 components"):
        evaluate(Talkative(), ms.Evidence.of(features=np.eye(3)))
