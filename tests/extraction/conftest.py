"""What tests of extraction share: images, and a probe of them."""

from __future__ import annotations

import numpy as np
import pytest

import modelselect as ms
from tests.extraction.material import ROWS


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (ROWS, 20, 24, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def probe(images: np.ndarray) -> ms.Probe:
    return ms.Probe.of((images, np.arange(ROWS) % 3), size=None)
