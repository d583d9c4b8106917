"""What tasks share whose rows are parts of wholes, such as words of sentences: no row is judged by its own whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modelselect.estimators.estimator import Estimator
from modelselect.tasks import CountedMeasure, CountedMetric, Objective, Task, counted_right, most_frequent, share
from modelselect_plugins.estimators.knn import KNN
from modelselect_plugins.estimators.linear_probe import LinearProbe
from modelselect_plugins.estimators.of_wholes import NearestOfOthers, ProbeOfOthers
from modelselect_plugins.tasks._adapting import of_members

if TYPE_CHECKING:
    import torch


class PartTask(Task):
    """A task whose rows are parts of wholes. `knn` and `linear_probe` keep the parts of a whole together."""

    def adapted(self, estimator: Estimator) -> Estimator | None:
        if type(estimator) is KNN:
            return NearestOfOthers(estimator.k)
        if type(estimator) is LinearProbe:
            return ProbeOfOthers(estimator.folds, estimator.regularisation, estimator.iterations, estimator.max_rows)
        return of_members(self, estimator) or super().adapted(estimator)


PART_ACCURACY = CountedMetric("accuracy", "accuracy", CountedMeasure(counted_right, share), guessing=most_frequent)
"""Share of the words, pixels or boxes whose class is right."""


@dataclass(frozen=True)
class Guess:
    """What the most frequent class reaches by a measure, given to each part.

    Attributes:
        measure: of the metric.
    """

    measure: CountedMeasure

    def __call__(self, targets: NDArray[Any]) -> float:
        known = targets[targets >= 0]
        return self.measure(targets, np.full(targets.shape, np.bincount(known).argmax() if len(known) else -1))


class PartCrossEntropy(Objective):
    """Softmax cross-entropy, the mean over the parts of a whole that count; the credit is the share of right parts."""

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import cross_entropy

        outputs, targets = self.aligned(outputs, targets)
        outputs, targets = outputs.flatten(1, -2), targets.flatten(1).long()
        each = cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="none")
        return (each.view_as(targets).sum(1) / (targets >= 0).sum(1).clamp(min=1)).sum()

    def credit(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        outputs, targets = self.aligned(outputs, targets)
        right = ((outputs.argmax(-1) == targets) & (targets >= 0)).flatten(1)
        return (right.sum(1) / (targets >= 0).flatten(1).sum(1).clamp(min=1)).sum()

    def aligned(self, outputs: torch.Tensor, targets: torch.Tensor) -> tuple[Any, Any]:
        """(B, ..., K) outputs and (B, ...) targets for the same parts."""
        raise NotImplementedError
