"""Every estimator on one candidate: what fails there, and what is kept for the next run."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

import modelselect as ms
from modelselect.estimators.estimator import evaluate
from modelselect.evaluation import scoring
from tests.estimators.test_resampling import Columns, Demanding, Mean, rank, two_classes
from tests.selection.material import SOME

pytestmark = pytest.mark.usefixtures("cache")


def test_an_estimator_that_fails_on_fewer_rows_keeps_its_score_and_says_so() -> None:
    dataset = ms.Probe.of(two_classes(50, [1.0, 0.5]), size=None)
    board = rank(dataset, [Columns(0), Columns(1)], estimators=Demanding(50))
    assert board.best.score is not None
    assert board.best.status == "ok"
    assert board.best.standard_error is None
    assert board.best.warnings["demanding"] == "no standard error: 40 rows are too few"
    assert "40 rows are too few" in " ".join(str(board).split())


@pytest.mark.slow
def test_neither_executor_nor_store_changes_the_answer(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    images[:20, :16] //= 2
    dataset = images, [0] * 20 + [1] * 20
    boards = [
        rank(dataset, SOME, estimators=["logme", "knn"], executor=executor, cache_dir=tmp_path / folder)
        for executor, folder in (("local", "a"), ("process", "b"), ("local", "b"))
    ]
    assert boards[0] == boards[1] == boards[2]
    assert boards[2].provenance["from_store"] == len(boards[2].rows)
    assert all(row.standard_error is not None for row in boards[0].rows)


def test_an_interrupted_run_goes_on_with_the_resample_it_was_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[str] = []
    until = 10

    def counted(estimator: ms.Estimator, evidence: ms.Evidence) -> Mapping[str, float]:
        if estimator.name == "centroid":
            if len(calls) == until:
                raise KeyboardInterrupt
            calls.append(estimator.name)
        return evaluate(estimator, evidence)

    monkeypatch.setattr(scoring, "evaluate", counted)
    monkeypatch.setattr(scoring, "RESAMPLES_KEPT_EVERY", 0.0)
    dataset = two_classes(60, [1.0])
    with pytest.raises(KeyboardInterrupt):
        rank(dataset, Columns(0), resamples=14)
    until = 1000
    resumed = rank(dataset, Columns(0), resamples=14)
    assert len(calls) == 1 + 14  # one score and fourteen resamples, each computed once
    rank(dataset, Columns(0), resamples=18)  # more resamples are added to those that are there
    assert len(calls) == 1 + 18
    assert rank(dataset, Columns(0), resamples=14) == resumed
    assert len(calls) == 1 + 18
    assert rank(dataset, Columns(0), resamples=14, cache_dir=tmp_path / "other") == resumed


class Hanging(Mean):
    """Hangs in a method, and catches every exception there."""

    name = "hanging"

    def __init__(self, where: str = "") -> None:
        self.where = where

    def hang(self, where: str) -> None:
        until = time.monotonic() + 60
        while where == self.where and time.monotonic() < until:
            try:
                time.sleep(60)
            except Exception:
                continue

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        self.hang("score")
        return {self.name: Mean().score(evidence)["mean"]}

    def combine(self, scores: list[Mapping[str, float]]) -> np.ndarray:
        self.hang("combine")
        return super().combine(scores)


class Writing(ms.Estimator):
    """Writes to what it is given through torch, which does not know that an array is read-only."""

    name, requires, citation = "writing", frozenset({"features", "labels"}), "nobody"

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        for array in (evidence.features, evidence.labels, evidence.statistics.means):
            torch.from_numpy(array).zero_()
        return {"writing": 1.0}


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_an_estimator_that_writes_to_its_evidence_changes_no_other_score(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    dataset = images, [0] * 20 + [1] * 20

    def scores(folder: str, *names: str | ms.Estimator) -> list[Mapping[str, float]]:
        board = rank(dataset, SOME, estimators=[*names, "logme", "knn"], cache_dir=tmp_path / folder)
        return [{name: row.scores[name] for name in ("logme", "knn")} for row in board.rows]

    assert sorted(map(str, scores("beside", Writing()))) == sorted(map(str, scores("alone")))


@pytest.mark.parametrize("where", ["score", "combine"])
def test_an_estimator_that_hangs_is_interrupted_and_costs_its_own_column(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELSELECT_SCORE_SECONDS", "0.3")
    dataset, candidates = two_classes(50, [1.0, 0.5]), [Columns(0), Columns(1)]
    begun = time.monotonic()
    board = rank(dataset, candidates, estimators=["centroid", Hanging(where)])
    assert time.monotonic() - begun < 20
    for row in board.rows:
        assert row.scores.keys() >= {"centroid"}
        for words in ("hanging hangs, or is slow", "more than 0.3 s", "MODELSELECT_SCORE_SECONDS"):
            assert words in row.failures["hanging"].reason
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    again = rank(dataset, candidates, estimators=["centroid", Hanging(where)])  # a slow score is no lasting verdict
    assert all(row.failures["hanging"].error == "PluginTimeoutError" for row in again.rows)
    monkeypatch.setenv("MODELSELECT_SCORE_SECONDS", "0")
    assert not any(row.failures for row in rank(dataset, candidates, estimators=["centroid", Hanging()]).rows)
