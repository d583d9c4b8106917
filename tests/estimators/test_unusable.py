"""An estimator that cannot say what it is costs its own column, and no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.errors import NoExceptionError, contained
from modelselect.estimators.unusable import Unusable, usable


class Mean(ms.Estimator):
    name = "mean"
    requires = frozenset({"features", "labels"})
    citation = "none"

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        return {"mean": float(np.mean(evidence.features))}


def fails(*_: Any) -> Any:
    raise ZeroDivisionError


endless: dict[str, Any] = {}
endless["itself"] = endless

ODD: dict[str, dict[str, Any]] = {
    "a key that is no text": {"key": 5},
    "a key that is no valid Unicode": {"key": "\ud800"},
    "parameters that are no mapping": {"parameters": [1]},
    "parameters that hold themselves": {"parameters": endless},
    "an __eq__ that raises": {"__eq__": fails, "__hash__": lambda self: 1},
    "an __eq__ that is always false": {"__eq__": lambda self, other: False, "__hash__": lambda self: 1},
    "a __hash__ that raises": {"__hash__": fails},
    "no __hash__": {"__hash__": None},
    "a __getattr__ that raises": {"__getattr__": fails},
    "a __getattr__ that finds everything": {"__getattr__": lambda self, name: fails},
    "reads that raise": {"reads": property(fails)},
    "takes() that raises": {"takes": fails},
    "a truth value that raises": {"relative": type("Odd", (), {"__bool__": fails})()},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
@pytest.mark.usefixtures("cache")
def test_an_odd_estimator_costs_its_own_column(odd: dict[str, Any]) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    rows[::2] //= 3
    data, candidates = (rows, np.arange(40) % 2), ["embedded:plain.letters", "embedded:plain.random"]
    alone = ms.select(data, candidates, estimators="logme", history=False)
    board = ms.select(data, candidates, estimators=[type("Odd", (Mean,), odd)(), "logme"], history=False)
    assert {row.candidate.id: row.scores["logme"] for row in board.rows} == {
        row.candidate.id: row.scores["logme"] for row in alone.rows
    }
    board.to_json()


def test_a_sound_estimator_is_the_one_that_runs() -> None:
    estimator = Mean()
    assert usable(estimator, "me") is estimator
    assert isinstance(usable(type("Odd", (Mean,), {"key": 5})(), "me"), Unusable)


class HostileError(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        raise RuntimeError(name)


@pytest.mark.parametrize(
    "raised", [lambda: HostileError("x"), lambda: Meta("Strange", (Exception,), {})("x")], ids=["object", "class"]
)
def test_an_exception_that_raises_when_it_is_read_is_contained(raised: Any) -> None:
    with pytest.raises(NoExceptionError, match="raises another one when it is read"), contained():
        raise raised()
