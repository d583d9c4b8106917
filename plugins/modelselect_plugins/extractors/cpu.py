"""Extraction on the processor."""

from __future__ import annotations

from modelselect import hookimpl
from modelselect.backbone import Backbone
from modelselect.extraction import Extractor, TorchExtractor


class CpuExtractor(TorchExtractor):
    """float32, channels-last, with as many threads as torch was given."""

    name = "cpu"

    def supports(self, backbone: Backbone, device: str) -> bool:
        return device == "cpu"


@hookimpl
def modelselect_register_extractors() -> list[Extractor]:
    return [CpuExtractor()]
