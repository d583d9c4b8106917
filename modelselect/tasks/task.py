"""`Task`: what is to be predicted for each row, and everything that follows from it."""

from __future__ import annotations

import abc
from typing import ClassVar

from modelselect.errors import DatasetError
from modelselect.estimators.estimator import Estimator
from modelselect.probe.probe import Probe
from modelselect.tasks.metrics import Metric
from modelselect.tasks.objectives import Objective
from modelselect.utils.target_kinds import TARGET_KINDS


class Task(abc.ABC):
    """What is to be predicted for each row, and everything that follows from it.

    Subclass it, register an instance with `modelselect_register_tasks`, and check its promises with
    `modelselect.testing.check_task`. How targets of a kind are read from data, and how rows are stratified by them, is
    the same for all tasks: see `Probe.of(targets=...)`. A task says the rest.

    Attributes:
        name: unique among tasks, lower case. `select(task=NAME)` asks for it.
        summary: one line for lists.
        targets: the kinds of targets that it takes, of `modelselect.utils.target_kinds.TARGET_KINDS`.
        metrics: by which fine-tuned candidates are judged; the first one orders them, and higher is better.
        objective: what fine-tuning minimises. The head is linear.
        modality: of the rows that it takes, such as `audio`; None for any.
        by_default: whether `task="auto"` takes the task for rows that suit it.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    targets: ClassVar[tuple[str, ...]]
    metrics: ClassVar[tuple[Metric, ...]]
    objective: ClassVar[Objective]
    modality: ClassVar[str | None] = None
    by_default: ClassVar[bool] = True

    @property
    def metric(self) -> Metric:
        """The metric that orders candidates."""
        return self.metrics[0]

    @property
    def variants(self) -> tuple[Task, ...]:
        """The tasks that `of_rows` may give: by default this one alone."""
        return (self,)

    def adapted(self, estimator: Estimator) -> Estimator | None:
        """The estimator that scores targets of this task by the same method and name; None if the method has none.

        By default this is the estimator itself, if its `targets` say that it takes them. For others, a task that does
        not override this method gets what the task gets that `task="auto"` takes for targets of this kind.
        """
        return estimator if all(estimator.takes(kind) for kind in self.targets) else None

    def of_rows(self, probe: Probe) -> Task:
        """The task for these rows: itself, or, for a task of several kinds of targets, the one of their kind.

        Raises:
            DatasetError: the rows do not suit the task.
        """
        if probe.target_kind not in self.targets:
            raise DatasetError(
                f"the task is {self.name}, which needs {self.expected}, and {probe.name} has "
                f"{TARGET_KINDS[probe.target_kind]}. Leave out task= (--task), or name another column with label= "
                "(--label)."
            )
        return self

    @property
    def expected(self) -> str:
        """The targets that it takes, in words."""
        return " or ".join(TARGET_KINDS[kind] for kind in self.targets)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"
