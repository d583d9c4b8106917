"""Runs in several threads of one process disturb one another's numbers no more than runs one after another."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import modelselect as ms
from tests.selection.test_evidence import images
from tests.selection.test_many_settings import without_what_was_measured

QUICK = ms.FineTuning(epochs=2, batch_size=20)
RUNS: list[tuple[Any, list[str], dict[str, Any]]] = [
    (images(0, 3, 60), ["embedded:plain.letters"], {"top_k": 1, "verify": "lora", "estimators": ["logme", "itm"]}),
    (images(3, 3, 60), ["embedded:senet.letters_brief"], {"top_k": 1, "trials": 2, "estimators": "pactran"}),
    (images(1, 4, 60), ["embedded:vit.letters", "embedded:plain.letters"], {"top_k": 2, "verify": "head"}),
    (images(2, 3, 60), ["embedded:plain.*"], {"estimators": ["evidence", "persistence", "lead"], "resamples": 5}),
]


def board(run: int, store: Path) -> Any:
    data, pool, settings = RUNS[run]
    found = ms.select(data, pool, cache_dir=store, history=False, progress=False, fine_tuning=QUICK, **settings)
    return without_what_was_measured(json.loads(found.to_json()))


def together(runs: list[int], folder: Path, *, one_store: bool) -> list[Any]:
    with ThreadPoolExecutor(len(runs)) as threads:
        stores = [folder if one_store else folder / str(place) for place in range(len(runs))]
        return list(threads.map(board, runs, stores))


def test_candidates_that_are_fine_tuned_in_two_threads_have_the_accuracies_that_they_have_alone(tmp_path: Path) -> None:
    alone = [board(run, tmp_path / "alone") for run in (0, 1)]
    assert together([0, 1], tmp_path / "together", one_store=False) == alone


@pytest.mark.attack
@pytest.mark.parametrize("seed", range(10))
def test_any_runs_at_the_same_time_are_those_runs_one_by_one(seed: int, tmp_path: Path) -> None:
    runs = random.Random(seed).choices(range(len(RUNS)), k=3)
    alone = [board(run, tmp_path / f"alone{place}") for place, run in enumerate(runs)]
    assert together(runs, tmp_path / "together", one_store=seed % 2 == 0) == alone
