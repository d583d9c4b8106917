"""Small datasets and a made-up benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modelselect.benchmarking.benchmark import Benchmark

MODELS = ("plain.random", "resnet.textures", "vit.letters", "densenet.print", "mixer.digits0to4")


EXPRESSIONS = [f"embedded:{name}" for name in MODELS]


Pixels = NDArray[np.uint8]


def toy(seed: int, gap: int = 60) -> tuple[Pixels, list[int]]:
    images = np.random.default_rng(seed).integers(0, 256 - gap, (36, 32, 32, 3), dtype=np.uint8)
    images[:18, :16] += np.uint8(gap)
    return images, [0] * 18 + [1] * 18


def folder(path: Path, seed: int, *, test: bool = False) -> Path:
    for split, number in (("train", seed), ("test", seed + 100)) if test else (("", seed),):
        images, labels = toy(number)
        for index, (pixels, label) in enumerate(zip(images, labels, strict=True)):
            (path / split / f"class{label}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path / split / f"class{label}" / f"{index}.png")
    return path


def made_up(datasets: int = 4, models: int = 12, seed: int = 0) -> Benchmark:
    """`good` follows the truth, `bad` does not; `parameters` is a static baseline in between."""
    random = np.random.default_rng(seed)
    truth: dict[str, dict[str, float]] = {}
    scores: dict[str, dict[str, dict[str, float]]] = {"good": {}, "bad": {}, "parameters": {}}
    size = random.normal(size=models)
    for number in range(datasets):
        quality = size + random.normal(size=models)
        names = [f"m{i}" for i in range(models)]
        truth[f"d{number}"] = dict(zip(names, (0.5 + 0.05 * quality).tolist(), strict=True))
        for name, values in (
            ("good", quality + 0.05 * random.normal(size=models)),
            ("bad", random.normal(size=models)),
            ("parameters", size),
        ):
            scores[name][f"d{number}"] = dict(zip(names, values.tolist(), strict=True))
    return Benchmark.of_scores(scores, truth)
