"""What changes a number changes its key, and nothing else does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modelselect.evaluation import keys
from modelselect.host.host import get_host
from tests.selection.material import SOME, rank

pytestmark = pytest.mark.usefixtures("cache")


def test_changed_rows_are_not_taken_for_the_old_ones(dataset: Path, tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(30) % 2
    before = rank((inputs, labels), SOME)
    changed = inputs.copy()
    changed[0] = 255 - changed[0]
    after = rank((changed, labels), SOME)
    assert before != after
    assert after.provenance["from_store"] == 0


def test_another_version_of_a_library_computes_anew(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rank(dataset, "embedded:plain.*")
    assert rank(dataset, "embedded:plain.*").provenance["from_store"] == 2
    known = keys.numeric_versions
    monkeypatch.setattr(keys, "numeric_versions", lambda *given: {**known(*given), "torch": "0.0"})
    assert rank(dataset, "embedded:plain.*").provenance["from_store"] == 0


def test_another_version_of_a_plugin_computes_anew(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rank(dataset, "embedded:plain.*")
    for kind, name in (("zoos", "embedded"), ("estimators", "logme"), ("extractors", "cpu")):
        monkeypatch.setattr(get_host().owner(kind, name), "version", f"99 of {name}")
        assert rank(dataset, "embedded:plain.*").provenance["from_store"] == 0
        assert rank(dataset, "embedded:plain.*").provenance["from_store"] == 2


def test_another_seed_probe_or_source_computes_anew(dataset: Path) -> None:
    other = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8), np.arange(20) % 2
    rank(dataset, "embedded:plain.*", estimators="persistence_source")
    for changed in ({"seed": 1}, {"probe_size": 30}, {"source": other}):
        board = rank(dataset, "embedded:plain.*", estimators="persistence_source", **changed)
        assert board.provenance["from_store"] == 0, changed


def test_an_estimator_that_was_edited_does_not_find_its_old_scores(dataset: Path, tmp_path: Path) -> None:
    source = """
import modelselect
class Mine(modelselect.Estimator):
    name = "mine"
    requires = frozenset({"features"})
    citation = "Me, today."
    def score(self, evidence):
        return {"mine": float(evidence.features.%s())}
"""
    boards = []
    for number, method in enumerate(("std", "mean")):
        namespace: dict[str, Any] = {"__name__": "__main__"}
        path = tmp_path / f"script{number}.py"
        path.write_text(source % method)
        exec(compile(path.read_text(), str(path), "exec"), namespace)
        boards.append(rank(dataset, "embedded:plain.*", estimators=namespace["Mine"]()))
    assert boards[0].best.score != boards[1].best.score


def test_another_precision_is_another_number(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    full = rank(dataset, "embedded:plain.letters")
    half = rank(dataset, "embedded:plain.letters", precision="bfloat16")
    assert half.provenance["from_store"] == 0
    assert half.best.score != full.best.score
    assert half.best.score == pytest.approx(full.best.score, rel=0.2)
    assert rank(dataset, "embedded:plain.letters", precision="bfloat16").provenance["from_store"] == 1
