"""Extraction on an NVIDIA GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelselect import hookimpl
from modelselect.backbone import Backbone
from modelselect.extraction import Extractor, TorchExtractor

if TYPE_CHECKING:
    import torch


class CudaExtractor(TorchExtractor):
    """float32 without TensorFloat-32, so that features agree with the processor's; pinned, asynchronous transfers."""

    name = "cuda"

    def supports(self, backbone: Backbone, device: str) -> bool:
        return device == "cuda" or device.startswith("cuda:")

    @contextlib.contextmanager
    def session(self, module: torch.nn.Module, device: str) -> Iterator[None]:
        import torch

        matmul, convolution = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        try:
            with super().session(module, device):
                yield
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, convolution

    def to_device(self, rows: torch.Tensor, device: str) -> torch.Tensor:
        return rows.pin_memory().to(device, non_blocking=True)


@hookimpl
def modelselect_register_extractors() -> list[Extractor]:
    return [CudaExtractor()]
