"""A recipe outside its range is refused; learning rates rise and fall."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelselect.errors import InvalidInputError
from modelselect.verification import FineTuning, check_method, recipe, verify
from tests.verification.material import backbone, rows


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"batch_size": 1}, {"warm_up": 1.0}, {"head_learning_rate": 0}, {"backbone_learning_rate": -1.0}],
)
def test_a_recipe_outside_its_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=rf"FineTuning\({next(iter(wrong))}=.*expected"):
        FineTuning(**wrong)


@given(warm_up=st.floats(0, 0.99), steps=st.integers(1, 500))
def test_learning_rates_rise_to_their_peak_once_and_then_fall(warm_up: float, steps: int) -> None:
    factors = [FineTuning(warm_up=warm_up).learning_rate_factor(step, steps) for step in range(steps)]
    peak = int(np.argmax(factors))
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert factors[peak] == 1


def test_a_method_that_is_unknown_or_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInputError, match="verify is 'heads'; expected one of 'full'"):
        verify(backbone(), rows(10), rows(5), method="heads")
    monkeypatch.setattr(recipe.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InvalidInputError, match=r"needs peft.*pip install 'modelselect-automl\[lora\]'"):
        check_method("lora")


@pytest.mark.parametrize(
    "wrong",
    [
        {"optimizer": "adam"}, {"momentum": 1.0}, {"trials": 0}, {"patience": 0}, {"validation": 1.0}, {"epochs": 2.5},
        {"precision": "float8"}, {"lora_rank": 0}, {"head_learning_rate": ()}, {"weight_decay": (0.1, -1)},
        {"backbone_learning_rate": float("nan")}, {"trials": True},
    ],
)  # fmt: skip
def test_every_setting_outside_its_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=rf"FineTuning\({next(iter(wrong))}=.*expected"):
        FineTuning(**wrong)


def test_two_ways_to_search_at_once_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="Give either trials or several values"):
        FineTuning(trials=4, weight_decay=(0.0, 0.1))


def test_a_tied_grid_has_the_trainings_of_the_paper() -> None:
    rates, decays = (0.1, 0.01, 0.001, 0.0001), (0.01, 0.001, 0.0001, 0.00001)
    tied = FineTuning(backbone_learning_rate=rates, head_learning_rate="tied", weight_decay=decays)
    assert tied.trainings == 16
    assert {(point.backbone, point.weight_decay) for point in tied.grid} == {(r, d) for r in rates for d in decays}
    assert all(point.head == point.backbone for point in tied.grid)
    free = FineTuning(backbone_learning_rate=rates, head_learning_rate=rates, weight_decay=decays)
    assert free.trainings == 64
    with pytest.raises(InvalidInputError, match=r"head_learning_rate='bound'.*or 'tied'"):
        FineTuning(head_learning_rate="bound")  # type: ignore[arg-type]
