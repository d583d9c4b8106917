"""What a zoo gives to `modelselect demo`, which shows the whole funnel offline and compares it with known truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from modelselect.history.history import History
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


@runtime_checkable
class DemoZoo(Protocol):
    """A zoo that brings a demo. A zoo opts in by having the method: there is nothing to register.

    `Zoo` itself does not name `demo`, because a demo holds a recipe and fills a history, and both are above `Zoo`.

    >>> from modelselect.host import get_host
    >>> isinstance(get_host().zoo("embedded"), DemoZoo), isinstance(get_host().zoo("timm"), DemoZoo)
    (True, False)
    """

    def demo(self) -> Demo:
        """The dataset, the truth about it, and what a history knows of the candidates."""
