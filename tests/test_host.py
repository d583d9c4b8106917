"""The host finds installed plugins, one at a time, and a bad one never stops the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import modelselect as ms
from modelselect.host import Host

GOOD = """
import modelselect

class Spread(modelselect.Estimator):
    name = "spread"
    requires = frozenset({"features"})
    citation = "A. Author: Spread, 2026."

    def score(self, evidence):
        return {"spread": float(evidence.features.std())}

@modelselect.hookimpl
def modelselect_register_estimators():
    return [Spread()]
"""

FAKES = {
    "good_plugin": GOOD,
    "broken_import": "import a_module_that_is_not_there\n",
    "exits_on_import": "raise SystemExit('goodbye')\n",
    "raises_in_hook": """
import modelselect

@modelselect.hookimpl
def modelselect_register_zoos():
    raise RuntimeError("the shelf fell down")
""",
    "duplicate_name": GOOD.replace('"spread"', '"logme"').replace("Spread", "Usurper"),
    "misspelt_hook": """
import modelselect

@modelselect.hookimpl
def modelselect_register_estimatorz():
    return []
""",
    "unmarked_hook": "def modelselect_register_estimators():\n    return []\n",
    "not_an_estimator": """
import modelselect

@modelselect.hookimpl
def modelselect_register_estimators():
    return [object()]
""",
    "unknown_field": GOOD.replace('{"features"}', '{"feelings"}'),
    "raises_in_event": """
import modelselect

@modelselect.hookimpl
def modelselect_candidate_scored(candidate, scores):
    raise ValueError("not today")
""",
}


def install(folder: Path, *names: str, version: str = "1.2.3") -> None:
    """Puts fake distributions on disk as an installer would: a module, and a dist-info that names it."""
    for name in names:
        (folder / f"{name}.py").write_text(FAKES[name])
        info = folder / f"fake_{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: fake-{name.replace('_', '-')}\nVersion: {version}\n"
        )
        (info / "entry_points.txt").write_text(f"[modelselect]\n{name} = {name}\n")
        (info / "RECORD").write_text("")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("MODELSELECT_PLUGINS", raising=False)
    yield tmp_path
    for name in FAKES:
        sys.modules.pop(name, None)


def faults(host: Host, name: str) -> str:
    return " ".join(next(plugin for plugin in host.plugins if plugin.name == name).faults)


def test_every_shipped_plugin_is_whole() -> None:
    host = Host.load()
    shipped = [plugin for plugin in host.plugins if plugin.distribution == "modelselect-automl"]
    assert len(shipped) > 10
    assert {plugin.name: plugin.faults for plugin in shipped if plugin.faults} == {}
    assert all(plugin.registered for plugin in shipped)


def test_a_good_plugin_is_registered_under_its_distribution(site: Path) -> None:
    install(site, "good_plugin")
    host = Host.load()
    assert host.estimator("spread").score(ms.Evidence.of(features=[[0.0], [2.0]])) == {"spread": 1.0}
    plugin = host.owner("estimators", "spread")
    assert (plugin.distribution, plugin.version) == ("fake-good-plugin", "1.2.3")
    assert plugin.registered == {"estimators": ["spread"]}
    assert plugin.faults == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("broken_import", ["cannot be imported", "a_module_that_is_not_there"]),
        ("exits_on_import", ["cannot be imported", "goodbye"]),
        ("raises_in_hook", ["modelselect_register_zoos", "the shelf fell down"]),
        ("misspelt_hook", ["modelselect_register_estimatorz"]),
        ("unmarked_hook", ["modelselect_register_estimators", "@modelselect.hookimpl"]),
        ("not_an_estimator", ["object"]),
        ("unknown_field", ["feelings", "features"]),
    ],
)
def test_a_bad_plugin_is_named_and_stops_nobody(site: Path, name: str, words: list[str]) -> None:
    install(site, name, "good_plugin")
    host = Host.load()
    for word in words:
        assert word in faults(host, name)
    assert "spread" in host.estimators
    assert "logme" in host.estimators


def test_a_name_that_is_taken_is_refused_with_both_owners(site: Path) -> None:
    install(site, "duplicate_name")
    host = Host.load()
    text = faults(host, "duplicate_name")
    for word in ("logme", "fake-duplicate-name 1.2.3", "modelselect-automl", "duplicate_name", "estimators.logme"):
        assert word in text
    assert host.owner("estimators", "logme").distribution == "modelselect-automl"
    assert type(host.estimator("logme")).__name__ != "Usurper"


def test_two_plugins_of_one_name_are_kept_apart(site: Path) -> None:
    install(site, "good_plugin")
    info = site / "fake_other-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[modelselect]\ngood_plugin = raises_in_hook\n")
    (site / "raises_in_hook.py").write_text(FAKES["raises_in_hook"])
    host = Host.load()
    twins = [plugin for plugin in host.plugins if plugin.name == "good_plugin"]
    assert sorted(bool(plugin.faults) for plugin in twins) == [False, True]


def test_an_event_handler_that_raises_is_noted_and_the_others_are_called(site: Path) -> None:
    install(site, "raises_in_event")
    host = Host.load()
    heard = []

    class Listener:
        @ms.hookimpl
        def modelselect_candidate_scored(self, candidate: ms.Candidate) -> None:
            heard.append(candidate.id)

    host.register(Listener(), "listener")
    for _ in range(2):
        host.notify("candidate_scored", candidate=ms.Candidate("shelf", "tiny"), scores={})
    assert heard == ["shelf:tiny"] * 2
    assert faults(host, "raises_in_event").count("not today") == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [("", set()), ("good_plugin", {"good_plugin"}), ("fake-broken-import , nothing", {"broken_import"})],
)
def test_the_environment_chooses_which_plugins_are_loaded(
    site: Path, monkeypatch: pytest.MonkeyPatch, value: str, expected: set[str]
) -> None:
    install(site, "good_plugin", "broken_import")
    monkeypatch.setenv("MODELSELECT_PLUGINS", value)
    host = Host.load()
    assert {plugin.name for plugin in host.plugins if plugin.distribution != "modelselect-automl"} == expected
    assert "logme" in host.estimators


def test_the_plugins_command_shows_the_state_as_json(site: Path) -> None:
    install(site, "good_plugin", "broken_import", "raises_in_hook", "duplicate_name", "misspelt_hook")
    environment = os.environ | {"PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "modelselect.cli", "plugins", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    state = {plugin["name"]: plugin for plugin in json.loads(done.stdout)}
    assert state["good_plugin"]["registered"] == {"estimators": ["spread"]}
    assert state["good_plugin"]["version"] == "1.2.3"
    for name in ("broken_import", "raises_in_hook", "duplicate_name", "misspelt_hook"):
        assert state[name]["faults"], name


def test_an_unknown_name_is_answered_with_what_was_meant() -> None:
    with pytest.raises(ms.errors.UnknownNameError, match="Did you mean 'logme'"):
        Host.load().estimator("logmee")
