"""Trains networks, most from random weights, and watches the geometry of their features."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelselect.candidates.backbone import Backbone
from modelselect.candidates.candidate import Candidate
from modelselect.candidates.inspection import reader_for
from modelselect.candidates.modules import weights_digest
from modelselect.candidates.preprocessing import ImagePreprocessing, example_batch
from modelselect.errors import CandidateError
from modelselect.extraction.devices import choose_device
from modelselect.host.host import get_host
from modelselect.host.lookup import search
from modelselect.probe.probe import Probe
from modelselect.protocols.protocol import Training
from modelselect.verification.dynamics import TrainingDynamics
from modelselect.verification.processes import reproducible
from modelselect.verification.recipe import FineTuning
from modelselect.verification.verifier import verify

if TYPE_CHECKING:
    import torch

SIDE = 32
"""Of the images that networks are trained on from random weights."""


def watched_trainings(training: Training, probe: Probe, seed: int, device: str) -> Mapping[str, list[dict[str, float]]]:
    """By architecture, the measures after each epoch.

    Args:
        training: the recipe.
        probe: the training rows, with held-out rows.
        seed: of the weights, the order of rows and the sample that is watched.
        device: `auto`, `cpu`, `cuda`, ...

    Raises:
        CandidateError: an architecture cannot be built without its weights, or a candidate cannot be loaded.
    """
    chosen = choose_device(device, get_host().extractors)
    assert probe.holdout is not None
    recipe = FineTuning(
        epochs=training.epochs,
        batch_size=training.batch_size,
        backbone_learning_rate=training.learning_rate,
        head_learning_rate=training.learning_rate,
        weight_decay=5e-4,
        optimizer=training.optimizer,
        patience=training.epochs if training.pretrained else None,
    )
    found: dict[str, list[dict[str, float]]] = {}
    for candidate in search(training.architectures):
        dynamics = TrainingDynamics(training.watched, rows=training.rows, seed=seed)
        backbone = get_host().zoo(candidate.zoo).load(candidate) if training.pretrained else _untrained(candidate, seed)
        verified = verify(backbone, probe, probe.holdout, recipe, seed=seed, device=chosen, watch=dynamics)
        for moment, (loss, accuracy) in zip(dynamics.epochs, verified.curve, strict=True):
            moment["loss"] = loss
            if accuracy is not None:
                moment["accuracy"] = accuracy
        name = candidate.name if training.pretrained else candidate.metadata.get("architecture", candidate.name)
        found[name] = dynamics.epochs
    return found


def _untrained(candidate: Candidate, seed: int) -> Backbone:
    """The candidate with random weights. Nothing is downloaded."""
    zoo = get_host().zoo(candidate.zoo)
    if zoo.is_here(candidate):
        backbone = zoo.load(candidate)
        module, preprocessing = copy.deepcopy(backbone.module), backbone.preprocessing
    else:
        module = zoo.skeleton(candidate)
        if module is None:
            raise CandidateError(f"{candidate.id} cannot be built without its weights")
        preprocessing = ImagePreprocessing((SIDE, SIDE), SIDE, "bilinear", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    with reproducible(seed, "cpu"):
        module = _randomised(module).eval()
    read = reader_for(module, example_batch(preprocessing))
    return Backbone(candidate, module, preprocessing, read, weights_digest(module, f"random {seed}"))


def _randomised(module: torch.nn.Module) -> torch.nn.Module:
    """The module with new weights from each layer's own distribution, in place."""
    import torch

    module = module.to_empty(device="cpu") if any(t.is_meta for t in module.parameters()) else module
    for part in module.modules():
        reset: Any = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()
    left = [name for name, tensor in module.named_parameters() if not torch.isfinite(tensor).all()]
    if left:
        raise CandidateError(f"the layer {left[0]} has no distribution of random weights")
    return module
