"""Checks that a candidate gives the same features whenever it sees the same row: no other score could be repeated."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from modelselect.candidates.backbone import Backbone
from modelselect.errors import CandidateError
from modelselect.extraction.devices import Compute
from modelselect.extraction.extractor import Extractor
from modelselect.extraction.torch_extractor import TorchExtractor

if TYPE_CHECKING:
    import torch

LARGEST_CHANGE = 1e-3
"""Of the largest feature. Threads and kernels may add in another order, which changes much less."""


def check_repeatable(backbone: Backbone, row: torch.Tensor, extractor: Extractor, compute: Compute) -> None:
    """Passes one row forward twice.

    Args:
        backbone: the candidate.
        row: a prepared batch of one row.
        extractor: prepares the device.
        compute: device and precision.

    Raises:
        CandidateError: the features differ, or the module stays in training mode.
    """
    if not (isinstance(extractor, TorchExtractor) and _is_of_torch(compute.device)):
        return
    preprocessing, device = backbone.preprocessing, compute.device
    with extractor.ready(backbone.module, device, compute.precision):
        if any(part.training for part in backbone.module.modules()):
            raise CandidateError(
                "the module stays in training mode after eval(), so its features depend on chance and on the batch"
            )
        batch = extractor.on_device(row, preprocessing, device)
        first, second = (backbone.read(backbone.module, batch).features.double() for _ in range(2))
    if first.shape != second.shape:
        raise CandidateError(f"the same row has {first.shape[-1]} features, and {second.shape[-1]} when it is repeated")
    first, second = first.nan_to_num(), second.nan_to_num()
    change, largest = float((first - second).abs().max()), float(first.abs().max())
    if change > LARGEST_CHANGE * largest:
        raise CandidateError(
            f"the forward pass gives other features when it is repeated on the same row (by up to {change:.2g}, where "
            f"the largest feature is {largest:.2g}), so no score could be repeated. Turn off dropout, random masking "
            "and sampling in evaluation mode"
        )


def session_of(extractor: Extractor, backbone: Backbone, compute: Compute) -> contextlib.AbstractContextManager[None]:
    """What this check and the forward pass can share: the module on its device, if torch computes there."""
    if isinstance(extractor, TorchExtractor) and _is_of_torch(compute.device):
        return extractor.ready(backbone.module, compute.device, compute.precision)
    return contextlib.nullcontext()


def _is_of_torch(device: str) -> bool:
    """Whether torch knows this kind of device; an extractor may bring another."""
    import torch

    try:
        torch.device(device)
    except RuntimeError:
        return False
    return True
