"""What a zoo gives to `modelselect demo`, which shows the whole funnel offline and compares it with known truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from modelselect.history.database import History

if TYPE_CHECKING:
    from modelselect.verification.recipe import FineTuning


@dataclass(frozen=True)
class Demo:
    """What a zoo can be demonstrated with.

    Attributes:
        description: what the dataset is, and why no candidate has seen its classes.
        dataset: with a train and a validation split, as `Probe.of` takes it.
        truth: accuracy after fine-tuning on the dataset, from 0 to 1, by candidate name: the mean over several seeds.
        measure: measures `truth` again; calls its argument with each candidate's name, seed and accuracy.
        fine_tuning: the recipe behind the truth.
        remember: adds the candidates' results on other datasets to a history.
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
