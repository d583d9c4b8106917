"""What fine-tuning a candidate comes to: `Verified` on held-out rows, and `Brief` after one epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of fine-tuning one candidate.

    Attributes:
        accuracy: share of the held-out rows that are classified correctly, from 0 to 1. Of other tasks, their metric on
            these rows: R² of numbers, which may be below 0, or mAP of sets of labels.
        interval: its 95% interval: Wilson's of an accuracy, else by bootstrap. It covers the sampling of the held-out
            rows, not the variance of training.
        correct: number of held-out rows that are classified correctly; 0 for other tasks.
        rows: number of labelled held-out rows; for retrieval, of held-out queries.
        training_rows: number of labelled rows that were trained on, without the validation split; for retrieval, of
            pairs of a query and a relevant document.
        training_loss: mean loss of the last epoch.
        largest_part: number of rows on the device at a time; below the batch size if memory was short.
        seconds: wall time of everything.
        method: what was trained, one of `METHODS`.
        epochs: number of epochs of the training that was kept.
        kept_epoch: number of the epoch whose weights were measured, from 1.
        trials: number of trainings, including those that were stopped early.
        validation_rows: number of rows that epochs and trials were compared on; 0 without a comparison.
        validation_accuracy: accuracy on these rows at `kept_epoch`, optimistic as the best of several; None without.
        backbone_learning_rate, head_learning_rate, weight_decay: peak rates and decay of the training that was kept.
        curve: for each epoch of that training, the mean cross-entropy while it trained, and the accuracy on the
            validation rows; None without these.
        class_rows: number of labelled held-out rows of each class.
        mistakes: (row, class, predicted class) of each held-out row that is classified wrongly; the row is its number
            in the holdout.
        dynamics: for each epoch of a training that was watched, the measures by name.
        metrics: every metric of the task on the held-out rows, by name; empty for classification.
    """

    accuracy: float
    interval: tuple[float, float]
    correct: int
    rows: int
    training_rows: int
    training_loss: float
    largest_part: int
    seconds: float
    method: str = "full"
    epochs: int = 0
    kept_epoch: int = 0
    trials: int = 1
    validation_rows: int = 0
    validation_accuracy: float | None = None
    backbone_learning_rate: float = 0.0
    head_learning_rate: float = 0.0
    weight_decay: float = 0.0
    curve: tuple[tuple[float, float | None], ...] = ()
    class_rows: tuple[int, ...] = ()
    mistakes: tuple[tuple[int, int, int], ...] = ()
    dynamics: tuple[Mapping[str, float], ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Brief:
    """The result of fine-tuning one candidate for one epoch.

    Attributes:
        accuracy: share of the measured rows that are classified correctly, from 0 to 1.
        rows: number of rows that were measured. They are training rows, and none is held out.
        training_loss: mean cross-entropy of the epoch.
        largest_part: number of rows on the device at a time; below the batch size if memory was short.
        seconds: wall time of everything.
    """

    accuracy: float
    rows: int
    training_loss: float
    largest_part: int
    seconds: float
