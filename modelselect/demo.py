"""`modelselect demo`: the whole funnel on real networks and real images, offline, held against the known truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from modelselect.history.history import History

if TYPE_CHECKING:
    from modelselect.verification.recipe import FineTuning


@dataclass(frozen=True)
class Demo:
    """What a zoo brings along to be demonstrated on.

    Attributes:
        description: what the dataset is, and why no candidate has seen its classes.
        dataset: with a train and a validation part, as `Probe.of` takes it.
        truth: accuracy after fine-tuning on it, from 0 to 1, by candidate name: the mean over several seeds.
        measure: measures `truth` anew; told each candidate's name, the seed and the accuracy as they come.
        fine_tuning: the recipe of the truth.
        remember: adds to a history how the candidates did on other datasets.
    """

    description: str
    dataset: Any
    truth: Mapping[str, float]
    measure: Callable[[Callable[[str, int, float], None]], Mapping[str, float]]
    fine_tuning: FineTuning
    remember: Callable[[History], None]


class HasDemo(Protocol):
    """A zoo with a demo."""

    def demo(self) -> Demo: ...
