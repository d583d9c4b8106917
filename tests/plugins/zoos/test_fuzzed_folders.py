"""Folders whose files are damaged at random cost one row each, and change nothing for the others.

The suite tries a few; `pytest -m attack` tries many, in a process of bounded memory that must neither die nor hang.
"""

from __future__ import annotations

import json
import random
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from tests.conftest import REPOSITORY
from tests.plugins.zoos.model_folders import LABELS, TEXTS
from tests.plugins.zoos.test_bounds import vit
from tests.plugins.zoos.test_directory import timm_folder
from tests.plugins.zoos.text_models import text_folder

IMAGES = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)
KINDS: dict[str, tuple[Callable[[Path], Any], Any, tuple[str, ...]]] = {
    "timm": (timm_folder, IMAGES, ("model.safetensors", "config.json")),
    "vit": (vit, IMAGES, ("model.safetensors", "config.json", "preprocessor_config.json")),
    "text": (text_folder, TEXTS, ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json")),
}
VALUES: list[Any] = [
    None, True, 0, -1, 3, 2**31, 2**63, 10**30, 1.5, float("nan"), "", "x", "F32", "\ud800", "\x1b]0;x\x07",
    "../../etc", [], [1], [[]], [0, 10**12], {}, {"a": {"b": [1]}}, "a" * 10_000,
]  # fmt: skip
SECONDS = 20.0
"""For one folder."""


def places_of(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, part in inner for found in [(value, key), *places_of(part)]]


def damaged_text(text: bytes, rng: random.Random) -> bytes:
    """A JSON document with other values, without some, or with damaged characters."""
    if rng.random() < 0.2:
        return damaged_bytes(text, rng)
    document = json.loads(text)
    for _ in range(rng.randint(1, 3)):
        places = places_of(document)
        if not places:
            break
        container, key = rng.choice(places)
        if rng.random() < 0.2:
            del container[key]
        elif rng.random() < 0.2 and isinstance(container, dict):
            container[rng.choice(["", "x", "model_type", "\ud800", "__metadata__"])] = container.pop(key)
        else:
            container[key] = rng.choice(VALUES)
    return json.dumps(document).encode()


def damaged_weights(content: bytes, rng: random.Random) -> bytes:
    """A safetensors file whose header says something else, or is damaged itself."""
    (length,) = struct.unpack("<Q", content[:8])
    header, rest = content[8 : 8 + length], content[8 + length :]
    kind = rng.randrange(5)
    if kind == 0:
        return damaged_bytes(content[: 8 + length], rng) + rest
    if kind == 1:
        return struct.pack("<Q", rng.choice([0, 1, length - 1, length + 8, 2**32, 2**62, 2**64 - 1])) + header + rest
    if kind == 2:
        return content[: rng.randrange(len(content))]
    header = damaged_text(header, rng)
    return struct.pack("<Q", len(header)) + header + rest


def damaged_bytes(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(changed) + 1)
        changed[place : place + rng.choice([0, 1, 20])] = rng.choice(
            [b"", b"\xff\xfe", b"\0" * 9, b"[" * 2000, b'"', b"9" * 400]
        )
    return bytes(changed)


def check(kind: str, count: int, seed: int, folder: Path) -> None:
    """Ranks a good folder among damaged ones."""
    make, rows, names = KINDS[kind]
    rng = random.Random(f"{kind} {seed}")
    make(folder / "models" / "good")
    alone = ms.select(
        (rows, LABELS), f"dir:{folder}/models/good", estimators="logme", progress=False, cache_dir=folder / "alone"
    )
    for number in range(count):
        copy = folder / "models" / f"damaged {number}"
        shutil.copytree(folder / "models" / "good", copy)
        file = copy / rng.choice(names)
        damage = damaged_weights if file.suffix == ".safetensors" else damaged_text
        file.write_bytes(damage(file.read_bytes(), rng))
    begun = time.monotonic()
    board = ms.select(
        (rows, LABELS), f"dir:{folder}/models/*", estimators="logme", progress=False, cache_dir=folder / "store"
    )
    assert time.monotonic() - begun < SECONDS * count
    assert len(board.rows) == count + 1
    (good,) = (row for row in board.rows if row.candidate.name.endswith("good"))
    assert good.scores == alone.best.scores
    assert all(row.status.isprintable() for row in board.rows)
    assert ms.Leaderboard.from_json(board.to_json()) == board


@pytest.mark.parametrize("kind", KINDS)
def test_folders_that_are_damaged_at_random_cost_a_row_each(kind: str, tmp_path: Path) -> None:
    check(kind, 4, 0, tmp_path)


PROGRAM = """
import resource, sys
from pathlib import Path

import torch
from tests.plugins.zoos.test_fuzzed_folders import check

resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
check(sys.argv[1], 40, int(sys.argv[2]), Path(sys.argv[3]))
"""


@pytest.mark.attack
@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("kind", KINDS)
def test_many_folders_that_are_damaged_at_random_end_no_process(kind: str, seed: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, kind, str(seed), str(tmp_path)]
    ended = subprocess.run(command, cwd=REPOSITORY, timeout=1200, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3000:]
