"""A run on a store that runs with other settings have filled is the run on an empty store.

`pytest -m attack` tries many settings at random: a key that leaves out what a result depends on gives another board.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from tests.selection.test_evidence import images

POOLS = [
    ["embedded:plain.*"],
    ["embedded:resnet.letters", "embedded:vit.letters"],
    ["embedded:mobilenet.*", "embedded:plain.letters"],
    ["embedded:senet.letters_brief", "embedded:plain.random", "embedded:mixer.digits0to4"],
]
ESTIMATORS = ["logme", "knn", "ncti", "linear_probe", "leep", "lead", "itm", "energy", "parameters", "evidence", "gbc"]
MEASURED = {"started", "seconds", "from_store", "fine_tuned_in", "passes"}
"""Parts of a board that say how it came about."""


def datasets() -> dict[str, Any]:
    (pixels, labels), others = images(0, 3, 60), images(1, 4, 60)
    return {
        "digits": (pixels, labels),
        "named": (pixels, [f"class {label}" for label in labels]),
        "half": (pixels[:36], labels[:36]),
        "reversed": (pixels[::-1].copy(), labels[::-1].copy()),
        "twice": (np.concatenate([pixels[:30]] * 2), np.concatenate([labels[:30]] * 2)),
        "partly labelled": (pixels, [None if row % 7 == 0 else int(label) for row, label in enumerate(labels)]),
        "split": {"train": (pixels[:40], labels[:40]), "validation": (pixels[40:], labels[40:])},
        "numbers": (pixels, labels + np.random.default_rng(0).normal(size=60)),
        "other": others,
    }


def drawn(rng: random.Random) -> dict[str, Any]:
    """A few keywords of `select()`."""
    values: dict[str, list[Any]] = {
        "estimators": [rng.sample(ESTIMATORS, rng.randint(1, 3)) for _ in range(3)],
        "probe_size": [None, 12, 20, 30, 50],
        "seed": [0, 1, 2],
        "layers": ["best", "all"],
        "precision": ["float32", "bfloat16"],
        "extractor": ["fused", "cpu"],
        "resamples": [3, 5],
        "top_k": [1, 2],
        "epochs": [1, 2],
        "verify": ["head", "lora", "full"],
        "patience": [1],
        "trials": [2],
        "rounds": [True],
    }
    chosen = {name: rng.choice(those) for name, those in values.items() if rng.random() < 0.25}
    if not chosen.get("top_k"):
        for name in ("epochs", "verify", "patience", "trials"):
            chosen.pop(name, None)
    return chosen


def without_what_was_measured(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_what_was_measured(inner) for name, inner in value.items() if name not in MEASURED}
    return [without_what_was_measured(inner) for inner in value] if isinstance(value, list) else value


def board(data: Any, pool: list[str], store: Path, settings: dict[str, Any]) -> Any:
    try:
        found = ms.select(data, pool, progress=False, history=False, cache_dir=store, **settings)
    except ms.errors.ModelSelectError as error:
        return str(error)
    return without_what_was_measured(json.loads(found.to_json()))


@pytest.mark.attack
@pytest.mark.parametrize("seed", range(4))
def test_other_settings_leave_nothing_that_a_run_believes(seed: int, tmp_path: Path) -> None:
    rng, data = random.Random(seed), datasets()
    for number in range(40):
        name, pool, settings = rng.choice(list(data)), rng.choice(POOLS), drawn(rng)
        found = board(data[name], pool, tmp_path / "shared", settings)
        assert found == board(data[name], pool, tmp_path / str(number), settings), (name, pool, settings)
