"""Where candidates stand among the architectures of a pool: the store keeps it under the graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from modelselect.archi2vec import to_json, trace
from modelselect.candidates.candidate import Candidate
from modelselect.errors import Failure, StoreError
from modelselect.evaluation import places
from modelselect.evaluation.places import places_of
from modelselect.evaluation.results import ScoringResult
from modelselect.store.store import Store

POOL = [Candidate("shelf", name) for name in ("shallow", "deep", "deep_too", "broken", "untraced")]


def graph(depth: int) -> str:
    return to_json(trace(torch.nn.Sequential(*[torch.nn.Linear(4, 4), torch.nn.ReLU()] * depth), (4,)))


RESULTS: dict[str, ScoringResult | Failure] = {
    "shelf:shallow": ScoringResult(graph=graph(1)),
    "shelf:deep": ScoringResult(graph=graph(4)),
    "shelf:deep_too": ScoringResult(graph=graph(4)),
    "shelf:broken": Failure("load", "it is broken"),
    "shelf:untraced": ScoringResult(),
}


def no_encoder(*_: Any) -> Any:
    raise AssertionError("the encoder must not be asked")


def test_equal_architectures_are_nearest_to_each_other(tmp_path: Path) -> None:
    found = places_of(POOL, RESULTS, Store(tmp_path))
    assert set(found) == {"shelf:shallow", "shelf:deep", "shelf:deep_too"}
    assert found["shelf:deep"].embedding == found["shelf:deep_too"].embedding
    assert found["shelf:deep"].nearest[0][0] == "shelf:deep_too"
    assert found["shelf:deep"].cluster == found["shelf:deep_too"].cluster
    assert places_of(POOL[:1], RESULTS, Store(tmp_path)) == {}


def test_the_same_graphs_are_embedded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = places_of(POOL, RESULTS, Store(tmp_path))
    monkeypatch.setattr(places, "embed", no_encoder)
    assert places_of(POOL, RESULTS, Store(tmp_path)) == places_of(POOL[::-1], RESULTS, Store(tmp_path)) == found
    with pytest.warns(UserWarning, match="no architecture vectors: AssertionError"):  # other graphs
        assert places_of(POOL[1:], RESULTS, Store(tmp_path)) == {}


def test_a_store_that_cannot_be_written_costs_no_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(Store, "put", full)
    assert len(places_of(POOL, RESULTS, Store(tmp_path))) == 3
