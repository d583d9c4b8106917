"""Detection: the class of the object in a box of an image, or background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import modelselect
from modelselect.candidates.backbone import Backbone
from modelselect.probe.probe import Probe
from modelselect.tasks import Metric, Task
from modelselect.tasks.metrics import mean_average_precision
from modelselect.utils.boxes import BACKGROUND
from modelselect.utils.target_kinds import BOX
from modelselect_plugins.tasks._parts import PART_ACCURACY, PartCrossEntropy, PartTask
from modelselect_plugins.tasks._regions import at_boxes

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]


@dataclass(frozen=True)
class BoxPrecision:
    """Average precision of each class over given boxes, by its probability; the mean over classes of objects.

    All boxes that count are ranked: those of the class, of other classes, and of background.

    Attributes:
        background: number of that class; None if there is none.
    """

    background: int | None = 0

    def __call__(self, targets: Array, scores: Array) -> float:
        """NaN if no class of objects has boxes, or if all boxes are of one.

        Args:
            targets: (N, P) classes; -1 for what does not count.
            scores: (N, P, C) probabilities.
        """
        known = targets >= 0
        classes = np.array([label for label in range(scores.shape[-1]) if label != self.background])
        return mean_average_precision(
            (targets[known][:, None] == classes).astype(np.float64), scores[known][:, classes]
        )

    def of_equal_scores(self, targets: Array) -> float:
        """What the same probabilities for all boxes reach."""
        return self(targets, np.zeros((*targets.shape, 1 + int(targets.max(initial=0)))))


def box_map(background: int | None = 0) -> Metric:
    """The mean average precision of given boxes, the macro mean of scikit-learn's `average_precision_score`.

    It is a proxy for that of a detector, which proposes the boxes, too.

    Args:
        background: number of that class; None if there is none.
    """
    measure = BoxPrecision(background)
    return Metric("box_map", "box mAP", measure, guessing=measure.of_equal_scores, of_scores=True)


class BoxCrossEntropy(PartCrossEntropy):
    """Softmax cross-entropy of the boxes in an image."""

    def aligned(self, outputs: torch.Tensor, targets: torch.Tensor) -> tuple[Any, Any]:
        return outputs, targets


class Detection(PartTask):
    """The class of the object in a box of an image, or background. A row is a box.

    Images come with boxes, in a file of COCO's format, as a column of objects, or as Python lists. Features are the
    mean of the last map in the box, by RoIAlign. Boxes of background are drawn in each image. All boxes in an image are
    on one side: of the probe, or held out. Fine-tuning trains a linear head on the features of boxes, and is judged by
    the mean average precision of given boxes, a proxy for that of a detector.

    Args:
        background: number of that class; None if there is none.
    """

    name = "detection"
    summary = "The class of the object in a box of an image, or background."
    targets = ("classes",)
    unit = BOX
    modality = "image"
    objective = BoxCrossEntropy()

    def __init__(self, background: int | None = 0) -> None:
        self.background = background
        self.metrics = (box_map(background), PART_ACCURACY)

    @property
    def rows(self) -> str:
        return "images with boxes, each with a class"

    def of_rows(self, probe: Probe) -> Task:
        super().of_rows(probe)
        names = probe.class_names
        return Detection(names.index(BACKGROUND) if BACKGROUND in names else None)

    def reading(self, backbone: Backbone) -> Backbone:
        return at_boxes(backbone, one=True)

    def training(self, backbone: Backbone) -> Backbone:
        return at_boxes(backbone, one=False)


@modelselect.hookimpl
def modelselect_register_tasks() -> Sequence[Task]:
    return [Detection()]
