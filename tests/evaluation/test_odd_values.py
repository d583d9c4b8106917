"""Values of any type, in any setting: one error of ours that names the setting."""

from __future__ import annotations

import decimal
import pathlib
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
import pytest

import modelselect as ms
from modelselect.errors import DatasetError, EvidenceError, InvalidInputError
from modelselect.evaluation.settings import Settings
from modelselect.history import Result

VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 10**400, 1.5, float("nan"), float("inf"), "", "nan", "9" * 5000, "9" * 5000 + " passes", b"x"),
    *([], [[]], (1, "a"), {}, {1: 2}, {"a": []}, set(), object(), int, print, Exception("x"), 1j, range(3)),
    *(decimal.Decimal("NaN"), np.float32("nan"), np.array([1, 2]), np.array(1.5), np.str_("x"), pathlib.Path("x")),
)


def said(call: Callable[[], Any]) -> str:
    """The message of the error; nothing if there is none."""
    try:
        call()
    except InvalidInputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", [each.name for each in fields(Settings)])
def test_every_setting_takes_a_value_or_names_itself(name: str) -> None:
    for value in VALUES:
        assert name in (said(lambda value=value: Settings.of("select", {name: value})) or name)


@pytest.mark.parametrize("name", [each.name for each in fields(ms.FineTuning)])
def test_every_part_of_a_recipe_takes_a_value_or_names_itself(name: str) -> None:
    for value in VALUES:
        assert name in (said(lambda value=value: ms.FineTuning(**{name: value})) or name)


@pytest.mark.parametrize("value", [value for value in VALUES if not isinstance(value, str)])
def test_what_is_no_text_is_no_expression(value: Any) -> None:
    if isinstance(value, (list, dict, set)) and not value:
        assert ms.search(value) == []
        return
    with pytest.raises(InvalidInputError):
        ms.search(value)


@pytest.mark.parametrize("value", VALUES)
def test_a_budget_is_one_or_says_what_it_expects(value: Any) -> None:
    assert "expected" in (said(lambda: ms.Budget.of(value)) or "expected")


ODD = (5, 1.5, b"x", ["x"], object(), np.array([1, 2]))


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("value", ODD)
def test_a_candidate_is_made_of_texts_and_a_mapping(place: int, value: Any) -> None:
    given: list[Any] = ["timm", "resnet18", "abc", {}]
    given[place] = value
    with pytest.raises(InvalidInputError, match="a candidate is made of"):
        ms.Candidate(*given)


@pytest.mark.parametrize("value", [*ODD, None])
def test_a_history_refuses_or_rejects_what_has_no_name(value: Any, tmp_path: pathlib.Path) -> None:
    history = ms.History(tmp_path / "history.sqlite")
    names = ("timm:resnet18", "hub:food101", "accuracy")
    for place in range(3):
        named = [value if number == place else name for number, name in enumerate(names)]
        assert history.record([Result(*named, 0.5)]).rejected == {"a name is no text": 1}
    for call in (history.describe_candidate, history.describe_dataset):
        with pytest.raises((InvalidInputError, TypeError)):
            call(value, {"a": 1})
        with pytest.raises(InvalidInputError):
            call("x", value)
    with pytest.raises(InvalidInputError):
        history.keep_proxy("x", "y", value if value is not None else [["a"]])
    if value is not None:
        with pytest.raises(InvalidInputError, match="expected a text, or None for any"):
            history.results(dataset=value)


@pytest.mark.parametrize("value", [*ODD, None])
def test_a_model_has_a_name_or_a_folder(value: Any) -> None:
    with pytest.raises(InvalidInputError, match="expected its folder, or a candidate"):
        ms.load(value)


@pytest.mark.parametrize("value", ODD)
def test_a_device_is_a_text_and_a_truth_is_a_mapping(value: Any) -> None:
    with pytest.raises(EvidenceError, match="device is of the type"):
        ms.Evidence.of(features=np.eye(3), labels=[0, 1, 1], device=value)
    with pytest.raises(InvalidInputError, match="truth is of the type"):
        ms.Leaderboard(()).agreement(value)


SCORES, TRUTH = {"mine": {"d": {"a": 1.0, "b": 2.0}}}, {"d": {"a": 0.1, "b": 0.2}}


@pytest.mark.parametrize("value", [value for value in VALUES if not isinstance(value, str | list | tuple | dict)])
def test_arguments_of_another_type_are_refused_by_name(value: Any) -> None:
    benchmark = ms.Benchmark.of_scores(SCORES, TRUTH)
    with pytest.raises(InvalidInputError, match=r"the protocol is .*; expected a name"):
        ms.reproduce(value)
    with pytest.raises(InvalidInputError, match="unknown measure"):
        benchmark.table(value)
    with pytest.raises(InvalidInputError, match=r"the pool is|pool\[0\] is"):
        ms.score_pool(value, "logme")
    if not isinstance(value, int) and not (isinstance(value, np.ndarray) and value.ndim):
        for call in (lambda: benchmark.table(seed=value), lambda: ms.agreement([1, 2], [1, 2], k=value)):
            assert "expected" in said(call)
    if not isinstance(value, int):
        assert "resamples" in said(lambda: ms.standard_error([[0.0], [1.0]], [0, 1], "logme", resamples=value))
    with pytest.raises(InvalidInputError, match="the evidence is no mapping"):
        ms.Benchmark.of_evidence(value, {"d": {"a": 0.1, "b": 0.2}})
    if value is not None:
        if not isinstance(value, set):
            assert "static is of the type" in said(lambda: ms.Benchmark.of_scores(SCORES, TRUTH, static=value))
        assert "columns is" in said(lambda: ms.Benchmark.of_scores("scores.csv", {"d": {"a": 1}}, columns=value))


def test_numbers_that_no_float_holds_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="finite number"):
        ms.Benchmark.of_scores({"mine": {"d": {"a": 10**400, "b": 1}}}, {"d": {"a": 0.1, "b": 0.2}})
    with pytest.raises(InvalidInputError, match="not a number"):
        ms.agreement([1, 2, 10**400], [1, 2, 3])
    with pytest.raises(InvalidInputError, match="no numbers"):
        ms.archi2vec.similarity([[1, 10**400]])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"layers": np.int64(2)}, "layers is 2;"),
        ({"precision": np.float64(0.5)}, "precision is 0.5;"),
        ({"split": np.array(3)}, "split is 3;"),
        ({"task": np.str_("")}, "task is '';"),
        ({"prompt": [np.str_("no place")]}, r"prompt is \['no place'\];"),
    ],
)
def test_values_of_numpy_are_shown_as_they_are_typed(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        ms.select((np.zeros((12, 3)), [0, 1] * 6), ["embedded:plain.letters"], **settings)


def test_names_of_columns_that_numpy_holds_are_shown_as_they_are_typed() -> None:
    table = pd.DataFrame({"text": [f"text {row}" for row in range(12)], "label": [0, 1] * 6})
    with pytest.raises(DatasetError, match="label='clas' is not a column"):
        ms.Probe.of(table, label=np.str_("clas"))
    with pytest.raises(DatasetError, match=r"input='te' is not a column"):
        ms.Probe.of(table, input=np.str_("te"))
