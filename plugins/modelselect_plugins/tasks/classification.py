"""Classification: one class for each row."""

from __future__ import annotations

from collections.abc import Sequence

import modelselect
from modelselect.tasks import ACCURACY, CrossEntropy, Task


class Classification(Task):
    """One class for each row: a name, a number or a truth value; a row without a known class is unlabelled."""

    name = "classification"
    summary = "One class for each row."
    targets = ("classes",)
    metrics = (ACCURACY,)
    objective = CrossEntropy()


@modelselect.hookimpl
def modelselect_register_tasks() -> Sequence[Task]:
    return [Classification()]
