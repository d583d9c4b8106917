"""Extraction on the CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelselect import hookimpl
from modelselect.candidates.backbone import Backbone
from modelselect.extraction.extractor import Extractor
from modelselect.extraction.processor import keeps_freed_memory, ready_processor
from modelselect.extraction.torch_extractor import DEFAULT_BATCH_SIZE, TorchExtractor

if TYPE_CHECKING:
    import torch

NUMBERS_IN_A_BATCH = 16 * 3 * 224 * 224
"""Maximum size of a batch of inputs, if the user gives no batch size: 16 images of 224 x 224, or 64 of 112 x 112.

Half of it where the process cannot keep freed memory: then the operating system clears the memory of every layer, which
takes the longer, the larger a batch is.
"""


class CpuExtractor(TorchExtractor):
    """float32, channels-last, with torch's number of threads, at most one per usable core; freed memory is kept."""

    name = "cpu"

    def supports(self, backbone: Backbone, device: str) -> bool:
        return device == "cpu"

    def suitable_batch_size(self, row: torch.Tensor) -> int:
        numbers = NUMBERS_IN_A_BATCH if keeps_freed_memory() else NUMBERS_IN_A_BATCH // 2
        return max(1, min(DEFAULT_BATCH_SIZE, numbers // row.numel()))

    @contextlib.contextmanager
    def session(self, module: torch.nn.Module, device: str) -> Iterator[None]:
        with ready_processor(), super().session(module, device):
            yield


@hookimpl
def modelselect_register_extractors() -> list[Extractor]:
    return [CpuExtractor()]
