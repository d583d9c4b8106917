"""`Task`: what is to be predicted for each row, and everything that follows from it."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

from numpy.typing import NDArray

from modelselect.candidates.backbone import Backbone
from modelselect.errors import DatasetError
from modelselect.estimators.estimator import Estimator
from modelselect.probe.probe import Probe
from modelselect.tasks.metrics import Metric
from modelselect.tasks.objectives import Objective
from modelselect.utils.target_kinds import ROW, TARGET_KINDS


class Task(abc.ABC):
    """What is to be predicted for each row, and everything that follows from it.

    Subclass it, register an instance with `modelselect_register_tasks`, and check its promises with
    `modelselect.testing.check_task`. How targets of a kind are read from data, and how rows are stratified by them, is
    the same for all tasks: see `Probe.of(targets=...)`. A task says the rest.

    Attributes:
        name: unique among tasks, lower case. `select(task=NAME)` asks for it.
        summary: one line for lists.
        targets: the kinds of targets that it takes, of `modelselect.utils.target_kinds.TARGET_KINDS`.
        metrics: by which fine-tuned candidates are judged; the first one orders them, and higher is better. They may
            differ between instances, for tasks that `of_rows` makes.
        objective: what fine-tuning minimises. The head is linear.
        modality: of the rows that it takes, such as `audio`; None for any.
        by_default: whether `task="auto"` takes the task for rows that suit it.
        unit: what a row is, of the probe and of evidence: an input of its own, a word of a sentence, or a pixel or a
            box of an image.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    targets: ClassVar[tuple[str, ...]]
    metrics: tuple[Metric, ...]
    objective: ClassVar[Objective]
    modality: ClassVar[str | None] = None
    by_default: ClassVar[bool] = True
    unit: ClassVar[str] = ROW

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
        if probe.unit != self.unit:
            raise DatasetError(
                f"the task is {self.name}, which needs {self.rows}, and each row of {probe.name} is a {probe.unit}. "
                "Leave out task= (--task)."
            )
        return self

    def reading(self, backbone: Backbone) -> Backbone:
        """The backbone as evidence is read from it: `read` gives a row of features for each row of the probe.

        Args:
            backbone: as its zoo loads it.

        Raises:
            CandidateError: the backbone cannot give such rows.
        """
        return backbone

    def training(self, backbone: Backbone) -> Backbone:
        """The backbone as it is fine-tuned: `read` gives the features of all parts of `Probe.wholes`, (B, ..., D).

        Args:
            backbone: as its zoo loads it, or as `reading` gives it.
        """
        return backbone

    def training_bytes(self, rows: int, classes: int) -> int:
        """Memory that fine-tuning takes beyond that of a classifier of whole inputs.

        Args:
            rows: inputs at a time.
            classes: their number.
        """
        return 0

    def decoded(self, outputs: NDArray[Any], targets: NDArray[Any]) -> NDArray[Any]:
        """The predictions for wholes, in the shape of their targets.

        Args:
            outputs: (G, ..., K) of the head for the parts of each whole.
            targets: (G, ...) classes.

        Returns:
            (G, ...) the number of an output for each part; -1 where there is none.
        """
        found: NDArray[Any] = outputs.argmax(-1)
        return found

    @property
    def rows(self) -> str:
        """The rows that it takes, in words."""
        return "one input for each row" if self.unit == ROW else f"a {self.unit} for each row"

    @property
    def expected(self) -> str:
        """The targets that it takes, in words."""
        return " or ".join(TARGET_KINDS[kind] for kind in self.targets)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"
