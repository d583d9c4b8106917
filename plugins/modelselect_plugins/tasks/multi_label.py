"""Multi-label: a set of labels for each row."""

from __future__ import annotations

from collections.abc import Sequence

import modelselect
from modelselect.estimators.estimator import Estimator
from modelselect.tasks import (
    F1,
    MEAN_AVERAGE_PRECISION,
    MEAN_AVERAGE_PRECISION_2007,
    BinaryCrossEntropy,
    OneVsRest,
    Task,
)
from modelselect_plugins.estimators.knn import KNN
from modelselect_plugins.estimators.linear_probe import LinearProbe
from modelselect_plugins.estimators.other_targets import LabelProbe, NearestLabels
from modelselect_plugins.tasks._adapting import of_members


class MultiLabel(Task):
    """A set of labels for each row; labels may be unknown. Fine-tuning is judged by mAP.

    Estimators of classes score each label against the rest, and the score is the mean over the labels.
    """

    name = "multi-label"
    summary = "A set of labels for each row."
    targets = ("label_sets",)
    metrics = (MEAN_AVERAGE_PRECISION, MEAN_AVERAGE_PRECISION_2007, F1)
    objective = BinaryCrossEntropy()

    def adapted(self, estimator: Estimator) -> Estimator | None:
        if type(estimator) is KNN:
            return NearestLabels(estimator.k)
        if type(estimator) is LinearProbe:
            return LabelProbe(estimator.folds, estimator.regularisation, estimator.iterations, estimator.max_rows)
        if (made := of_members(self, estimator)) is not None:
            return made
        if "labels" not in estimator.reads:
            return estimator
        return OneVsRest(estimator) if estimator.targets & {"classes", "label_sets"} else None


@modelselect.hookimpl
def modelselect_register_tasks() -> Sequence[Task]:
    return [MultiLabel()]
