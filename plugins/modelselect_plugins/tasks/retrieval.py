"""Retrieval: find the documents that are relevant to a query."""

from __future__ import annotations

from collections.abc import Sequence

import modelselect
from modelselect.estimators.estimator import Estimator
from modelselect.tasks import NDCG, RECALL, InBatchNegatives, Task
from modelselect_plugins.estimators import retrieval
from modelselect_plugins.estimators.linear_probe import LinearProbe
from modelselect_plugins.tasks._adapting import of_members


class Retrieval(Task):
    """Find the documents that are relevant to a query. Fine-tuning is contrastive, and judged by nDCG@10."""

    name = "retrieval"
    summary = "Find the documents that are relevant to a query."
    targets = ("relevance",)
    metrics = (NDCG, RECALL)
    objective = InBatchNegatives()

    def adapted(self, estimator: Estimator) -> Estimator | None:
        if type(estimator) is LinearProbe:
            return retrieval.MappedRetrieval(estimator.folds)
        return of_members(self, estimator, more=[retrieval.NDCG()]) or super().adapted(estimator)


@modelselect.hookimpl
def modelselect_register_tasks() -> Sequence[Task]:
    return [Retrieval()]
