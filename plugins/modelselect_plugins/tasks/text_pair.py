"""Text pair: classes or numbers of pairs of texts."""

from __future__ import annotations

from collections.abc import Sequence

import modelselect
from modelselect.errors import DatasetError
from modelselect.probe.probe import Probe
from modelselect.tasks import ACCURACY, CrossEntropy, Task
from modelselect_plugins.tasks.classification import Classification
from modelselect_plugins.tasks.regression import Regression


class PairClassification(Classification):
    name = "text-pair"


class PairRegression(Regression):
    name = "text-pair"


class TextPair(Task):
    """Classes or numbers of pairs of texts, each of which goes through the tokenizer as a pair.

    Pairs are read by any task; this one refuses rows that are none.
    """

    name = "text-pair"
    summary = "One class, or numbers, for each pair of texts."
    targets = ("classes", "numbers")
    metrics = (ACCURACY,)
    objective = CrossEntropy()
    by_default = False

    @property
    def variants(self) -> tuple[Task, ...]:
        return PairClassification(), PairRegression()

    def of_rows(self, probe: Probe) -> Task:
        super().of_rows(probe)
        if not probe.holds_pairs:
            raise DatasetError(
                f"the task is {self.name}, and the rows of {probe.name} are no pairs of texts. Name two columns of "
                "texts with input= (--input first,second), or leave out task= (--task)."
            )
        return PairRegression() if probe.target_kind == "numbers" else PairClassification()


@modelselect.hookimpl
def modelselect_register_tasks() -> Sequence[Task]:
    return [TextPair()]
