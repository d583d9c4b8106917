"""A row loads its own candidate, with the weights that were ranked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import modelselect as ms
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.modules import weights_digest
from modelselect.candidates.preprocessing import CallablePreprocessing
from modelselect.candidates.readers import WholeOutput
from modelselect.errors import CandidateError
from modelselect.host.host import get_host


class Shelf(ms.Zoo):
    """One candidate without a revision, whose weights are whatever they are today."""

    name = "shelf"
    today = 0.0

    def search(self, pattern: str) -> list[ms.Candidate]:
        return [ms.Candidate(self.name, "tiny")]

    def load(self, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> Backbone:
        module = torch.nn.Linear(3, 2)
        torch.nn.init.constant_(module.weight, self.today)
        torch.nn.init.zeros_(module.bias)
        preprocessing = CallablePreprocessing(lambda row: torch.from_numpy(row).float(), "rows")
        return Backbone(candidate, module.eval(), preprocessing, WholeOutput(), weights_digest(module))


def test_weights_that_changed_since_the_ranking_are_not_handed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Plugin:
        @ms.hookimpl
        def modelselect_register_zoos(self) -> list[ms.Zoo]:
            return [Shelf()]

    get_host.cache_clear()
    try:
        get_host().register(Plugin(), "shelf")
        data = np.random.default_rng(0).normal(size=(12, 3)), [0, 1] * 6
        monkeypatch.setattr(Shelf, "today", 1.0)
        board = ms.select(data, "shelf:*", estimators="knn", cache_dir=tmp_path / "cache", progress=False)
        board.save(tmp_path / "board.json")
        rows = board.best, ms.Leaderboard.load(tmp_path / "board.json").best
        assert all(row.load().candidate.name == "tiny" for row in rows)
        document = json.loads((tmp_path / "board.json").read_text())
        del document["rows"][0]["weights_key"]
        (tmp_path / "old.json").write_text(json.dumps(document))
        monkeypatch.setattr(Shelf, "today", 2.0)
        for row in rows:
            with pytest.raises(CandidateError, match="have changed since"):
                row.load()
        assert ms.Leaderboard.load(tmp_path / "old.json").best.load()  # it does not say what they were
    finally:
        get_host.cache_clear()


def test_a_bare_module_is_the_callers_own(tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(size=(12, 3)), [0, 1] * 6
    board = ms.select(data, torch.nn.Linear(3, 2), estimators="knn", cache_dir=tmp_path, progress=False)
    with pytest.raises(CandidateError, match="the caller's own"):
        board.best.load()
