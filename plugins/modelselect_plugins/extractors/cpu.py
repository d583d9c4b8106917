"""Extraction on the CPU."""

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
"""Maximum size of a batch of inputs, if the user gives no batch size: 8 images of 224 x 224, or 64 of 79 x 79.

Larger activations do not fit into the CPU's caches, and the operating system allocates and clears their memory again
for every layer: with one thread, MobileNetV2 takes 22 ms per image in batches of 8, and 56 ms in batches of 64
(benchmarks/extraction.py).
"""


class CpuExtractor(TorchExtractor):
    """float32, channels-last, with torch's number of threads, but no more than the usable cores."""

    name = "cpu"

    def supports(self, backbone: Backbone, device: str) -> bool:
        return device == "cpu"

    def suitable_batch_size(self, row: torch.Tensor) -> int:
        return max(1, min(DEFAULT_BATCH_SIZE, NUMBERS_IN_A_BATCH // row.numel()))

    @contextlib.contextmanager
    def session(self, module: torch.nn.Module, device: str) -> Iterator[None]:
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(min(threads, usable_cores()))  # in a container, torch counts all cores of the machine
        try:
            with super().session(module, device):
                yield
        finally:
            torch.set_num_threads(threads)


@hookimpl
def modelselect_register_extractors() -> list[Extractor]:
    return [CpuExtractor()]
