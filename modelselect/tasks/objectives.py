"""`Objective`: what fine-tuning minimises. The outputs of a linear head go in, a loss comes out."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


class Objective(abc.ABC):
    """What fine-tuning minimises, and how epochs of a training are compared. Picklable, without state."""

    @abc.abstractmethod
    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The sum of the losses of the rows, a scalar.

        Args:
            outputs: (B, K) of the head, float32.
            targets: (B,) int64 classes, or (B, T) float32, scaled as `scaling` says.
        """

    @abc.abstractmethod
    def credit(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The sum over the rows of how right each is, 1 for a row that is right: epochs are compared by the mean."""

    def head(self, width: int, outputs: int, method: str) -> torch.nn.Linear:
        """The linear head before the training: by default a new one, with random weights.

        Args:
            width: D, of the features.
            outputs: K: number of classes, numbers or labels.
            method: what is trained: `full`, `lora` or `head`.
        """
        import torch

        return torch.nn.Linear(width, outputs)

    def scaling(self, targets: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """(T,) mean and deviation that targets are standardised by for the training; None for no scaling.

        The head of the trained network gives unscaled numbers again.
        """
        return None


class CrossEntropy(Objective):
    """Softmax cross-entropy of classes."""

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import cross_entropy

        return cross_entropy(outputs, targets, reduction="sum")

    def credit(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (outputs.argmax(1) == targets).sum()


class SquaredError(Objective):
    """Mean squared error over the numbers of a row, which are standardised. The credit of all rows is about R²."""

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (outputs - targets).square().mean(1).sum()

    def credit(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (1 - (outputs - targets).square().mean(1)).sum()

    def scaling(self, targets: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        deviation = targets.std(axis=0)
        return targets.mean(axis=0), np.where(deviation > 0, deviation, 1.0)


class BinaryCrossEntropy(Objective):
    """Binary cross-entropy, the mean over the known labels of a row; a row without a known label counts nothing.

    The credit of a row is the share of its known labels that are on the right side of a probability of one half.
    """

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import binary_cross_entropy_with_logits

        known = ~targets.isnan()
        each = binary_cross_entropy_with_logits(outputs, targets.nan_to_num(), reduction="none") * known
        return (each.sum(1) / known.sum(1).clamp(min=1)).sum()

    def credit(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        known = ~targets.isnan()
        right = ((outputs >= 0) == (targets == 1)) & known
        return (right.sum(1) / known.sum(1).clamp(min=1)).sum()
