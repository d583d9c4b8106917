"""What is trained on which rows, and what training reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelselect.candidates.backbone import Backbone
from modelselect.extraction.inputs import Inputs
from modelselect.verification.recipe import FineTuning


class Rows(NamedTuple):
    """Labelled rows: where they are among the prepared `inputs`, and their classes, counted from 0."""

    inputs: Inputs
    places: NDArray[np.int64]
    targets: NDArray[np.int64]


class Epoch(NamedTuple):
    """What is known after an epoch.

    Attributes:
        loss: mean cross-entropy over the training rows, while they were trained on.
        accuracy: on the validation split; None where there is none.
        validation_loss: mean cross-entropy there.
    """

    loss: float
    accuracy: float | None = None
    validation_loss: float | None = None


Report = Callable[[int, Epoch], None]
"""Called with the number of an epoch, from 1, and what is known after it; may raise to end the training."""


@dataclass(frozen=True)
class Job:
    """What is trained, on what, and where: all but the rates.

    Attributes:
        backbone: what is fine-tuned; it stays as it was.
        method: `full`, `lora`, or `head`, for which the backbone passes on the features that it is given.
        classes: number of classes.
        training: rows to train on.
        validation: rows that tell the best epoch; None keeps the last.
    """

    backbone: Backbone
    method: str
    classes: int
    training: Rows
    validation: Rows | None
    settings: FineTuning
    seed: int
    device: str


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
        network: `Network` with the kept epoch's weights, on the device, in evaluation mode, adapters merged.
        history: of all its epochs.
        kept: number of the epoch whose weights it has, from 1.
        part: rows that were on the device at once.
    """

    network: Any
    history: list[Epoch]
    kept: int
    part: int
