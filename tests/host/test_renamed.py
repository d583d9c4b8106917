"""A hook, or an argument, that was renamed: the old name works, and its author is warned."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import pytest

import modelselect as ms
from modelselect.candidates import Pool
from modelselect.host import renamed
from modelselect.host.hookspecs import hookspec
from modelselect.host.host import Host
from modelselect.host.renamed import PluginManager, Renamed, with_old_names

TINY = Pool("tiny", "Networks for tests.", "image", ("embedded:plain*",))


class Old:
    """Written for the names of before."""

    scored: list[str]

    @ms.hookimpl
    def modelselect_register_model_lists(self) -> list[Pool]:
        return [TINY]

    @ms.hookimpl
    def modelselect_candidate_done(self, candidate: ms.Candidate) -> None:
        self.scored = [candidate.id]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = {
        "modelselect_register_model_lists": Renamed("modelselect_register_pools", "0.2.0", "0.3.0"),
        "modelselect_candidate_done": Renamed("modelselect_candidate_scored", "0.2.0", "0.3.0"),
    }
    monkeypatch.setattr(renamed, "RENAMED_HOOKS", hooks)


@pytest.mark.usefixtures("names")
def test_a_hook_works_under_its_old_name_and_warns_with_the_line_of_the_plugin() -> None:
    host, plugin = Host(), Old()
    with pytest.warns(DeprecationWarning, match="the old name works until") as caught:
        record = host.register(plugin, "old")
    assert record.faults == []
    assert host.pools == {"tiny": TINY}
    said = sorted(str(warning.message) for warning in caught)
    assert said[1] == (
        "modelselect_register_model_lists is called modelselect_register_pools since modelselect-automl 0.2.0; the old "
        "name works until 0.3.0. Rename it, and ask for modelselect-automl>=0.2.0"
    )
    assert {warning.filename for warning in caught} == {__file__}
    host.notify("candidate_scored", candidate=ms.Candidate("shelf", "tiny"), scores={})
    assert record.faults == []
    assert plugin.scored == ["shelf:tiny"]


def test_without_a_renaming_the_old_name_is_a_fault() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (fault,) = Host().register(Old(), "old").faults
    assert "unknown hook" in fault


def test_an_argument_works_under_its_old_name(monkeypatch: pytest.MonkeyPatch) -> None:
    was = {"results": Renamed("scores", "0.2.0", "0.3.0")}
    monkeypatch.setattr(renamed, "RENAMED_ARGUMENTS", {"modelselect_candidate_scored": was})

    class Specification:
        @hookspec(warn_on_impl_args={old: each.warning(old) for old, each in was.items()})
        def modelselect_candidate_scored(self, scores: Mapping[str, Any], results: Mapping[str, Any]) -> None: ...

    class Plugin:
        @ms.hookimpl
        def modelselect_candidate_scored(self, results: Mapping[str, Any]) -> Any:
            return results

    manager = PluginManager("modelselect")
    manager.add_hookspecs(Specification)
    with pytest.warns(DeprecationWarning, match="results is called scores since modelselect-automl 0.2.0"):
        manager.register(Plugin())
    arguments = with_old_names("modelselect_candidate_scored", {"scores": {"knn": 1.0}})
    assert manager.hook.modelselect_candidate_scored(**arguments) == [{"knn": 1.0}]
