"""The extractor of a plugin serves a device that torch does not know."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import modelselect as ms
from modelselect.candidates.backbone import Backbone
from modelselect.extraction.extractor import Extractor
from modelselect.host.host import Host
from tests.extraction.material import CPU, ROWS


class Abacus(type(CPU)):  # type: ignore[misc]
    name = "abacus"

    def supports(self, backbone: Backbone, device: str) -> bool:
        return device.split(":")[0] == "abacus"

    def extract(self, *given: Any, device: str, **settings: Any) -> ms.Evidence:
        assert device == "abacus:1"
        evidence: ms.Evidence = super().extract(*given, device="cpu", **settings)
        return evidence


class Beads:
    @ms.hookimpl
    def modelselect_register_extractors(self) -> list[Extractor]:
        return [Abacus()]


def test_an_extractor_for_a_device_that_torch_does_not_know_is_used(
    images: np.ndarray, tmp_path: Path, use_host: Callable[[Host], None]
) -> None:
    host = Host.load()
    host.register(Beads(), "beads")
    use_host(host)
    dataset = (images, np.arange(ROWS) % 3)
    boards = [
        ms.select(dataset, "embedded:plain*", estimators="logme", device=device, cache_dir=tmp_path, progress=False)
        for device in ("abacus:1", "cpu")
    ]
    assert [row.score for row in boards[0].rows] == [row.score for row in boards[1].rows]
