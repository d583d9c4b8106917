"""Recall keeps the candidates of which the history expects most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.evaluation.task import ScoringTask
from modelselect.history import ACCURACY, History, HistoryView, Result
from modelselect.history.records import recipe_of
from modelselect.host.defaults import RECALL_ESTIMATOR
from modelselect.host.host import get_host
from modelselect.verification import FineTuning

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def remembered(tmp_path: Path) -> History:
    history = History(tmp_path / "history.sqlite")
    history.record(
        Result(candidate.unversioned_id, f"data{j}", ACCURACY, 0.3 + 0.05 * i + 0.001 * j)
        for i, candidate in enumerate(ms.search("embedded:*"))
        for j in range(4)
    )
    return history


def test_a_plan_names_the_candidates_that_recall_keeps(remembered: History) -> None:
    rng = np.random.default_rng(0)
    images = (rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8), np.arange(40) % 2)
    plan = ms.plan(images, "embedded:*", estimators="knn", recall=3, history=remembered)
    board = ms.select(images, "embedded:*", estimators="knn", recall=3, history=remembered, progress=False)
    assert {row.candidate for row in plan.rows} == {row.candidate for row in board.rows}
    assert plan.recalled_from == 12
    assert "recalled: 3 of 12 candidates" in " ".join(str(plan).split())


class FromHistory(ms.Estimator):
    """The mean accuracy under the run's recipe on the history's datasets, and nothing else."""

    name = "from_history"
    requires = frozenset({"history"})
    optional = frozenset({"metadata"})
    citation = "nobody"
    seen: list[HistoryView] = []  # noqa: RUF012 - what the test looks at

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        view = evidence.history
        assert isinstance(view, HistoryView)
        assert view.candidate is not None
        self.seen.append(view)
        return {self.name: float(np.nanmean(view.measured()[view.positions[view.candidate]]))}


class WithArchitecture(FromHistory):
    """The same, and reads the architecture."""

    name = "with_architecture"
    optional = frozenset({"architecture"})


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often a candidate was traced, and how often a proxy was shown the dataset."""
    counts = {"traced": 0, "shown": 0}

    def counted(name: str, original: Any) -> Any:
        def call(self: ScoringTask, candidate: ms.Candidate) -> Any:
            counts[name] += 1
            return original(self, candidate)

        return call

    monkeypatch.setattr(ScoringTask, "graph", counted("traced", ScoringTask.graph))
    monkeypatch.setattr(ScoringTask, "features", counted("shown", ScoringTask.features))
    return counts


def noise() -> tuple[Any, Any]:
    return np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8), np.arange(40) % 2


def test_an_estimator_that_reads_only_the_history_costs_no_tracing_and_shows_no_proxy(
    tmp_path: Path, work: dict[str, int]
) -> None:
    history = History(tmp_path / "history.sqlite")
    candidates = ms.search("embedded:*")
    ours = {"fine_tuning": {"recipe": "ours"}}
    history.record(Result(c.unversioned_id, "data", ACCURACY, 0.3 + 0.05 * i, ours) for i, c in enumerate(candidates))
    board = ms.select(noise(), "embedded:*", estimators=FromHistory(), history=history, progress=False)
    assert [row.candidate for row in board.rows] == candidates[::-1]
    assert work == {"traced": 0, "shown": 0}
    ms.select(noise(), "embedded:*", estimators=WithArchitecture(), history=history, progress=False)
    assert work == {"traced": 12, "shown": 0}


def test_recall_by_an_estimator_that_reads_only_the_history_costs_no_tracing_and_shows_no_proxy(
    remembered: History, work: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    keywords: dict[str, Any] = {"estimators": "knn", "recall": 3, "history": remembered}
    usual = ms.plan(noise(), "embedded:*", **keywords)
    assert work == {"traced": 12, "shown": 1}
    monkeypatch.setattr(type(get_host().estimator(RECALL_ESTIMATOR)), "requires", frozenset({"history"}))
    assert {row.candidate for row in ms.plan(noise(), "embedded:*", **keywords).rows} == {
        row.candidate for row in usual.rows
    }
    assert work == {"traced": 12, "shown": 1}


def test_an_estimator_sees_the_recipe_of_the_run_whether_it_fine_tunes_or_not(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    recipe = FineTuning(batch_size=16)
    wanted = recipe_of({"fine_tuning": {"method": "head", **asdict(recipe)}})
    shorter = {"fine_tuning": {"method": "head", **asdict(FineTuning(batch_size=16, epochs=1))}}
    (candidate,) = ms.search("embedded:resnet.letters")
    history.record([Result(candidate.unversioned_id, "data", ACCURACY, 0.25, shorter)])
    others = {"fine_tuning": {"recipe": "others"}}
    history.record(Result(candidate.unversioned_id, f"data{j}", ACCURACY, 0.75, others) for j in range(3))
    estimator = FromHistory()
    estimator.seen.clear()
    keywords: dict[str, Any] = {"estimators": estimator, "history": history, "progress": False}
    usual = ms.select(noise(), [candidate], **keywords)
    given = ms.select(noise(), [candidate], **keywords, fine_tuning=recipe, verify="head")
    assert [view.recipe for view in estimator.seen] == ["full-22f82558ddb1", wanted]
    assert [board.best.scores["from_history"] for board in (usual, given)] == [0.75, 0.25]
