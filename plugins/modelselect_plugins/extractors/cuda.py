"""Extraction on an NVIDIA GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from modelselect import hookimpl
from modelselect.candidates.backbone import Backbone
from modelselect.extraction.extractor import Extractor
from modelselect.extraction.torch_extractor import TorchExtractor
from modelselect.utils.shared import SharedChange

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


def _read() -> tuple[bool, bool]:
    import torch

    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def _write(allowed: tuple[bool, bool]) -> None:
    import torch

    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = allowed


_EXACT = SharedChange(_read, _write, lambda _: (False, False))
"""float32 without TensorFloat-32, in matrix products and in convolutions."""


class CudaExtractor(TorchExtractor):
    """float32 without TensorFloat-32, so that features agree with the CPU's; pinned, asynchronous transfers.

    While the GPU computes one batch, the next one is prepared and sent, and the one before is fetched.
    """

    name = "cuda"
    in_flight: ClassVar[int] = 2

    def supports(self, backbone: Backbone, device: str) -> bool:
        return device == "cuda" or device.startswith("cuda:")

    @contextlib.contextmanager
    def session(self, module: torch.nn.Module, device: str) -> Iterator[None]:
        with _EXACT.made(), super().session(module, device):
            yield

    def to_device(self, rows: torch.Tensor, device: str) -> torch.Tensor:
        return rows.pin_memory().to(device, non_blocking=True)

    def from_device(self, tensors: Mapping[str, torch.Tensor]) -> Callable[[], Mapping[str, NDArray[np.float32]]]:
        import torch

        coming = {name: tensor.to("cpu", non_blocking=True) for name, tensor in tensors.items()}  # into pinned memory
        sent = torch.cuda.current_stream(next(iter(tensors.values())).device).record_event()

        def arrived() -> Mapping[str, NDArray[np.float32]]:
            sent.synchronize()
            return {name: tensor.numpy() for name, tensor in coming.items()}

        return arrived


@hookimpl
def modelselect_register_extractors() -> list[Extractor]:
    return [CudaExtractor()]
