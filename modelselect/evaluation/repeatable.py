"""Checks that a candidate gives the same features whenever it sees the same row: no other score could be repeated."""

from __future__ import annotations

from modelselect.candidates.backbone import Backbone
from modelselect.errors import CandidateError
from modelselect.extraction.devices import Compute, arithmetic
from modelselect.extraction.extractor import Extractor
from modelselect.extraction.torch_extractor import TorchExtractor
from modelselect.probe.probe import Probe

LARGEST_CHANGE = 1e-3
"""Of the largest feature. Threads and kernels may add in another order, which changes much less."""


def check_repeatable(backbone: Backbone, probe: Probe, extractor: Extractor, compute: Compute) -> None:
    """Passes one row forward twice.

    Raises:
        CandidateError: the features differ, or the module stays in training mode.
    """
    import torch

    if not isinstance(extractor, TorchExtractor) or not _is_of_torch(compute.device):
        return
    preprocessing, device = backbone.preprocessing, compute.device
    row = torch.stack([preprocessing.prepare(probe.item(0))])
    with (
        torch.inference_mode(),
        extractor.session(backbone.module, device),
        arithmetic(compute.precision, device),
    ):
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


def _is_of_torch(device: str) -> bool:
    """Whether torch knows this kind of device; an extractor may bring another."""
    import torch

    try:
        torch.device(device)
    except RuntimeError:
        return False
    return True
