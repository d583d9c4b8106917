"""Every candidate is scored by itself: a bad one costs its row, a bad estimator its column."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import modelselect as ms
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.preprocessing import ImagePreprocessing
from modelselect.candidates.readers import HeadInput
from modelselect.errors import CandidateError, NothingRankedError
from modelselect.host.host import Host, get_host
from modelselect.ranking.notes import UNLABELLED, remarks_of
from tests.selection.conftest import installed
from tests.selection.material import SOME, rank

pytestmark = pytest.mark.usefixtures("cache")


def test_the_score_is_the_estimators_own_where_there_is_one(dataset: Path) -> None:
    board = rank(ms.Probe.of(dataset, size=None), SOME)
    for row in board.rows:
        evidence = row.load()
        features, labels = _bare_loop(evidence, dataset)
        assert row.score == pytest.approx(ms.score(features, labels, "logme"), rel=1e-4)


def _bare_loop(backbone: Backbone, dataset: Path) -> tuple[np.ndarray, np.ndarray]:
    features, labels = [], []
    for label, folder in enumerate(sorted(dataset.iterdir())):
        for path in sorted(folder.iterdir()):
            batch = backbone.preprocessing.finish(backbone.preprocessing.prepare(Image.open(path))[None])
            with torch.no_grad():
                features.append(backbone.read(backbone.module, batch).features[0].numpy())
            labels.append(label)
    return np.array(features), np.array(labels)


def test_a_further_estimator_needs_no_further_forward_pass(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rank(dataset, SOME, estimators="logme")
    monkeypatch.setattr(type(get_host().extractor("cpu")), "extract", None)
    assert rank(dataset, SOME, estimators=["logme", "knn"]).ranked


@pytest.mark.slow
def test_a_candidate_that_crashes_costs_its_row_only(dataset: Path, flaky: None) -> None:
    names = ("good", "raises", "killed", "nan", "good-too")
    board = rank(dataset, [f"flaky:{name}" for name in names], executor="process")
    status = {row.candidate.name: row.status for row in board.rows}
    assert status["good"] == status["good-too"] == "ok"
    assert status["raises"] == "failed: its weights are missing"
    assert "SIGKILL" in status["killed"]
    assert "NaN" in status["nan"]
    assert [row.rank for row in board.rows] == [1, 2, None, None, None]


ENDING = """
import os, signal
import modelselect as ms

class Exits(ms.Estimator):
    name, requires, citation = "exits", frozenset({"features"}), "A. Nobody: Nothing, 2026."

    def score(self, evidence):
        os._exit(3)

class Killed(ms.Estimator):
    name, requires, citation = "killed", frozenset({"metadata"}), "A. Nobody: Nothing, 2026."

    def score(self, evidence):
        os.kill(os.getpid(), signal.SIGKILL)

@ms.hookimpl
def modelselect_register_estimators():
    return [Exits(), Killed()]
