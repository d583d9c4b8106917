"""Images and folders that the tests of the probe share."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from modelselect.probe.probe import Probe


def noise(seed: int, shape: tuple[int, ...] = (8, 8, 3)) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def folder_of(root: Path, counts: dict[str, int], suffix: str = ".png", first: int = 0) -> Path:
    """Class folders of distinct images; `root/a/3.png` always holds the same pixels."""
    for label, count in counts.items():
        (root / label).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.fromarray(noise(first + 1000 * sum(map(ord, label)) + i)).save(root / label / f"{i}{suffix}")
    return root


def pixels(probe: Probe, index: int) -> np.ndarray[Any, Any]:
    return np.asarray(probe.item(index))


def contents(probe: Probe) -> list[bytes]:
    return [pixels(probe, i).tobytes() for i in range(len(probe))]


def _encoded(mode: str, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.kron(noise(0, (7, 5, 3)), np.ones((8, 8, 1), np.uint8))).convert(mode).save(
        buffer, kind, **options
    )
    return buffer.getvalue()


ENCODINGS = {
    "jpeg": _encoded("RGB", "JPEG"),
    "progressive jpeg": _encoded("RGB", "JPEG", progressive=True),
    "grey jpeg": _encoded("L", "JPEG"),
    "cmyk jpeg": _encoded("CMYK", "JPEG"),
    "png": _encoded("RGB", "PNG"),
    "webp": _encoded("RGB", "WEBP"),
    "bmp": _encoded("P", "BMP"),
}
