"""What a training run gets, and what it reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelselect.candidates.backbone import Backbone
from modelselect.extraction.inputs import Inputs
from modelselect.tasks.objectives import CrossEntropy, Objective
from modelselect.verification.recipe import FineTuning


class Rows(NamedTuple):
    """Labelled rows: their positions in the prepared `inputs`, and their targets.

    Targets are classes, counted from 0; or (N, T) float32; or (N, ...) classes of the parts of each row, -1 for parts
    that do not count.
    """

    inputs: Inputs
    places: NDArray[np.int64]
    targets: NDArray[Any]

    def take(self, chosen: NDArray[np.bool_] | slice) -> Rows:
        """Some of the rows."""
        return Rows(self.inputs, self.places[chosen], self.targets[chosen])


class Epoch(NamedTuple):
    """The results of an epoch.

    Attributes:
        loss: mean loss over the training rows during the epoch.
        accuracy: mean credit on the validation split, which is the accuracy for classes; None without a split.
        validation_loss: mean loss on the validation split; None without a split.
        training_accuracy: mean credit on the training rows, each before the step on its batch; None in a checkpoint of
            an earlier version.
    """

    loss: float
    accuracy: float | None = None
    validation_loss: float | None = None
    training_accuracy: float | None = None


Watch = Callable[[Any], None]
"""Called with the network after each epoch; it leaves the weights as they are."""

Report = Callable[[int, Epoch], None]
"""Called with the number of an epoch, from 1, and its results; may raise to end the training."""


@dataclass(frozen=True)
class Job:
    """Everything that a training run needs, except for the learning rates.

    Attributes:
        backbone: the backbone to fine-tune; it is left unchanged.
        method: `full`, `lora`, or `head`; for `head`, the inputs are features and the backbone returns them unchanged.
        classes: number of outputs of the head: of classes, numbers or labels.
        training: rows to train on.
        validation: rows that determine the best epoch; None keeps the last epoch.
        brief: whether the training ends after its first epoch. The schedule stays that of the whole training, so a
            whole training continues from the checkpoint. Without validation rows, the predictions for the rows of the
            second half of the epoch are counted, which are made before the network trains on these rows.
        watch: is shown the network after each epoch.
        objective: what the training minimises.
    """

    backbone: Backbone
    method: str
    classes: int
    training: Rows
    validation: Rows | None
    settings: FineTuning
    seed: int
    device: str
    brief: bool = False
    watch: Watch | None = None
    objective: Objective = field(default_factory=CrossEntropy)


class Ahead(NamedTuple):
    """How many rows were predicted before the network trained on them, and their credit: how many were right."""

    rows: int = 0
    correct: float = 0


@dataclass(frozen=True)
class Trained:
    """A finished training run.

    Attributes:
        network: `Network` with the weights of the kept epoch, on the device, in evaluation mode, adapters merged.
        history: of all its epochs.
        kept: number of the epoch whose weights were kept, from 1.
        part: number of rows on the device at a time.
        ahead: what was predicted ahead of the training; nothing unless the job is brief and has no validation rows.
    """

    network: Any
    history: list[Epoch]
    kept: int
    part: int
    ahead: Ahead
