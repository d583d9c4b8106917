"""What is publicly known of a model before anything is computed: published fine-tunings, accuracy on ImageNet-1k."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect_plugins.estimators._evidence import public
from modelselect_plugins.estimators._evidence.names import architecture_key, weights_key

Vector = NDArray[np.float64]

KINDS: Mapping[str, tuple[str, ...]] = {"image": ("image", "image-text"), "text": ("text",), "audio": ("audio",)}
"""By modality, the kinds of quality. Each kind has a scale of its own, because no source compares models of two."""

IMAGENET = ("imagenet-1k", "imagenet1k", "ilsvrc/imagenet-1k", "ilsvrc2012", "ilsvrc-2012")
"""How names of ImageNet-1k begin, in lower case."""


def public_quality(candidate_id: str, modality: str) -> float:
    """How well a model did in published results, compared with the other models of its kind.

    Args:
        candidate_id: with or without revision and settings.
        modality: `image`, `image-text` (the image towers of CLIP and its kin), `text` or `audio`.

    Returns:
        Log odds above or below the average model: of these weights where they are known, else, for images, of their
        architecture. NaN where neither is known.

    >>> public_quality("timm:resnet50.tv_in1k", "image") > public_quality("timm:resnet18.tv_in1k", "image")
    True
    >>> public_quality("hub:someone/fine-tuned", "image")
    nan
    """
    known = _qualities().get(modality, {})
    return known.get(weights_key(candidate_id), known.get(architecture_key(candidate_id), math.nan))


def public_qualities(candidate_ids: Sequence[str], modality: str) -> Vector:
    """(n,) the public quality of the candidates of a pool, on one scale; NaN where it is not known.

    Image models are known from fine-tuning or from zero-shot classification. These two cannot be compared: the kind
    counts that is known of more candidates of the pool.

    Args:
        candidate_ids: with or without revisions and settings.
        modality: of the probe: `image`, `text` or `audio`; nothing is known for another.
    """
    found = [np.array([public_quality(each, kind) for each in candidate_ids]) for kind in KINDS.get(modality, ())]
    nothing = np.full(len(candidate_ids), np.nan)
    return max(found, key=lambda values: int(np.isfinite(values).sum()), default=nothing)


def imagenet_top1(candidate_id: str, metadata: Mapping[str, Any]) -> float:
    """The top-1 accuracy on ImageNet-1k, in per cent; NaN where it is not known.

    The accuracy in the metadata counts if the source dataset, or the last of several, is ImageNet-1k. Otherwise timm's
    table counts: the accuracy of the same weights, at the input size that they are used with.

    >>> imagenet_top1("timm:resnet18.tv_in1k", {})
    69.752
    >>> imagenet_top1("hub:someone/birds", {"source_dataset": "ImageNet-1k -> birds", "source_accuracy": 98.0})
    nan
    """
    accuracy = metadata.get("source_accuracy")
    dataset = str(metadata.get("source_dataset") or "").rsplit("->", 1)[-1].strip().lower()
    if isinstance(accuracy, int | float) and not isinstance(accuracy, bool) and dataset.startswith(IMAGENET):
        return float(accuracy) if 0 < accuracy <= 100 else math.nan
    return _accuracies().get(weights_key(candidate_id), math.nan)


@cache
def _qualities() -> Mapping[str, Mapping[str, float]]:
    """By kind and key."""
    found: dict[str, dict[str, float]] = {}
    for row in public.rows("quality.csv"):
        found.setdefault(row["modality"], {})[row["key"]] = float(row["quality"])
    return found


@cache
def _accuracies() -> Mapping[str, float]:
    return {row["key"]: float(row["top1"]) for row in public.rows("imagenet.csv")}
