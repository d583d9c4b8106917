"""Which estimators score the targets of a task."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NoReturn

from modelselect.errors import InvalidInputError, NotApplicableError
from modelselect.estimators.estimator import Estimator
from modelselect.evidence.evidence import Evidence
from modelselect.tasks.task import Task
from modelselect.utils.text import listed

_LOGGER = logging.getLogger(__name__)


class DoesNotApply(Estimator):
    """Stands for an estimator that the user named and that takes no targets of the task: each candidate says so.

    Args:
        estimator: the one that does not apply.
        task: name of the task.
        expected: what the task predicts, in words.
    """

    requires = frozenset({"labels"})

    def __init__(self, estimator: Estimator, task: str, expected: str) -> None:
        self.estimator = estimator
        self.task = task
        self.expected = expected

    @property
    def name(self) -> str:  # type: ignore[override]  # that of the estimator it stands for
        return self.estimator.name

    @property
    def citation(self) -> str:  # type: ignore[override]
        return self.estimator.citation

    def score(self, evidence: Evidence) -> NoReturn:
        raise NotApplicableError(f"{self.name} is not defined for {self.expected}, and the task is {self.task}")


def adapted(
    task: Task, estimators: Sequence[Estimator], *, usual: Task | None = None, every: bool = False
) -> list[Estimator]:
    """The estimators that score targets of the task.

    One that the user named, and that has no form for them, gives each candidate the reason.

    Args:
        task: the task of the run.
        estimators: what the user chose.
        usual: the task that rows like these have by default. It adapts the estimators of a task that does not say how.
        every: whether the user asked for all estimators; those that do not apply are then left out.

    Raises:
        InvalidInputError: no estimator applies.
    """
    says_how = type(task).adapted is not Task.adapted
    adapting = task if says_how or usual is None else usual
    found: Mapping[str, Estimator | None] = {
        each.name: task.adapted(each) or adapting.adapted(each) for each in estimators
    }
    missing = [each for each in estimators if found[each.name] is None]
    if len(missing) == len(estimators):
        raise InvalidInputError(
            f"the task is {task.name}, and {listed([each.name for each in missing])} "
            f"{'is' if len(missing) == 1 else 'are'} not defined for {task.expected}. Name others with estimators= "
            "(--estimators): `modelselect estimators` lists what they take."
        )
    if every:
        if missing:
            _LOGGER.info("left out, since the task is %s: %s", task.name, listed([each.name for each in missing], 40))
        return [each for each in found.values() if each is not None]
    return [found[each.name] or DoesNotApply(each, task.name, task.expected) for each in estimators]
