"""Extraction on the CPU with fewer layers, for runs that ask for it: `select(extractor="fused")`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from modelselect import hookimpl
from modelselect.candidates.backbone import Backbone, Outputs
from modelselect.extraction.devices import is_out_of_memory
from modelselect.extraction.extractor import Extractor
from modelselect_plugins.extractors.cpu import CpuExtractor

if TYPE_CHECKING:
    import torch

LARGEST_DIFFERENCE = 1e-4
"""Between features with and without fused layers, relative to the largest one. Usual is 1e-7 to 3e-6."""

_COMPARED = 2  # rows


class FusedExtractor(CpuExtractor):
    """As `cpu`, but a convolution also does the batch normalisation and the activation after it.

    Features differ by rounding. The first rows of each candidate are computed both ways, and a candidate whose features
    differ by more than `LARGEST_DIFFERENCE` is computed as it is. So is one without such layers, and one that computes
    something else with other rows. The module does not change. With `compile=True`, torch's compiler decides instead.
    """

    name = "fused"
    on_request = True

    def reader(self, backbone: Backbone, compile: bool) -> Callable[[torch.Tensor], Outputs]:
        read = super().reader(backbone, compile)
        return read if compile else _Reader(read)


class _Reader:
    """Reads the first batch with fused layers and without, and later ones with them if the outputs were equal."""

    def __init__(self, read: Callable[[torch.Tensor], Outputs]) -> None:
        self._read = read
        self._fused: contextlib.AbstractContextManager[Any] | None = None
        self._is_new = True

    def __call__(self, batch: torch.Tensor) -> Outputs:
        from modelselect_plugins.extractors._fusing import watched

        expected = None
        try:
            if self._is_new:
                expected, self._fused = watched(lambda: self._read(batch[:_COMPARED]))
                self._is_new = False
            if self._fused:
                with self._fused:
                    outputs = self._read(batch)
                if expected is None or _equal(outputs, expected):
                    return outputs
        except Exception as error:  # of the module itself, which then raises it again, or because of the fused layers
            if is_out_of_memory(error):
                raise
        self._is_new, self._fused = False, None
        return self._read(batch)


def _equal(given: Outputs, expected: Outputs) -> bool:
    """Whether features and logits of the first rows differ by rounding alone."""
    for own, other in zip(given, expected, strict=True):
        if own is None or other is None:
            continue
        own = own[: len(other)]
        if own.shape != other.shape:
            return False
        if not float((own - other).abs().max()) <= LARGEST_DIFFERENCE * float(other.abs().max()):
            return False
    return True


@hookimpl
def modelselect_register_extractors() -> list[Extractor]:
    return [FusedExtractor()]
