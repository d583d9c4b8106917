"""Whose code an estimator is, also where a task has put another class in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

import modelselect as ms
from modelselect.errors import CandidateError, NothingRankedError, PluginError, Stage
from modelselect.evaluation.blame import failure_of, is_shipped, plugin_of
from modelselect.evaluation.keys import extractor_versions
from modelselect.evaluation.tasks import DoesNotApply
from modelselect.host.host import Plugin, get_host
from modelselect.tasks import OneVsRest


class Theirs(ms.Estimator):
    name = "theirs"
    requires = frozenset({"features", "labels"})
    citation = "nobody"

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        return {self.name: 1.0}


class Around(ms.Estimator):
    """A caller's own estimator around another one."""

    name = "around"
    requires = frozenset({"features"})
    citation = "nobody"

    def __init__(self, estimator: ms.Estimator) -> None:
        self.estimator = estimator

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        return {self.name: 1.0}


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> Plugin:
    """The plugin that has registered `Theirs`."""
    host, plugin = get_host(), Plugin("theirs", "their-plugin", "7")
    monkeypatch.setitem(host.estimators, "theirs", Theirs())
    monkeypatch.setitem(host._owners, ("estimators", "theirs"), plugin)
    return plugin


@pytest.mark.parametrize("task", ["regression", "multi-label"])
@pytest.mark.parametrize("name", ["knn", "linear_probe", "logme", "evidence"])
def test_shipped_estimators_are_shipped_in_the_form_of_every_task(task: str, name: str) -> None:
    host = get_host()
    adapted = host.task(task).adapted(host.estimator(name))
    assert adapted is not None
    assert is_shipped(adapted)
    assert plugin_of(adapted) == host.owner("estimators", name)


def test_what_stands_for_the_estimator_of_a_plugin_is_that_plugins(theirs: Plugin) -> None:
    for standing in (OneVsRest(Theirs()), DoesNotApply(Theirs(), "regression", "numbers")):
        assert plugin_of(standing) is theirs
        assert not is_shipped(standing)
        assert "their-plugin 7" in failure_of(Stage.SCORE, ValueError("no"), standing).reason


def test_a_message_without_an_end_does_not_hide_whose_fault_it_is(theirs: Plugin) -> None:
    reason = failure_of(Stage.SCORE, ValueError("x" * 1_000_000), Theirs()).reason
    assert reason.endswith("(from plugin 'theirs' (their-plugin 7))")
    assert len(reason) < 2100


def test_a_callers_own_estimator_around_a_shipped_one_is_nobodys() -> None:
    assert plugin_of(Around(get_host().estimator("knn"))) is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (True, r"the extractor 'theirs' failed: TypeError: it gives bool; expected Evidence \(from plugin .*7\)"),
        (KeyError("rows"), r"the extractor 'theirs' failed: KeyError: 'rows' \(from plugin .*7\)"),
        (CandidateError("too many rows"), "too many rows"),
    ],
)
def test_an_extractor_of_a_plugin_is_named_in_the_rows_that_it_costs_and_changes_nothing(
    answer: object, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd(ms.Extractor):
        name = "theirs"

        def supports(self, backbone: ms.Backbone, device: str) -> bool:
            return True

        def extract(self, *_: Any, **__: Any) -> Any:
            np.seterr(all="raise")
            torch.set_grad_enabled(False)
            if isinstance(answer, Exception):
                raise answer
            return answer

    host = get_host()
    assert host.extractors  # all of them are imported now
    monkeypatch.setitem(host._registered, "extractors", {"theirs": Odd()})
    monkeypatch.setitem(host._owners, ("extractors", "theirs"), Plugin("theirs", "their-plugin", "7"))
    dataset = np.zeros((8, 32, 32, 3), dtype=np.uint8), [0, 1] * 4
    before = np.geterr()
    candidates = ["embedded:plain.letters", "embedded:plain.random"]  # the second is loaded in another thread
    with pytest.raises(NothingRankedError, match=reason):
        ms.select(dataset, candidates, estimators="knn", history=False, progress=False)
    assert torch.is_grad_enabled()
    assert np.geterr() == before


def test_an_extractor_that_cannot_say_its_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(type(get_host().extractor("cpu"))):  # type: ignore[misc]
        name = "theirs"
        library = property(lambda self: 1 / 0)

    host = get_host()
    assert host.extractors  # all of them are imported now
    monkeypatch.setitem(host._registered, "extractors", {"theirs": Odd()})
    monkeypatch.setitem(host._owners, ("extractors", "theirs"), Plugin("theirs", "their-plugin", "7"))
    with pytest.raises(PluginError, match=r"'theirs' failed: ZeroDivisionError: .* \(from plugin .*7\)"):
        extractor_versions(None)
