"""A recipe has one identity, however its settings are written down; no recipe is known of published results."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelselect.history import ACCURACY, History, Result
from modelselect.history.records import FINE_TUNING, is_piece, recipe_of
from modelselect.verification import METHODS, FineTuning

RATES = st.floats(1e-6, 1.0)
SEVERAL = RATES | st.lists(RATES, min_size=1, max_size=3).map(tuple)
RECIPES = st.builds(
    FineTuning,
    epochs=st.integers(1, 50),
    backbone_learning_rate=SEVERAL,
    head_learning_rate=SEVERAL,
    weight_decay=st.sampled_from([0, 0.0, 0.01, (0.0, 0.1)]),
    batch_size=st.integers(2, 256),
    warm_up=st.floats(0, 0.9),
    optimizer=st.sampled_from(["adamw", "sgd"]),
    momentum=st.floats(0, 0.9),
    patience=st.none() | st.integers(1, 5),
    precision=st.sampled_from(["float32", "bfloat16"]),
    lora_rank=st.integers(1, 64),
)

CALM = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def described(recipe: FineTuning, method: str = "full") -> dict[str, Any]:
    return {"method": method, **asdict(recipe)}


@CALM
@given(recipe=RECIPES, method=st.sampled_from(sorted(METHODS)), random=st.randoms(use_true_random=False))
def test_a_recipe_stays_the_same_in_any_order_and_through_json(recipe: FineTuning, method: str, random: Any) -> None:
    plain = described(recipe, method)
    shuffled = random.sample(list(plain.items()), len(plain))
    expected = recipe_of({FINE_TUNING: plain})
    assert expected is not None
    assert expected.startswith(f"{method}-")
    assert recipe_of({"seed": 3, FINE_TUNING: dict(shuffled)}) == expected
    assert recipe_of(json.loads(json.dumps({FINE_TUNING: plain}))) == expected


@CALM
@given(one=RECIPES, other=RECIPES, first=st.sampled_from(sorted(METHODS)), second=st.sampled_from(sorted(METHODS)))
def test_equal_recipes_are_one_and_different_ones_are_two(
    one: FineTuning, other: FineTuning, first: str, second: str
) -> None:
    shortened = ("epochs", "precision", "patience", "validation")
    ours, theirs = ({k: v for k, v in asdict(recipe).items() if k not in shortened} for recipe in (one, other))
    same = (first, ours) == (second, theirs)
    assert (
        recipe_of({FINE_TUNING: described(one, first)}) == recipe_of({FINE_TUNING: described(other, second)})
    ) == same


@pytest.mark.parametrize(
    ("name", "value", "is_another"),
    [
        ("epochs", 3, False), ("precision", "bfloat16", False), ("patience", 2, False), ("validation", 0.5, False),
        ("backbone_learning_rate", 1e-3, True), ("head_learning_rate", (1e-3, 1e-2), True), ("weight_decay", 0.0, True),
        ("batch_size", 16, True), ("warm_up", 0.2, True), ("optimizer", "sgd", True), ("momentum", 0.5, True),
        ("trials", 4, True), ("lora_rank", 4, True), ("method", "head", True), ("of_a_later_version", 1, True),
    ],
)  # fmt: skip
def test_what_changes_the_measurement_makes_another_recipe_and_a_shorter_training_does_not(
    name: str, value: Any, is_another: bool
) -> None:
    usual = described(FineTuning())
    assert (recipe_of({FINE_TUNING: usual}) != recipe_of({FINE_TUNING: usual | {name: value}})) == is_another


def test_a_recipe_is_the_same_in_every_version() -> None:
    assert recipe_of({FINE_TUNING: described(FineTuning())}) == "full-22f82558ddb1"


def test_a_recipe_that_the_user_names_is_that_name_if_it_can_be_shown() -> None:
    assert recipe_of({FINE_TUNING: {"recipe": "adamw, 20 epochs", "epochs": 20}}) == "adamw, 20 epochs"
    for odd in ("\x1b[2Jgone", "two\nlines", "half \ud800", "", 3, None):
        found = recipe_of({FINE_TUNING: {"recipe": odd}})
        assert found is not None
        assert found.startswith("recipe-")
    assert (recipe_of({FINE_TUNING: {"method": "no method", "momentum": 10**400}}) or "").startswith("recipe-")


@pytest.mark.parametrize(
    "published",
    [{}, {"fine_tuned": "owner/name"}, {"fine_tuned": False}, {"epochs": 10}, {FINE_TUNING: None}, {FINE_TUNING: "x"},
     {FINE_TUNING: {}}, {FINE_TUNING: {"epochs": 3}}],
)  # fmt: skip
def test_published_results_have_no_recipe(published: dict[str, Any]) -> None:
    assert recipe_of(published) is None


def test_pieces_of_evidence_are_recorded_under_their_names(history: History) -> None:
    brief = {FINE_TUNING: described(FineTuning(epochs=1))}
    pieces = [Result("zoo:a", "x", "evidence:probe", -1.5), Result("zoo:a", "x", "evidence:brief", 0.4, brief)]
    assert history.record(pieces).new == 2
    assert [result.value for result in history.results(metric="evidence:probe")] == [-1.5]
    assert is_piece("evidence:brief")
    assert not is_piece(ACCURACY)
