"""`Assignment`: one fine-tuning as it was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from modelselect.candidates.backbone import Backbone
from modelselect.extraction.devices import check_precision
from modelselect.extraction.inputs import InputCache, Inputs
from modelselect.host.defaults import AUTO
from modelselect.host.host import get_host
from modelselect.host.lookup import task_of
from modelselect.probe.grouped import Wholes
from modelselect.probe.probe import Probe
from modelselect.tasks.task import Task
from modelselect.verification.recipe import FineTuning, check_method


@dataclass(frozen=True)
class Assignment:
    """One fine-tuning: what is trained, on which rows, and how.

    Attributes:
        backbone: as its task trains it.
        training: the rows to train on.
        holdout: the rows to measure on; None if nothing is measured on other rows.
        settings: the recipe.
        method: what is trained, one of `METHODS`.
        seed: of everything random.
        device: such as `"cuda:1"`.
        spool: where prepared inputs are kept.
        task: what is predicted.
    """

    backbone: Backbone
    training: Probe
    holdout: Probe | None
    settings: FineTuning
    method: str
    seed: int
    device: str
    spool: InputCache
    task: Task

    @classmethod
    def of(  # noqa: PLR0913 (what `verify` takes)
        cls,
        backbone: Backbone,
        training: Probe,
        holdout: Probe | None,
        settings: FineTuning | None,
        *,
        method: str,
        seed: int,
        device: str,
        spool: InputCache | None,
        task: Task | None,
    ) -> Assignment:
        """The arguments of `verify`, checked, with what they leave open.

        Raises:
            DatasetError: no task suits the training rows.
            InvalidInputError: the method does not exist, or the device does not have the precision.
        """
        settings = settings or FineTuning()
        check_method(method)
        check_precision(settings.precision, device)
        task = task or task_of(get_host(), AUTO, training)
        spool = spool or InputCache(None)
        return cls(task.training(backbone), training, holdout, settings, method, seed, device, spool, task)

    def prepared(self, rows: Probe | Wholes) -> Inputs:
        """The rows as the backbone takes them."""
        return self.spool.prepared(rows, self.backbone.preprocessing)