"""


@pytest.mark.slow
def test_estimators_that_end_the_process_of_every_candidate_cost_their_columns_only(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = rank(dataset, SOME, estimators=["logme", "knn"])
    with installed("ending", ENDING, tmp_path, monkeypatch):
        board = rank(dataset, SOME, estimators=["exits", "logme", "killed", "knn"], executor="process")
    for row, expected in zip(board.rows, alone.rows, strict=True):
        assert (row.candidate, row.rank, row.scores) == (expected.candidate, expected.rank, expected.scores)
        assert "exit code 3: os._exit was called in" in row.failures["exits"].reason
        assert row.failures["exits"].reason.endswith("(while exits scored)")
        assert "SIGKILL" in row.failures["killed"].reason


def test_a_candidate_that_raises_costs_its_row_only(dataset: Path, flaky: None) -> None:
    board = rank(dataset, ["flaky:good", "flaky:raises", "flaky:nan"])
    assert [row.rank is None for row in board.rows] == [False, True, True]


def test_an_estimator_that_raises_costs_its_column_only(dataset: Path) -> None:
    class Broken(ms.Estimator):
        name = "broken"
        requires = frozenset({"features"})
        citation = "Nobody: Nothing, 2026."

        def score(self, evidence: ms.Evidence) -> dict[str, float]:
            raise ZeroDivisionError("of all things")

    board = rank(dataset, SOME, estimators=["logme", Broken()])
    assert all(row.rank is not None and "ZeroDivisionError" in row.status for row in board.rows)


class Small(torch.nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        torch.manual_seed(width)
        self.conv = torch.nn.Conv2d(3, width, 3)
        self.head = torch.nn.Linear(width, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).relu().mean((2, 3)))


def to_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.resize((16, 16)))).permute(2, 0, 1).float() / 255


def test_bare_modules_rank_with_the_zoos(dataset: Path) -> None:
    board = rank(dataset, [Small(4), (Small(8), to_tensor), "embedded:plain*"], estimators=["logme", "nce"])
    rows = {row.candidate.name: row for row in board.rows}
    assert rows["Small"].feature_dim == 4
    assert rows["Small-2"].feature_dim == 8
    assert rows["Small"].candidate.zoo == "module"
    assert all("nce" in row.scores for name, row in rows.items() if name.startswith("Small"))


def test_the_board_says_that_no_row_has_a_label_and_what_needs_none() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    board = ms.select((pixels, None), "embedded:plain*", progress=False)
    assert len(board.ranked) == 2
    assert board.estimators[0] == "evidence"
    assert UNLABELLED in remarks_of(board)
    named = ms.select((pixels, None), "embedded:plain*", estimators="rankme,energy", progress=False)
    assert {name for row in named.ranked for name in row.scores} >= {"rankme", "energy"}
    some = ms.select((pixels, [0, 1, *[-1] * 38]), "embedded:plain*", progress=False)
    assert UNLABELLED not in remarks_of(some)


def test_arrays_reach_a_bare_module_as_they_are() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    features = rng.normal(size=(40, 6)) + 2 * labels[:, None]
    board = rank(ms.Probe.of((features, labels), size=None), torch.nn.Identity())
    assert board.best.score == pytest.approx(ms.score(features.astype(np.float32), labels, "logme"), rel=1e-6)


def test_estimators_in_any_order_of_runs_share_what_was_computed(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = rank(dataset, SOME, estimators=["logme", "leep"])
    monkeypatch.setattr(type(get_host().extractor("cpu")), "extract", None)
    alone = rank(dataset, SOME, estimators="logme")
    assert {r.candidate.id: r.feature_dim for r in alone.rows} == {r.candidate.id: r.feature_dim for r in both.rows}
    assert rank(dataset, SOME, estimators="knn").ranked


class Halving(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)[::2]


def test_features_of_fewer_rows_than_were_given_are_not_scored(dataset: Path) -> None:
    with pytest.raises(NothingRankedError, match=r"the shape \(1, 7\) for 2 inputs"):
        rank(dataset, Halving(4))


class Slow(ms.Zoo):
    """Its networks wait, in their first forward pass, until the next candidate is being loaded."""

    name = "slow"

    def __init__(self, revision: str | None = "1") -> None:
        self.loading = {name: threading.Event() for name in "abcd"}
        self.revision = revision
        self.overlapped: dict[str, bool] = {}

    def search(self, pattern: str) -> Iterator[ms.Candidate]:
        for name in "abc":
            yield ms.Candidate(self.name, name, self.revision)

    def load(self, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> Backbone:
        self.loading[candidate.name].set()
        if candidate.name == "b":
            raise CandidateError("its weights are missing")
        torch.manual_seed(ord(candidate.name))
        module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 8), torch.nn.Linear(8, 4))

        def wait(*_: Any) -> None:
            following = chr(ord(candidate.name) + 1)
            if candidate.name not in self.overlapped:
                self.overlapped[candidate.name] = following == "d" or self.loading[following].wait(10)

        module.register_forward_pre_hook(wait)
        return Backbone(candidate, module.eval(), ImagePreprocessing((32, 32), 32), HeadInput("2"), candidate.name)


@pytest.mark.parametrize("revision", ["1", None])
def test_the_next_candidate_is_loaded_while_one_computes_and_its_failure_stays_its_own(
    dataset: Path, use_host: Callable[[Host], None], revision: str | None
) -> None:
    zoo = Slow(revision)
    host = Host.load()

    class Brought:
        @ms.hookimpl
        def modelselect_register_zoos(self) -> list[ms.Zoo]:
            return [zoo]

    host.register(Brought(), "brought")
    use_host(host)
    board = rank(dataset, "slow:*")
    assert zoo.overlapped == {"a": True, "c": True}
    status = {row.candidate.name: row.status for row in board.rows}
    assert status == {"a": "ok", "c": "ok", "b": "failed: its weights are missing"}
    assert all(event.is_set() for name, event in zoo.loading.items() if name != "d")
    if revision:  # what is in the store is not loaded again, ahead or otherwise
        for event in zoo.loading.values():
            event.clear()
        rank(dataset, "slow:*")
        assert [name for name, event in zoo.loading.items() if event.is_set()] == ["b"]
