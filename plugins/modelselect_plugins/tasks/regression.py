"""Regression: one number or several numbers for each row."""

from __future__ import annotations

from collections.abc import Sequence

import modelselect
from modelselect.estimators.estimator import Estimator
from modelselect.tasks import MEAN_ABSOLUTE_ERROR, R2, SPEARMAN, SquaredError, Task
from modelselect_plugins.estimators.h_score import HScore
from modelselect_plugins.estimators.knn import KNN
from modelselect_plugins.estimators.linear_probe import LinearProbe
from modelselect_plugins.estimators.other_targets import HScoreOfNumbers, NearestNumbers, RegressionProbe
from modelselect_plugins.estimators.ridge import Ridge
from modelselect_plugins.tasks._adapting import of_members


class Regression(Task):
    """One number or several numbers for each row. Fine-tuning is judged by R², the share of variance explained."""

    name = "regression"
    summary = "One number or several numbers for each row."
    targets = ("numbers",)
    metrics = (R2, MEAN_ABSOLUTE_ERROR, SPEARMAN)
    objective = SquaredError()

    def adapted(self, estimator: Estimator) -> Estimator | None:
        if type(estimator) is KNN:
            return NearestNumbers(estimator.k)
        if type(estimator) is LinearProbe:
            return RegressionProbe(estimator.folds, estimator.regularisation, estimator.max_rows)
        if type(estimator) is HScore:
            return HScoreOfNumbers(estimator.regularized)
        return of_members(self, estimator, more=[Ridge()]) or super().adapted(estimator)


@modelselect.hookimpl
def modelselect_register_tasks() -> Sequence[Task]:
    return [Regression()]
