"""Every keyword stands in one place: functions, command line and reference take it from `Settings`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.cli.app import shipped_command
from modelselect.cli.options import option_name
from modelselect.errors import InvalidInputError, PluginError
from modelselect.evaluation.keywords import NOT_IN_BENCHMARK, BenchmarkKeywords, Keywords
from modelselect.evaluation.settings import Settings
from tests.docs.test_estimator_pages import generate

NAMES = [field.name for field in fields(Settings)]
WITHOUT_OPTION = {"fine_tuning", "confirm"}
"""--epochs, --trials and --patience stand for the first, --yes and the terminal for the second."""

OF_SELECT = {"--candidates", "--no-history", "--dry-run", "--json", "--report"}
OF_SELECT |= {"--agreement", "--verbose", "--yes", "--save", "--push", "--public", "--thumbnails"}
OF_BENCHMARK = {"--candidates", "--truth", "--verify", "--save-truth", "--scores"}
OF_BENCHMARK |= {"--column", "--measure", "--resamples", "--no-intervals", "--output", "--json", "--models"}
OF_BENCHMARK |= {"--verbose", "--probe-sizes", "--per-class", "--seeds", "--reference", "--detail"}
OF_BENCHMARK |= {"--plot", "--plot-kind"}

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"top_k": -1}, "top_k is -1; expected 0 (no fine-tuning), or the number of candidates to fine-tune"),
    ({"top_k": "2"}, "top_k is '2'; expected 0"),
    ({"tune": -1}, "tune is -1; expected 0 (none), or the number of candidates to fine-tune for one epoch"),
    ({"tune": 2.5}, "tune is 2.5; expected 0 (none)"),
    ({"tune": 4, "verify": "head"}, "tune=4 fine-tunes for one epoch, but verify is 'head', and a head alone trains"),
    ({"probe_size": 1}, "probe_size is 1; expected 2 or more rows, or None for all"),
    ({"executor": 3}, "executor is 3; expected a name such as 'local', or an Executor"),
    ({"executor_options": ["workers"]}, "executor_options is ['workers']; expected NAME=VALUE for each"),
    ({"executor_options": "workers=2"}, "executor_options is 'workers=2'; expected options by name"),
    ({"executor_options": {"timeout": 3}}, "executor_options has 'timeout', which is a setting of its own; give task_"),
    ({"ray_address": ""}, "ray_address is ''; expected the address of a Ray cluster"),
    ({"task_timeout": 0}, "task_timeout is 0; expected a time such as '10m' or '1h30m', or seconds above 0"),
    ({"cache_dir": 7}, "cache_dir is 7; expected the path of a folder, an address, or None"),
    ({"seed": -1}, "seed is -1; expected an integer from 0 to"),
    ({"seed": True}, "seed is True; expected an integer"),
    ({"batch_size": 0}, "batch_size is 0; expected 1 or more rows, or None"),
    ({"precision": "float8"}, "precision is 'float8'; expected one of float32, bfloat16, float16"),
    ({"compile": "no"}, "compile is 'no'; expected True or False"),
    ({"fine_tuning": {"epochs": 1}}, "fine_tuning is {'epochs': 1}; expected FineTuning(epochs=..., ...), or None"),
    ({"resamples": 1}, "resamples is 1; expected 0 (no standard errors) or at least 2, better 50"),
    ({"max_corrupt": 2}, "max_corrupt is 2; expected a share from 0 to 1"),
    ({"recall": 0}, "recall is 0; expected the number of candidates to keep, or None for all"),
    ({"history": True}, "history is True; expected a path, a History, None for your own, or False for none"),
    ({"limit": 0}, "limit is 0; expected the number of candidates to keep, or None for all"),
    ({"max_download": "2"}, "'2' has no unit; expected B, KB, MB, GB or TB. Type 2GB for gigabytes"),
    ({"max_download": -1}, "max_download is -1; expected a size such as '2GB' or a number of bytes, 0 for none"),
    ({"max_time": "soon"}, "max_time is 'soon'; expected a time such as '10m' or '1h30m'"),
    ({"confirm": True}, "confirm is True; expected a function of the question, or None"),
    ({"proxy": 5}, "proxy is 5; expected one candidate"),
    ({"budget": "soon"}, "budget is 'soon'; expected a time"),
    ({"confidence": 0.2}, "confidence is 0.2; expected a probability of at least 0.5 and below 1"),
    ({"confidence": "high"}, "confidence is 'high'; expected a probability"),
    ({"confidence": True}, "confidence is True; expected a probability"),
    ({"confidence": 1.0}, "confidence is 1.0; expected a probability of at least 0.5 and below 1"),
    ({"max_parameters": 0}, "max_parameters is 0; expected a number above 0, or None for no limit"),
    ({"max_latency_ms": "fast"}, "max_latency_ms is 'fast'; expected a number above 0"),
    ({"license": []}, "license is []; expected"),
    ({"verify": "heads"}, "verify is 'heads'; expected one of 'full'"),
    ({"epochs": 0}, "epochs is 0; expected 1 or more passes, or None for the recipe's"),
    ({"trials": "3"}, "trials is '3'; expected 1 (no search)"),
    ({"patience": 0}, "patience is 0; expected 1 or more epochs"),
    ({"progress": 2}, "progress is 2; expected True or False"),
]


def options_of(command: str) -> set[str]:
    return {
        max(parameter.opts, key=len) for parameter in shipped_command(command).params if parameter.opts[0][0] == "-"
    }


def test_the_keywords_are_the_fields_with_their_types() -> None:
    types = {name: reference.__forward_arg__ for name, reference in Keywords.__annotations__.items()}
    assert types == {field.name: field.type for field in fields(Settings)}


def test_what_means_nothing_to_a_benchmark_is_listed() -> None:
    shared = set(BenchmarkKeywords.__annotations__)
    assert shared | set(NOT_IN_BENCHMARK) | {"verify"} == set(NAMES)
    assert shared.isdisjoint(NOT_IN_BENCHMARK)


@pytest.mark.parametrize("function", [ms.select, ms.plan])
def test_the_signature_shows_every_keyword_and_its_default(function: Callable[..., Any]) -> None:
    shown = inspect.signature(function).parameters
    assert list(shown) == ["dataset", "candidates", *NAMES]
    assert {name: shown[name].default for name in NAMES} == {field.name: field.default for field in fields(Settings)}


def test_the_signature_of_a_benchmark_shows_what_it_takes() -> None:
    shown = list(inspect.signature(ms.benchmark).parameters)
    named = [name for name in NAMES if name in BenchmarkKeywords.__annotations__]
    assert shown == [
        "candidates",
        "datasets",
        "truth",
        "columns",
        "verify",
        "probe_sizes",
        "per_class",
        "seeds",
        *named,
    ]


def test_the_docstring_speaks_of_every_keyword() -> None:
    assert list(generate.arguments(ms.select)) == ["dataset", "candidates", *NAMES]


@pytest.mark.parametrize(
    ("command", "keywords", "own"),
    [("select", Keywords, OF_SELECT), ("benchmark", BenchmarkKeywords, OF_BENCHMARK)],
)
def test_the_command_line_has_an_option_for_every_keyword(command: str, keywords: type, own: set[str]) -> None:
    named = [field for field in fields(Settings) if field.name in set(keywords.__annotations__) - WITHOUT_OPTION]
    assert options_of(command) == {option_name(field) for field in named} | own


@pytest.mark.parametrize(("given", "words"), WRONG, ids=lambda given: str(given))
def test_a_wrong_value_is_refused_with_what_was_expected(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        Settings(**given)
    assert words in str(refused.value)


@pytest.mark.parametrize("function", [ms.select, ms.plan])
@pytest.mark.parametrize(("given", "words"), WRONG, ids=lambda given: str(given))
def test_select_and_plan_refuse_the_same_before_they_look_at_the_dataset(
    function: Callable[..., Any], given: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        function("no/such/dataset", "nozoo:*", **given)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("given", "words"), [case for case in WRONG if case[0].keys() <= BenchmarkKeywords.__annotations__.keys()]
)
def test_a_benchmark_refuses_the_same(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        ms.benchmark("nozoo:*", "no/such/dataset", {}, **given)
    assert words in str(refused.value)


def test_a_keyword_that_there_is_not_is_refused_with_the_nearest() -> None:
    with pytest.raises(TypeError, match=r"plan\(\) got an unexpected keyword argument 'topk'. Did you mean 'top_k'\?"):
        ms.plan("no/such/dataset", "embedded:*", topk=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"benchmark\(\) takes no top_k: verify= fine-tunes every candidate"):
        ms.benchmark("embedded:*", "no/such/dataset", {}, top_k=3)  # type: ignore[call-arg]


def test_a_keyword_of_the_recipe_is_sent_to_the_recipe() -> None:
    with pytest.raises(TypeError, match=r"'head_learning_rate'. It belongs to the recipe: fine_tuning=Fine"):
        ms.plan("no/such/dataset", "embedded:*", head_learning_rate=0.1)  # type: ignore[call-arg]


def test_integers_of_numpy_are_integers() -> None:
    settings = Settings(top_k=np.int64(2), seed=np.uint8(7))  # type: ignore[arg-type]
    assert (type(settings.top_k), type(settings.seed)) == (int, int)


@pytest.mark.parametrize("truth", [True, 1, np.True_])
def test_truth_values_of_numpy_are_truth_values(truth: Any) -> None:
    assert Settings(costs=truth, trust_remote_code=truth).costs


def test_a_limit_of_latency_measures_costs() -> None:
    assert Settings(max_latency_ms=5).measures_costs
    assert Settings(license="mit").limits_with(int) == Settings(license=["mit"]).limits_with(int)
    assert not Settings(max_parameters=5).measures_costs


def test_the_parts_of_the_recipe_with_keywords_of_their_own_complete_it() -> None:
    assert Settings(epochs=3) == Settings(fine_tuning=ms.FineTuning(epochs=3))
    given = Settings(fine_tuning=ms.FineTuning(epochs=5, batch_size=8), epochs=3, patience=2)
    assert given.recipe == ms.FineTuning(epochs=3, batch_size=8, patience=2)
    assert replace(given, trials=4).recipe == ms.FineTuning(epochs=3, batch_size=8, patience=2, trials=4)
    assert Settings().fine_tuning is None


class Odd(ms.Executor):
    name = "odd"

    def map(self, function: Callable[[Any], Any], items: Any) -> Any:
        return iter(())


def fails(*_: Any, **__: Any) -> Any:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"configured": fails}, "failed: SystemExit: 3"),
        ({"configured": lambda self, **_: 5}, "failed: AttributeError"),
        ({"isolated": property(fails)}, "failed: SystemExit: 3"),
        ({"workers": "two"}, "gives 'two'; expected int"),
    ],
)
def test_an_executor_that_does_not_keep_its_contract_is_named(members: dict[str, Any], words: str) -> None:
    settings = Settings(executor=type("Odd", (Odd,), members)())
    if "configured" in members:
        settings = replace(settings, executor_options={"a": 1})
    with pytest.raises(PluginError, match=f"the executor 'odd' {words}"):
        settings.runner(fails)
