"""Training of the head alone: the frozen backbone reads its features once, and the head trains on these."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from modelselect.candidates.backbone import Backbone
from modelselect.candidates.modules import alone_with
from modelselect.candidates.preprocessing import CallablePreprocessing
from modelselect.candidates.readers import OwnFeatures
from modelselect.verification.job import Job, Rows
from modelselect.verification.material import Material
from modelselect.verification.pairs import Embedded
from modelselect.verification.processes import accelerated, reproducible
from modelselect.verification.training import filled_up

if TYPE_CHECKING:
    import torch


class Scaling(NamedTuple):
    """Scaling of features before the head, so that one learning rate suits all: (D,) each, from the training rows."""

    mean: torch.Tensor
    deviation: torch.Tensor


def as_features(job: Job, material: Material, part: int) -> tuple[Material, Scaling | None]:
    """The task with features as inputs, computed once by the frozen backbone; standardised but for retrieval."""
    import torch

    backbone = job.backbone
    with reproducible(job.seed, job.device), accelerated(job.device, job.settings.precision) as accelerator:
        with alone_with(backbone.module):
            module = copy.deepcopy(backbone.module)
        module = module.to(accelerator.device).eval()

        def features(rows: Rows) -> torch.Tensor:
            found = []
            for places in np.array_split(rows.places, -(-len(rows.places) // part)):
                batch = rows.inputs[torch.from_numpy(places)].to(accelerator.device)
                with torch.no_grad(), accelerator.autocast():
                    found.append(backbone.read(module, backbone.preprocessing.finish(batch)).features.float().cpu())
            if found[0].dim() > 2:
                return torch.from_numpy(filled_up([part.numpy() for part in found]))
            return torch.cat(found)

        purposes = (material.training, material.validation, material.holdout)
        if material.pairs is not None:
            return _as_embedded(material, features), None
        read = {id(rows): features(rows) for rows in purposes if rows is not None}
    shown = read[id(material.training)]
    if shown.dim() > 2:  # without the zeros after the last part
        shown = shown.flatten(0, -2)
        is_part = shown.any(1)
        shown = shown[is_part] if is_part.any() else shown
    mean, deviation = shown.mean(0), shown.std(0)
    deviation = torch.where(deviation > 0, deviation, 1.0)

    def scaled(rows: Rows) -> Rows:
        return Rows((read[id(rows)] - mean) / deviation, np.arange(len(rows.places)), rows.targets)

    validation, holdout = (None if rows is None else scaled(rows) for rows in (material.validation, material.holdout))
    material = replace(material, training=scaled(material.training), validation=validation, holdout=holdout)
    return material, Scaling(mean, deviation)


def _as_embedded(material: Material, features: Callable[[Rows], torch.Tensor]) -> Material:
    """The task with the features of each query and document as inputs."""
    assert material.pairs is not None
    texts = material.pairs.texts
    pairs = replace(material.pairs, inputs=Embedded(features(Rows(material.pairs.inputs, texts, texts)), texts))
    held = material.holdout
    return replace(
        material,
        pairs=pairs,
        training=material.training._replace(inputs=pairs),
        validation=None if material.validation is None else material.validation._replace(inputs=pairs),
        holdout=None if held is None else Rows(features(held), np.arange(len(held.places)), held.targets),
    )


def passing_on(backbone: Backbone) -> Backbone:
    """A backbone that takes features and returns them unchanged."""
    import torch

    preprocessing = CallablePreprocessing(lambda features: features, "features")
    return Backbone(backbone.candidate, torch.nn.Identity(), preprocessing, OwnFeatures(), backbone.weights_key)
