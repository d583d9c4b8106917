"""The reference of the estimators says what the code says: every page is there, fresh, and complete."""

from __future__ import annotations

import ast
import importlib.util
import re
import warnings
from collections.abc import Mapping
from typing import Any

import networkx
import numpy as np
import pytest

import modelselect as ms
from modelselect.errors import ScoreWarning
from modelselect.history import HistoryView, Result
from modelselect.utils.relevance import relevance_values
from tests.conftest import REPOSITORY

_specification = importlib.util.spec_from_file_location("generate", REPOSITORY / "docs" / "generate.py")
assert _specification is not None
assert _specification.loader is not None
generate = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(generate)

ESTIMATORS = generate.shipped()


def everything() -> Mapping[str, object]:
    """One candidate's evidence with every field that a shipped estimator looks at."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 30)
    features = rng.normal(size=(90, 6)) + labels[:, None]
    results = tuple(Result(f"zoo:{c}", f"data{i}", "accuracy", rng.uniform()) for c in "abc" for i in range(3))
    history = HistoryView(("zoo:a", "zoo:b", "zoo:c"), ("data0", "data1", "data2"), results, {}, {}, {}, {})
    history = history.about({"zoo:a": {}}, {"classes": 3, "samples": 90})
    return {
        "features": features,
        "labels": labels,
        "source_probabilities": rng.dirichlet(np.ones(5), size=90),
        "source_features": features,
        "source_labels": labels,
        "proxy_features": features @ rng.normal(size=(6, 4)),
        "metadata": {"parameters": 1000, "source_accuracy": 70.0, "downloads": 10},
        "architecture": networkx.DiGraph([(0, 1)]),
        "history": history.of_candidate("zoo:a"),
        "groups": np.arange(90) % 5,
    }


def test_every_page_is_fresh_and_none_is_left_over() -> None:
    pages = generate.pages()
    stale = [path.name for path, text in pages.items() if not path.exists() or path.read_text("utf-8") != text]
    assert stale == [], "run: python docs/generate.py"
    assert set((generate.REFERENCE / "estimators").iterdir()) <= set(pages)


def test_a_public_name_is_as_in_another_package_only_if_it_is_the_same_object() -> None:
    faces = generate.api.faces()
    assert generate.first_face("modelselect.tasks", "ACCURACY", faces) == "modelselect.tasks"
    assert generate.first_face("modelselect.history", "ACCURACY", faces) == "modelselect.history"
    assert generate.first_face("modelselect.tasks", "Task", faces) == "modelselect"
    section = generate.names().split("## `modelselect.tasks`")[1]
    assert "| `ACCURACY` | Share of the rows whose class is right. |" in section


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: e.name)
def test_a_docstring_names_every_component(estimator: ms.Estimator) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ScoreWarning)
        fields = dict(everything())
        if "relevance" in estimator.targets:
            pairs = [(query, query, 1.0) for query in range(30)]
            fields |= {"labels": relevance_values(30, 60, pairs), "target_kind": "relevance"}
        elif "classes" not in estimator.targets:
            fields["labels"] = np.linspace(0.0, 1.0, 90)[:, None] ** 2
        components = ms.score(estimator=estimator, components=True, **fields)  # type: ignore[call-overload]
    said = generate.described(estimator).parts.get("Components", f"`{estimator.name}`") + f"`{estimator.name}`"
    own = [name for name in components if "/" not in name]  # others are those of a member
    assert [name for name in own if f"`{name}`" not in said] == []


RESTORED = [
    (estimator, settings)
    for estimator in ESTIMATORS
    for point in generate.deviations(generate.described(estimator).parts["Code and paper"])
    if generate.NOTHING not in point and (settings := ", ".join(generate.SETTING.findall(point)))
]
QUICK: dict[str, dict[str, Any]] = {"itm": {"iterations": 100}}
"""Settings with which both forms are computed."""


def long_evidence() -> dict[str, Any]:
    """Evidence on which every setting has something to change: many rows, a history of ranks and of FDA scores."""
    rng = np.random.default_rng(0)
    labels = np.minimum(np.arange(2100) % 4, 2)  # the last class has half of the rows
    features = (rng.normal(size=(2100, 6)) + labels[:, None]) * 0.2
    results = tuple(
        Result(f"zoo:{c}", f"data{i}", metric, rng.uniform() + bias)
        for c, bias in zip("abcd", (0.1, 0.2, 0.5, 0.3), strict=True)
        for i in range(9)
        for metric in ("accuracy", "fda")
    )
    names, datasets = tuple(f"zoo:{c}" for c in "abcd"), tuple(f"data{i}" for i in range(9))
    sizes = {name: {"parameters": 10.0**power} for power, name in enumerate(names, 4)}
    seen = {dataset: rng.normal(size=(2, 4)) for dataset in datasets}
    history = HistoryView(names, datasets, results, sizes, {}, {}, seen).about({"zoo:a": {}}, {"classes": 3})
    return {**everything(), "features": features, "labels": labels, "history": history.of_candidate("zoo:a")} | {
        "source_probabilities": rng.dirichlet(np.ones(5), size=2100),
        "source_features": features,
        "source_labels": labels,
        "proxy_features": features @ rng.normal(size=(6, 4)),
        "groups": np.arange(2100) % 35,
    }


@pytest.fixture(scope="module")
def evidence() -> dict[str, Any]:
    return long_evidence()


@pytest.mark.filterwarnings("ignore::modelselect.errors.ScoreWarning")
@pytest.mark.parametrize(("estimator", "settings"), RESTORED, ids=lambda each: getattr(each, "name", each))
def test_what_restores_the_papers_form_is_a_parameter_and_changes_the_score(
    estimator: ms.Estimator, settings: str, evidence: dict[str, Any]
) -> None:
    call = ast.parse(f"f({settings})", mode="eval").body
    assert isinstance(call, ast.Call)
    given = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
    assert given.keys() <= estimator.parameters.keys()
    quick = QUICK.get(estimator.name, {})
    plain, restored = (
        ms.score(estimator=type(estimator)(**{**quick, **some}), components=True, **evidence)  # type: ignore[call-overload]
        for some in ({}, given)
    )
    assert any(plain[name] != value for name, value in restored.items() if name in plain)


def test_a_difference_that_says_nothing_of_its_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("'It halves the score.'; say which parameter restores it")):
        generate.described(Vague())
    (estimator,) = (each for each in ESTIMATORS if each.name == "fennec")
    points = generate.deviations(generate.described(estimator).parts["Code and paper"])
    assert len(points) > 5
    assert [point for point in points if generate.NOTHING in point]


class Undocumented(ms.Estimator):
    """Nothing, for every candidate.

    It says nothing. Formula: none. Nor does it say when it fails.

    Formula: `0`.
    """

    name = "undocumented"
    requires = frozenset({"labels"})
    citation = "nobody, nowhere"

    def __init__(self, depth: int = 1) -> None:
        self.depth = depth

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        return {self.name: 0.0}


class Vague(Undocumented):
    """Nothing, for every candidate.

    One.

    In short: It scores.

    Formula: `0`.

    Limits: all.

    Code and paper: This follows the code.

    - It halves the score.
    """


class Wordy(Undocumented):
    """Nothing, for every candidate.

    One. Two. Three. Four.

    In short: It scores.

    Formula: `0`.

    Limits: all.

    Code and paper: none.
    """


def test_a_docstring_without_its_parts_is_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("Undocumented lacks In short, Limits, Code and paper")):
        generate.page(Undocumented())
    with pytest.raises(ValueError, match="takes 4 sentences"):
        generate.page(Wordy())
    with pytest.raises(ValueError, match=re.escape("has the parameters ['depth'], and its docstring speaks of []")):
        generate.parameters(Undocumented())
