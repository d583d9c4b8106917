"""Extraction on the processor."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelselect import hookimpl
from modelselect.candidates.backbone import Backbone
from modelselect.extraction.extractor import Extractor
from modelselect.extraction.torch_extractor import DEFAULT_BATCH_SIZE, TorchExtractor
from modelselect.utils.system import usable_cores

if TYPE_CHECKING:
    import torch

NUMBERS_IN_A_BATCH = 8 * 3 * 224 * 224
"""Of inputs, at most, where the caller leaves the batch size open: 8 images of 224 x 224, 64 of 79 x 79 or smaller.

Activations of more than that leave the processor's caches, and come in blocks that the operating system hands out and
zeroes anew for every layer: measured with one thread, MobileNetV2 takes 22 ms an image in batches of 8 and 56 ms in
batches of 64 (benchmarks/extraction.py).
"""


class CpuExtractor(TorchExtractor):
    """float32, channels-last, with as many threads as torch was given, but no more than there are cores."""

    name = "cpu"

    def supports(self, backbone: Backbone, device: str) -> bool:
        return device == "cpu"

    def suitable_batch_size(self, row: torch.Tensor) -> int:
        return max(1, min(DEFAULT_BATCH_SIZE, NUMBERS_IN_A_BATCH // row.numel()))

    @contextlib.contextmanager
    def session(self, module: torch.nn.Module, device: str) -> Iterator[None]:
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(min(threads, usable_cores()))  # of a container's share: torch counts the machine's
        try:
            with super().session(module, device):
                yield
        finally:
            torch.set_num_threads(threads)


@hookimpl
def modelselect_register_extractors() -> list[Extractor]:
    return [CpuExtractor()]
