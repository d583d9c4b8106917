"""The recipe of fine-tuning: the same for every candidate, so that only the candidates differ."""

from __future__ import annotations

import importlib.util
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from modelselect.errors import InvalidInputError
from modelselect.extraction.devices import PRECISIONS

METHODS: Mapping[str, str] = MappingProxyType(
    {
        "full": "all weights, with a new linear head",
        "head": "only the linear head, on features computed once by the frozen backbone",
        "lora": "low-rank adapters in the frozen backbone, and the head (E. J. Hu et al., LoRA, ICLR 2022)",
    }
)
"""Which weights can be trained."""

OPTIMIZERS = ("adamw", "sgd")

TIED: Literal["tied"] = "tied"
"""Stands for the head's learning rate: that of the backbone, training by training."""


class Rates(NamedTuple):
    """The values that a search varies: peak learning rates of backbone and head, and weight decay."""

    backbone: float
    head: float
    weight_decay: float


@dataclass(frozen=True, slots=True)
class FineTuning:
    """The recipe, which is the same for every candidate. By default one training with AdamW, warm-up and cosine decay.

    There are two ways to search learning rates and weight decay for each candidate: give several values, and all
    combinations are tried; or give one value of each and `trials`, and values around them are tried, too. Searches and
    early stopping use a validation split of the training rows; held-out rows decide nothing.

    Attributes:
        epochs: maximum number of passes over the training rows.
        backbone_learning_rate: peak rate of the pre-trained weights (with LoRA: of the adapters), or several to try.
        head_learning_rate: peak rate of the new linear head, or several to try; `"tied"`: in every training that of the
            backbone, so that four rates and four weight decays are 16 trainings instead of 64.
        weight_decay: of matrices and kernels, or several to try; biases and normalisation layers have none.
        batch_size: rows in one step. If memory is short, a step is computed in smaller parts.
        warm_up: share of all steps in which the learning rates rise from zero.
        optimizer: `"adamw"` or `"sgd"`.
        momentum: of SGD (Nesterov momentum if above 0).
        trials: 1 for no search; else the number of trainings. The first uses the given values; the others use learning
            rates and weight decay up to ten times lower or higher. Trials without prospects are stopped early.
        patience: stop after this number of epochs without a better accuracy on the validation split; None: never.
        validation: share of the training rows in the validation split, which is made only for a search or for
            `patience`. The weights of the best epoch on it are kept.
        precision: of the arithmetic: `"float32"`, or mixed with `"bfloat16"` or `"float16"` if the device has it.
        lora_rank: of the adapters, with LoRA.

    Raises:
        InvalidInputError: a setting is outside its range, or both `trials` and several values are given.

    >>> FineTuning(backbone_learning_rate=(1e-5, 1e-4), weight_decay=(0.0, 0.01)).trainings
    4
    >>> FineTuning(backbone_learning_rate=(0.1, 0.01), head_learning_rate="tied").grid[1]
    Rates(backbone=0.01, head=0.01, weight_decay=0.01)
    """

    epochs: int = 20
    backbone_learning_rate: float | tuple[float, ...] = 1e-4
    head_learning_rate: float | tuple[float, ...] | Literal["tied"] = 3e-3
    weight_decay: float | tuple[float, ...] = 0.01
    batch_size: int = 32
    warm_up: float = 0.1
    optimizer: str = "adamw"
    momentum: float = 0.9
    trials: int = 1
    patience: int | None = None
    validation: float = 0.2
    precision: str = "float32"
    lora_rank: int = 8

    def __post_init__(self) -> None:
        try:
            self._check()
        except InvalidInputError:
            raise
        except (TypeError, ValueError, ArithmeticError) as error:
            given = ", ".join(f"{each.name} {type(getattr(self, each.name)).__name__}" for each in fields(self))
            raise InvalidInputError(f"FineTuning() got a value of a type that is of no use ({given})") from error

    def _check(self) -> None:
        """Raises InvalidInputError for a value that cannot be."""
        for name in ("backbone_learning_rate", "head_learning_rate", "weight_decay"):
            if isinstance(value := getattr(self, name), Sequence) and not isinstance(value, str):
                object.__setattr__(self, name, tuple(value))
        rates, heads = _choices(self.backbone_learning_rate), _choices(self.head_learning_rate)
        rules: dict[str, tuple[bool, str]] = {
            "epochs": (_whole(self.epochs, 1), "an integer of at least 1"),
            "backbone_learning_rate": (_numbers(rates, above=0), "a number above 0, or several to try"),
            "head_learning_rate": (
                self.is_tied or _numbers(heads, above=0),
                f"a number above 0, several to try, or {TIED!r}",
            ),
            "weight_decay": (_numbers(_choices(self.weight_decay)), "a number of 0 or more, or several to try"),
            "batch_size": (_whole(self.batch_size, 2), "an integer of at least 2: batch normalisation needs two rows"),
            "warm_up": (_number(self.warm_up) and self.warm_up < 1, "from 0 up to, but not including, 1"),
            "optimizer": (self.optimizer in OPTIMIZERS, f"one of {', '.join(OPTIMIZERS)}"),
            "momentum": (_number(self.momentum) and self.momentum < 1, "from 0 up to, but not including, 1"),
            "trials": (_whole(self.trials, 1), "1 (no search), or the number of trainings"),
            "patience": (self.patience is None or _whole(self.patience, 1), "an integer of at least 1, or None"),
            "validation": (_number(self.validation) and 0 < self.validation < 1, "more than 0 and less than 1"),
            "precision": (self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
            "lora_rank": (_whole(self.lora_rank, 1), "an integer of at least 1"),
        }
        for name, (holds, expected) in rules.items():
            if not holds:
                raise InvalidInputError(f"FineTuning({name}={getattr(self, name)!r}): expected {expected}")
        if self.trials > 1 and self.is_grid:
            raise InvalidInputError(
                f"FineTuning(trials={self.trials}) searches around one value of each learning rate and weight decay, "
                "but several values are given. Give either trials or several values."
            )

    @property
    def is_tied(self) -> bool:
        """True if the head's learning rate is that of the backbone."""
        return self.head_learning_rate == TIED

    @property
    def is_grid(self) -> bool:
        """True if several values of a rate are given."""
        return any(
            isinstance(value, tuple)
            for value in (self.backbone_learning_rate, self.head_learning_rate, self.weight_decay)
        )

    @property
    def grid(self) -> tuple[Rates, ...]:
        """Every combination of the given values; one if there is only one value of each."""
        backbones, decays = _choices(self.backbone_learning_rate), _choices(self.weight_decay)
        if self.head_learning_rate == TIED:
            return tuple(Rates(rate, rate, decay) for rate, decay in itertools.product(backbones, decays))
        heads = _choices(self.head_learning_rate)
        return tuple(Rates(*point) for point in itertools.product(backbones, heads, decays))

    @property
    def trainings(self) -> int:
        """Maximum number of trainings for each candidate."""
        return max(self.trials, len(self.grid))

    @property
    def validates(self) -> bool:
        """True if the recipe needs a validation split."""
        return self.trainings > 1 or self.patience is not None

    def learning_rate_factor(self, step: int, steps: int) -> float:
        """Factor of the peak rates at `step` of `steps`: it rises linearly and falls along a cosine.

        >>> recipe = FineTuning(warm_up=0.2)
        >>> [round(recipe.learning_rate_factor(step, 10), 2) for step in (0, 1, 2, 6, 9)]
        [0.5, 1.0, 1.0, 0.5, 0.04]
        """
        rising = round(self.warm_up * steps)
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))


def check_method(method: str) -> None:
    """Raises InvalidInputError if the method does not exist, or needs a library that is not installed."""
    if method not in METHODS:
        raise InvalidInputError(
            f"verify is {method!r}; expected one of "
            + ", ".join(f"{name!r} ({meaning})" for name, meaning in METHODS.items())
        )
    if method == "lora" and importlib.util.find_spec("peft") is None:
        raise InvalidInputError(
            "verify is 'lora' and needs peft, which is not installed. Install it with: "
            "pip install 'modelselect-automl[lora]'"
        )


def _choices(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _numbers(values: Sequence[Any], above: float | None = None) -> bool:
    return bool(values) and all(_number(v) and (above is None or v > above) for v in values)


def _number(value: Any) -> bool:
    """True for a finite number of 0 or more."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
