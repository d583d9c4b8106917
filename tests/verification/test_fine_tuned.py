"""The winner's weights: kept in the store, found again, and loaded ready to use."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import modelselect as ms
from modelselect.errors import CandidateError
from modelselect.leaderboard.leaderboard import Row
from modelselect.store.store import Store
from modelselect.verification import FineTuning
from modelselect.verification.fine_tuned import KIND
from tests.verification.tuned import NAMES, tuned_row

pytestmark = pytest.mark.usefixtures("here")


QUICK = FineTuning(epochs=2, batch_size=16)


def test_weights_that_are_not_here_are_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    row, _ = tuned_row("embedded:resnet.letters")
    row = replace(row, fine_tuned_in=str(tmp_path / "elsewhere"))
    assert row.load().class_names == NAMES  # the user's own store is looked into, too
    monkeypatch.setenv("MODELSELECT_CACHE", str(tmp_path / "other"))
    for use in (row.load, lambda: row.save("saved"), lambda: row.push_to_hub("me/it")):
        with pytest.raises(CandidateError, match=r"not in .*elsewhere or .*other: .*another machine.*cache_dir="):
            use()
    assert row.load(cache_dir=tmp_path / "cache").class_names == NAMES
    assert row.load(fine_tuned=False).class_names is None


def test_a_row_without_fine_tuned_weights_says_why() -> None:
    (candidate,) = ms.search("embedded:resnet.letters")
    assert Row(candidate).load().class_names is None
    with pytest.raises(CandidateError, match="it was not fine-tuned"):
        Row(candidate).load(fine_tuned=True)
    with pytest.raises(CandidateError, match="only the best candidate's weights are kept"):
        Row(candidate, verified_accuracy=0.5).save("saved")


# --- the whole way ---------------------------------------------------------------------------------------------------


def stripes() -> tuple[Any, list[str]]:
    """Images of three kinds, which differ in where they are bright."""
    random = np.random.default_rng(0)
    images = random.integers(0, 120, (90, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(90) % 3
    for index, label in enumerate(labels):
        images[index, 10 * label : 10 * label + 12] += 100
    return images, [NAMES[label] for label in labels]


def fine_tuned_entries() -> list[str]:
    return [entry.key for entry in Store().entries() if entry.kind == KIND]


def test_the_winner_predicts_what_it_was_verified_with(here: Path) -> None:
    board = ms.select(
        stripes(), ["embedded:resnet.letters", "embedded:plain.letters", "embedded:vit.letters"], estimators="centroid",
        top_k=2, fine_tuning=FineTuning(epochs=4, head_learning_rate=0.02, batch_size=16), progress=False,
    )  # fmt: skip
    assert fine_tuned_entries() == [board.best.fine_tuned]
    assert [row.fine_tuned for row in board.rows[1:]] == [None, None]
    board.save("board.json")
    best = ms.Leaderboard.load("board.json").best
    loaded = best.load()
    assert loaded.class_names == tuple(sorted(NAMES))
    holdout = ms.Probe.of(stripes(), size=2000, holdout=0.2).holdout
    assert holdout is not None
    rows = [loaded.preprocessing.prepare(holdout.item(index)) for index in range(len(holdout))]
    with torch.no_grad():
        predicted = loaded.module(loaded.preprocessing.finish(torch.stack(rows))).argmax(1).numpy()
    assert (predicted == holdout.labels).mean() == best.verified_accuracy
    assert not any(Path("cache/scratch").iterdir())
    assert best.fine_tuned_in is None  # the user's own store, whose place is nobody else's business

    found = board.verification
    assert found is not None
    assert found.n == 2
    by_score = next(row for row in board.rows if row.predicted_rank == 1)
    assert found.top1_regret == pytest.approx(best.verified_accuracy - by_score.verified_accuracy)  # type: ignore[operator]
    assert "Score and accuracy of the 2 fine-tuned models" in " ".join(str(board).split())
    assert json.loads(board.to_json())["verification"]["n"] == 2


def test_evicted_weights_are_made_again_and_those_of_other_boards_stay() -> None:
    def select(candidates: Any, top_k: int) -> ms.Leaderboard:
        return ms.select(stripes(), candidates, estimators="centroid", top_k=top_k, fine_tuning=QUICK, progress=False)

    first = select("embedded:plain.letters", 1)
    both = select(["embedded:plain.letters", "embedded:resnet.letters"], 2)
    first.best.load()  # whether or not it is the better one of the two
    Store().evict(kind=KIND, max_bytes=0)
    again = select(["embedded:plain.letters", "embedded:resnet.letters"], 2)
    assert again == both
    again.best.load()
    assert fine_tuned_entries() == [again.best.fine_tuned]


def test_weights_in_a_store_of_the_callers_choice_are_found_again(here: Path) -> None:
    board = ms.select(
        stripes(), "embedded:plain.letters", estimators="centroid", top_k=1, verify="head", fine_tuning=QUICK,
        cache_dir="own", progress=False,
    )  # fmt: skip
    assert board.best.load().class_names == tuple(sorted(NAMES))
    assert fine_tuned_entries() == []


def test_a_callers_own_module_is_saved_for_its_caller() -> None:
    inputs = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    module = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU())
    board = ms.select((inputs, [0, 1] * 20), module, estimators="centroid", top_k=1, fine_tuning=QUICK, progress=False)
    with pytest.raises(CandidateError, match=r"the caller's own.*save\(\) writes its weights"):
        board.best.load()
    board.best.save("saved")
    weights = load_file("saved/model.safetensors")
    body = {name.removeprefix("body."): value for name, value in weights.items() if name.startswith("body.")}
    module.load_state_dict(body)
    assert weights["head.weight"].shape == (2, 5)
    with pytest.raises(CandidateError, match="cannot be loaded here"):
        Row(*ms.search("dir:saved")).load()


def test_methods_are_told_apart_in_store_and_history(tmp_path: Path) -> None:
    history = ms.History(tmp_path / "history.sqlite")
    for method in ("full", "head"):
        board = ms.select(
            stripes(), "embedded:plain.letters", estimators="centroid", top_k=1, verify=method, fine_tuning=QUICK,
            history=history, progress=False,
        )  # fmt: skip
        assert board.provenance["settings"]["fine_tuning"]["method"] == method
    assert len(fine_tuned_entries()) == 2
    measured = [result for result in history.results() if result.metric == "accuracy"]
    assert {result.settings["fine_tuning"]["method"] for result in measured} == {"full", "head"}
