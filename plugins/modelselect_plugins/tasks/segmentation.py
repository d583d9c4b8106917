"""Segmentation: a class for each pixel of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import modelselect
from modelselect.candidates.backbone import Backbone
from modelselect.probe.masks import SIDE
from modelselect.tasks import CountedMeasure, CountedMetric, Task
from modelselect.utils.target_kinds import PIXEL
from modelselect_plugins.tasks._maps import at_pixels
from modelselect_plugins.tasks._parts import PART_ACCURACY, Guess, PartCrossEntropy, PartTask

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]

_ENLARGED_AT_ONCE = 1 << 26
"""Outputs that are enlarged at a time: 256 MiB. A photo of 12 million pixels has 1,800 million of 150 classes."""

_LOGIT_BYTES = 4 * 3
"""Enlarged outputs, their logarithms, and their gradients, in float32."""


def counted_classes(targets: Array, predictions: Array) -> Array:
    """(N, C, 2) for each image and class: pixels that have it in both, and in either. Targets of -1 do not count."""
    known = targets >= 0
    classes = 1 + max(int(targets.max(initial=0)), int(predictions.max(initial=0)))
    found = np.zeros((len(targets), classes, 2), np.int64)
    for row, (there, said, counts) in enumerate(zip(targets, predictions, known, strict=True)):
        own, named = there[counts].astype(np.int64), said[counts].astype(np.int64)
        both = np.bincount(own[own == named], minlength=classes)
        of_each = [np.bincount(each[each >= 0], minlength=classes) for each in (own, named)]
        found[row] = np.stack([both, of_each[0] + of_each[1] - both], axis=1)
    return found


def mean_share(sums: Array) -> float:
    """The mean over classes of intersection over union, of classes that are there or predicted."""
    present = sums[:, 1] > 0
    return float((sums[present, 0] / sums[present, 1]).mean()) if present.any() else float("nan")


_MEASURE = CountedMeasure(counted_classes, mean_share)

MEAN_IOU = CountedMetric("mean_iou", "mIoU", _MEASURE, guessing=Guess(_MEASURE))
"""Mean over classes of the intersection over union of all pixels: the macro mean of scikit-learn's `jaccard_score`."""


class PixelCrossEntropy(PartCrossEntropy):
    """Softmax cross-entropy of the pixels of an image."""

    def aligned(self, outputs: torch.Tensor, targets: torch.Tensor) -> tuple[Any, Any]:
        """Outputs (B, h, w, K) are enlarged to the size of the masks."""
        return enlarged(outputs, targets.shape[1:]), targets


def enlarged(outputs: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """(B, h, w, K) at another height and width, bilinearly."""
    from torch.nn.functional import interpolate

    if tuple(outputs.shape[1:3]) == tuple(size):
        return outputs
    made = interpolate(outputs.permute(0, 3, 1, 2), size=tuple(size), mode="bilinear", align_corners=False)
    return made.permute(0, 2, 3, 1)


def greatest(outputs: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """(B, H, W) the class of the greatest of outputs (B, h, w, K), enlarged. Few classes are enlarged at a time."""
    import torch

    step = max(1, _ENLARGED_AT_ONCE // (len(outputs) * size[0] * size[1]))
    best, found = enlarged(outputs[..., :step], size).max(-1)
    for first in range(step, outputs.shape[-1], step):
        values, place = enlarged(outputs[..., first : first + step], size).max(-1)
        found = torch.where(values > best, first + place, found)
        best = torch.maximum(best, values)
    return found


class Segmentation(PartTask):
    """A class for each pixel of an image. A row is a pixel, and its features are those of the last map, there.

    Images come with masks, as folders `images/` and `masks/`, as two columns of images, or as arrays. Pixels are drawn
    by image and class; all pixels of an image are on one side: of the probe, or held out. Fine-tuning trains a linear
    head at each place of the map, whose outputs are enlarged to the mask, and is judged by mIoU.
    """

    name = "segmentation"
    summary = "A class for each pixel of an image."
    targets = ("classes",)
    unit = PIXEL
    modality = "image"
    metrics = (MEAN_IOU, PART_ACCURACY)
    objective = PixelCrossEntropy()

    @property
    def rows(self) -> str:
        return "images with masks"

    def reading(self, backbone: Backbone) -> Backbone:
        return at_pixels(backbone, one=True)

    def training(self, backbone: Backbone) -> Backbone:
        return at_pixels(backbone, one=False)

    def training_bytes(self, rows: int, classes: int) -> int:
        return rows * SIDE**2 * classes * _LOGIT_BYTES

    def decoded(self, outputs: Array, targets: Array) -> Array:
        import torch

        found, size = np.empty(targets.shape, np.int16), targets.shape[1:]
        at_once = max(1, _ENLARGED_AT_ONCE // (size[0] * size[1] * outputs.shape[-1]))
        for start in range(0, len(outputs), at_once):
            part = slice(start, start + at_once)
            found[part] = greatest(torch.from_numpy(outputs[part]), size).numpy()
        return found


@modelselect.hookimpl
def modelselect_register_tasks() -> Sequence[Task]:
    return [Segmentation()]
