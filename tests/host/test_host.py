"""The host finds installed plugins, one at a time, and a bad one never stops the rest."""

from __future__ import annotations

import json
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import modelselect as ms
from modelselect.host import hookspecs
from modelselect.host.entry_points import others_may_be_installed
from modelselect.host.host import Host
from modelselect.host.patience import within
from modelselect.leaderboard import Row

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

ZOO = """
import modelselect

class Shelf(modelselect.Zoo):
    name = "shelf"
    aliases = {}

    def search(self, pattern):
        return []

    def load(self, candidate, *, trust_remote_code=False):
        raise modelselect.errors.CandidateError("nothing here")

@modelselect.hookimpl
def modelselect_register_zoos():
    return [Shelf()]
"""

COMMANDS = """
import modelselect, typer

app = typer.Typer()

@app.command()
def hunt():
    typer.echo("found")

@modelselect.hookimpl
def modelselect_register_commands():
    return {}
"""

FAKES = {
    "good_plugin": GOOD,
    "states_its_contract": GOOD.replace("spread", "contracted") + "\nmodelselect_contract = 1\n",
    "another_contract": GOOD + "\nmodelselect_contract = 2\n",
    "a_contract_in_words": GOOD + "\nmodelselect_contract = 'one'\n",
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
    "mapping_of_estimators": GOOD.replace("[Spread()]", "{'other': Spread()}"),
    "not_an_estimator": """
import modelselect

@modelselect.hookimpl
def modelselect_register_estimators():
    return [object()]
""",
    "unknown_field": GOOD.replace('{"features"}', '{"feelings"}'),
    "without_requires": GOOD.replace('    requires = frozenset({"features"})\n', ""),
    "text_for_requires": GOOD.replace('frozenset({"features"})', '"features"'),
    "list_for_requires": GOOD.replace('frozenset({"features"})', '["features"]'),
    "reads_raises": GOOD + "Spread.reads = property(lambda self: 1 / 0)\n",
    "no_aliases": ZOO.format("None"),
    "text_for_aliases": ZOO.format("'cupboard'"),
    "exits_in_hook": """
import modelselect, sys

@modelselect.hookimpl
def modelselect_register_zoos():
    sys.exit("enough of zoos")
""",
    "exits_while_looked_at": """
import modelselect

class Exits:
    def __get__(self, instance, owner):
        raise SystemExit("do not look")

class Plugin:
    modelselect_register_zoos = Exits()

plugin = Plugin()
""",
    "command_of_nothing": COMMANDS.format("{'shaky': object()}"),
    "command_without_commands": COMMANDS.format("{'shaky': typer.Typer()}"),
    "command_that_is_shipped": COMMANDS.format("{'search': app, 'hunt': app}"),
    "raises_in_event": """
import modelselect

@modelselect.hookimpl
def modelselect_candidate_scored(candidate, scores):
    raise ValueError("not today")
""",
    "panics_on_import": "class Panic(BaseException): pass\nraise Panic('chunk size must be non-zero')\n",
    "prints_on_import": """
import os
import re
print("hello at import", flush=True)
os.write(1, b"hello from native code\\n")
"""
    + GOOD,
    "moves_the_process": """
import os
import random
import sys

import modelselect

def move():
    os.chdir("/")
    random.seed(3)
    sys.excepthook = print
    sys.setrecursionlimit(12_345)

move()

@modelselect.hookimpl
def modelselect_register_zoos():
    move()
    return []

@modelselect.hookimpl
def modelselect_candidate_scored(candidate, scores):
    move()
""",
    "raises_without_text": """
class Mute(Exception):
    def __str__(self):
        raise ValueError
raise Mute()
""",
    "panics_in_hook": """
import modelselect

class Panic(BaseException):
    pass

@modelselect.hookimpl
def modelselect_register_zoos():
    raise Panic("no shelf")
""",
    "brings_without_end": """
import itertools, modelselect

@modelselect.hookimpl
def modelselect_register_estimators():
    return map(str, itertools.count())
""",
    "hangs_on_import": """
import time
while True:
    try:
        time.sleep(600)
    except Exception:
        pass
""",
    "hangs_in_hook": """
import modelselect, time

@modelselect.hookimpl
def modelselect_register_zoos():
    time.sleep(600)

@modelselect.hookimpl
def modelselect_register_estimators():
    time.sleep(600)
""",
    "lists_slowly": """
import modelselect, time

@modelselect.hookimpl
def modelselect_register_zoos():
    while True:
        time.sleep(600)
        yield "shelf"
""",
    "hangs_while_looked_at": GOOD.replace("spread", "stare")
    + "import time\nSpread.requires = property(lambda self: time.sleep(600))\n",
    "hangs_in_event": """
import modelselect, time

@modelselect.hookimpl
def modelselect_candidate_scored(candidate, scores):
    time.sleep(600)
""",
    "panics_in_event": """
import modelselect

class Panic(BaseException):
    pass

@modelselect.hookimpl
def modelselect_candidate_scored(candidate, scores):
    raise Panic("not today")
""",
    "exits_in_event": """
import modelselect, sys

@modelselect.hookimpl
def modelselect_candidate_scored(candidate, scores):
    sys.exit("not today")
""",
}


ENTRIES = {"exits_while_looked_at": "exits_while_looked_at:plugin"}


def install(folder: Path, *names: str, version: str = "1.2.3") -> None:
    """Puts fake distributions on disk as an installer would: a module, and a dist-info that names it."""
    for name in names:
        (folder / f"{name}.py").write_text(FAKES[name])
        info = folder / f"fake_{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: fake-{name.replace('_', '-')}\nVersion: {version}\n"
        )
        (info / "entry_points.txt").write_text(f"[modelselect]\n{name} = {ENTRIES.get(name, name)}\n")
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
    static = {host.owner("estimators", name).name for name, e in host.estimators.items() if e.is_static}
    assert static == {"estimators.static"}  # `select()` imports no other plugin for them
    kinds = {"encoders": "architecture_encoders", "sections": "report_sections"}
    family = {plugin.name: plugin.name.partition(".")[0] for plugin in shipped}
    assert {p.name: list(p.registered) for p in shipped} == {n: [kinds.get(f, f)] for n, f in family.items()}


def test_a_shipped_plugin_is_imported_when_somebody_asks_for_what_it_brings() -> None:
    code = """
import sys
from modelselect.host.host import Host

def imported():
    return {name.removeprefix("modelselect_plugins.") for name in sys.modules if name.count(".") == 2}

host = Host.load()
assert not any("modelselect_plugins" in name for name in sys.modules)
host.estimator("logme")
assert "estimators.logme" in imported() and "estimators.knn" not in imported()
assert not any(name.startswith("zoos") for name in imported())
places = [host.found.index(host.owner("estimators", name)) for name in host.estimators]
assert places == sorted(places)
assert "estimators.knn" in imported() and not any(name.startswith("zoos") for name in imported())
host.notify("selection_finished", leaderboard=None)
assert not any(name.startswith("zoos") for name in imported())
assert all(plugin.registered for plugin in host.plugins if plugin.distribution == "modelselect-automl")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_shipped_plugins_hear_no_events() -> None:
    events = {name for name in vars(hookspecs) if name.startswith("modelselect_") and "_register_" not in name}
    assert events
    for plugin in Host.load().plugins:
        if plugin.distribution == "modelselect-automl":
            assert events.isdisjoint(dir(plugin.implementation)), plugin.name


def test_a_plugin_of_somebody_else_is_asked_for_everything_at_once(site: Path) -> None:
    install(site, "good_plugin", "raises_in_hook")
    found = {plugin.name: plugin for plugin in Host.load().found}
    assert found["good_plugin"].registered == {"estimators": ["spread"]}
    assert found["raises_in_hook"].faults
    assert found["zoos.timm"].registered == {"zoos": ["timm"]}


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
        ("panics_on_import", ["cannot be imported", "Panic: chunk size must be non-zero"]),
        ("raises_without_text", ["cannot be imported", "Mute: (its message cannot be shown: ValueError)"]),
        ("panics_in_hook", ["modelselect_register_zoos", "Panic: no shelf"]),
        ("brings_without_end", ["more than 10,000 estimators"]),
        ("raises_in_hook", ["modelselect_register_zoos", "the shelf fell down"]),
        ("misspelt_hook", ["modelselect_register_estimatorz"]),
        ("unmarked_hook", ["modelselect_register_estimators", "@modelselect.hookimpl"]),
        ("not_an_estimator", ["object"]),
        ("mapping_of_estimators", ["other", "name"]),
        ("unknown_field", ["feelings", "features"]),
        ("without_requires", ["spread", "requires", "features"]),
        ("text_for_requires", ["spread", "requires", "a set of names"]),
        ("list_for_requires", ["spread", "requires", "a set of names"]),
        ("reads_raises", ["spread", "ZeroDivisionError"]),
        ("no_aliases", ["shelf", "aliases", "None", "a tuple of names"]),
        ("text_for_aliases", ["shelf", "aliases", "'cupboard'", "a tuple of names"]),
        ("exits_in_hook", ["modelselect_register_zoos", "enough of zoos"]),
        ("exits_while_looked_at", ["its hooks are wrong", "do not look"]),
        ("command_of_nothing", ["shaky", "object", "typer.Typer"]),
        ("command_without_commands", ["shaky", "cannot be built", "at least one command"]),
        ("another_contract", ["modelselect_contract is 2", "contract 1", "install a version"]),
        ("a_contract_in_words", ["modelselect_contract is 'one'"]),
    ],
)
def test_a_bad_plugin_is_named_and_stops_nobody(site: Path, name: str, words: list[str]) -> None:
    install(site, name, "good_plugin")
    host = Host.load()
    for word in words:
        assert word in faults(host, name)
    assert "spread" in host.estimators
    assert "logme" in host.estimators


def test_a_plugin_moves_neither_the_working_folder_nor_other_settings_of_the_process(site: Path, here: Path) -> None:
    """Else the files of a run with relative paths would be written elsewhere."""

    def settings() -> tuple[Any, ...]:
        return os.getcwd(), random.getstate(), sys.excepthook, sys.getrecursionlimit()

    before = settings()
    install(site, "moves_the_process")
    host = Host.load()
    assert settings() == before
    host.notify("candidate_scored", candidate=None, scores={})
    assert settings() == before
    assert faults(host, "moves_the_process") == ""


@pytest.mark.parametrize("name", ["hangs_on_import", "hangs_in_hook", "lists_slowly", "hangs_while_looked_at"])
def test_a_plugin_that_hangs_is_interrupted_named_and_stops_nobody(
    site: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELSELECT_PLUGIN_SECONDS", "0.2")
    install(site, name, "good_plugin")
    begun = time.perf_counter()
    host = Host.load()
    assert time.perf_counter() - begun < 20
    for word in ("it took more than 0.2 s", "MODELSELECT_PLUGIN_SECONDS", f"MODELSELECT_PLUGINS=-{name}"):
        assert faults(host, name).count(word) == 1  # also where several hooks would hang
    assert "spread" in host.estimators
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_the_bound_of_a_plugin_is_a_number(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSELECT_PLUGIN_SECONDS", "soon")
    install(site, "good_plugin")
    with pytest.raises(ms.errors.InvalidInputError, match="MODELSELECT_PLUGIN_SECONDS is 'soon'"):
        Host.load()


def test_the_bound_leaves_the_signal_of_a_program_to_the_program(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rung = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    try:
        with within(10):
            signal.raise_signal(signal.SIGALRM)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert rung == [signal.SIGALRM]


def test_the_bound_leaves_a_handler_that_the_plugin_sets() -> None:
    mine = signal.SIG_IGN
    try:
        with within(10):
            signal.signal(signal.SIGALRM, mine)
        assert signal.getsignal(signal.SIGALRM) == mine
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def test_an_event_handler_that_hangs_is_interrupted_once_and_asked_no_more(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelselect.host.host.EVENT_SECONDS", 0.2)
    install(site, "hangs_in_event")
    host = Host.load()
    begun = time.perf_counter()
    for _ in range(50):
        host.notify("candidate_scored", candidate=ms.Candidate("shelf", "tiny"), scores={})
    assert time.perf_counter() - begun < 5
    assert "modelselect_candidate_scored: it took more than 0.2 s" in faults(host, "hangs_in_event")


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


def test_a_plugin_cannot_take_the_name_of_a_shipped_command(site: Path) -> None:
    install(site, "command_that_is_shipped")
    host = Host.load()
    assert list(host.commands) == ["hunt"]
    text = faults(host, "command_that_is_shipped")
    for word in ("'search'", "fake-command-that-is-shipped 1.2.3", "modelselect-automl"):
        assert word in text


@pytest.mark.parametrize("name", ["command_of_nothing", "command_without_commands", "command_that_is_shipped"])
def test_a_bad_command_leaves_the_help_as_it_is(site: Path, name: str) -> None:
    install(site, name)
    environment = os.environ | {"PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "modelselect", "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr
    assert done.stdout.count("search") == 1
    assert "shaky" not in done.stdout


@pytest.mark.parametrize("bad", ["raises_in_event", "exits_in_event", "panics_in_event"])
def test_an_event_handler_that_raises_is_noted_and_the_others_are_called(site: Path, bad: str) -> None:
    install(site, bad)
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
    assert faults(host, bad).count("not today") == 1


def test_a_plugin_whose_attributes_exit_is_refused_and_one_whose_attributes_raise_hears_no_event() -> None:
    class Leaves:
        @property
        def modelselect_contract(self) -> int:
            raise SystemExit("gone")

    class Raises:
        def __getattr__(self, name: str) -> object:
            if name == "modelselect_candidate_scored":
                raise RuntimeError("not there")
            raise AttributeError(name)

    host = Host()
    assert host.register(Leaves(), "leaves").faults
    host.register(Raises(), "raises")
    host.notify("candidate_scored", candidate=ms.Candidate("shelf", "tiny"), scores={})
    assert "not there" in " ".join(host.plugins[1].faults)


def test_an_extractor_that_cannot_say_what_computes_is_refused() -> None:
    def raises(self: object) -> str:
        raise ZeroDivisionError

    for number, (attribute, value, words) in enumerate(
        [
            ("library", property(raises), "ZeroDivisionError"),
            ("library", 5, "library = 5; expected a text"),
            ("on_request", property(raises), "ZeroDivisionError"),
            ("on_request", "no", "on_request = 'no'; expected True or False"),
        ]
    ):
        methods = {"supports": lambda *_: False, "extract": raises, "name": f"odd{number}", attribute: value}
        odd = type("Odd", (ms.Extractor,), methods)

        class Brings:
            @ms.hookimpl
            def modelselect_register_extractors(self, kind: type[ms.Extractor] = odd) -> list[ms.Extractor]:
                return [kind()]

        host = Host()
        record = host.register(Brings(), "odd")
        assert words in " ".join(record.faults)
        assert not host.extractors


def test_an_event_handler_gets_copies() -> None:
    class Vandal:
        @ms.hookimpl
        def modelselect_candidate_scored(self, candidate: ms.Candidate, scores: dict[str, dict[str, float]]) -> None:
            scores["logme"]["logme"] = 99.0
            scores.clear()

        @ms.hookimpl
        def modelselect_selection_finished(self, leaderboard: ms.Leaderboard) -> None:
            leaderboard.rows[0].scores["logme"] = 99.0  # type: ignore[index]
            object.__setattr__(leaderboard, "rows", ())

    host = Host()
    host.register(Vandal(), "vandal")
    scores = {"logme": {"logme": 0.5}}
    host.notify("candidate_scored", candidate=ms.Candidate("shelf", "tiny"), scores=scores)
    assert scores == {"logme": {"logme": 0.5}}
    board = ms.Leaderboard((Row(ms.Candidate("shelf", "tiny", metadata={"parameters": 3}), scores={"logme": 0.5}),))
    host.notify("selection_finished", leaderboard=board)
    assert len(board.rows) == 1
    assert board.rows[0].scores == {"logme": 0.5}
    assert host.plugins[0].faults == []


@pytest.mark.parametrize(
    ("metadata", "entries", "word"),
    [
        (None, b"[modelselect]\ngood_plugin = good_plugin\n", ""),
        (b"Name: br\xe9ken\nVersion: 1.0\n", b"[modelselect]\ngood_plugin = good_plugin\n", ""),
        (b"", b"[modelselect]\ngood_plugin = good_plugin\n", ""),
        (b"Name: broken\nVersion: 1.0\n", b"[modelselect]\ngood_plugin\n", "cannot be read"),
        (b"Name: broken\nVersion: 1.0\n", b"\xff\xfe\n", "cannot be read"),
        (b"Name: broken\nVersion: 1.0\n", b"[modelselect]\nbroken = \n", "cannot be imported"),
        (b"Name: broken\nVersion: 1.0\n", b"[modelselect]\nbroken = not a module!\n", "cannot be imported"),
    ],
)
def test_a_damaged_distribution_costs_its_own_plugin_at_most(
    site: Path, metadata: bytes | None, entries: bytes, word: str
) -> None:
    (site / "good_plugin.py").write_text(GOOD)
    info = site / "broken-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_bytes(entries)
    if metadata is not None:
        (info / "METADATA").write_bytes(metadata)
    host = Host.load()
    assert "logme" in host.estimators
    assert ("spread" in host.estimators) == (not word)
    assert [word in fault for plugin in host.plugins for fault in plugin.faults] == ([True] if word else [])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are for POSIX")
@pytest.mark.parametrize("name", ["entry_points.txt", "METADATA"])
def test_a_distribution_with_a_pipe_costs_its_own_plugin_at_most(site: Path, name: str) -> None:
    install(site, "good_plugin")
    file = site / "fake_good_plugin-1.2.3.dist-info" / name
    file.unlink()
    os.mkfifo(file)
    with within(60):
        host = Host.load()
        others_may_be_installed()
    assert "logme" in host.estimators
    assert "spread" not in host.estimators
    assert [f"{name} is a named pipe" in fault for plugin in host.plugins for fault in plugin.faults] == [True]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", set()),
        ("good_plugin", {"good_plugin"}),
        ("Fake_Good.Plugin", {"good_plugin"}),
        ("fake-broken-import , nothing", {"broken_import", "nothing"}),
        ("-broken_import", {"good_plugin"}),
        ("-fake-broken-import, -nothing", {"good_plugin", "nothing"}),
        ("good_plugin, -good_plugin", set()),
    ],
)
def test_the_environment_chooses_which_plugins_are_loaded(
    site: Path, monkeypatch: pytest.MonkeyPatch, value: str, expected: set[str]
) -> None:
    install(site, "good_plugin", "broken_import")
    monkeypatch.setenv("MODELSELECT_PLUGINS", value)
    host = Host.load()
    assert {plugin.name for plugin in host.plugins if plugin.distribution != "modelselect-automl"} == expected
    assert "logme" in host.estimators
    if "nothing" in expected:
        assert "MODELSELECT_PLUGINS names 'nothing'" in faults(host, "nothing")


def test_a_plugin_may_state_its_contract(site: Path) -> None:
    install(site, "states_its_contract", "good_plugin")
    host = Host.load()
    stated = {plugin.name: plugin.contract for plugin in host.plugins}
    assert stated["states_its_contract"] == ms.CONTRACT == 1
    assert stated["good_plugin"] is None
    assert {"contracted", "spread"} <= set(host.estimators)
    assert all(plugin.seconds > 0 for plugin in host.plugins)


def test_strict_turns_a_broken_plugin_into_an_exit_code(site: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "modelselect", "plugins", "--strict"]
    install(site, "good_plugin")
    assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0
    install(site, "broken_import")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "broken_import" in done.stdout


def test_the_plugins_command_shows_the_state_as_json(site: Path) -> None:
    install(site, "good_plugin", "broken_import", "raises_in_hook", "duplicate_name", "misspelt_hook")
    environment = os.environ | {"PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "modelselect", "plugins", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    state = {plugin["name"]: plugin for plugin in json.loads(done.stdout)}
    assert state["good_plugin"]["registered"] == {"estimators": ["spread"]}
    assert state["good_plugin"]["version"] == "1.2.3"
    for name in ("broken_import", "raises_in_hook", "duplicate_name", "misspelt_hook"):
        assert state[name]["faults"], name


def test_the_plugins_command_shows_health_version_time_and_contract(site: Path) -> None:
    install(site, "states_its_contract", "broken_import")
    environment = os.environ | {"PYTHONPATH": str(site), "COLUMNS": "240"}
    command = [sys.executable, "-m", "modelselect", "plugins"]
    lines = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    cells = {
        row[1]: row[2:-1] for row in ([cell.strip() for cell in line.split("│")] for line in lines) if len(row) > 2
    }
    distribution, registered, status, seconds, contract = cells["states_its_contract"]
    assert (distribution.split()[-1], registered, status, contract) == ("1.2.3", "estimators: contracted", "ok", "1")
    assert re.fullmatch(r"\d+\.\d\d s", seconds)
    assert "a_module_that_is_not_there" in cells["broken_import"][2]
    assert cells["broken_import"][4] == "–"


def test_an_unknown_name_is_answered_with_what_was_meant() -> None:
    with pytest.raises(ms.errors.UnknownNameError, match="Did you mean 'logme'"):
        Host.load().estimator("logmee")


def test_an_unknown_name_comes_with_the_fault_of_the_plugin_that_may_bring_it() -> None:
    class Broken:
        @ms.hookimpl
        def modelselect_register_estimators(self) -> list[ms.Estimator]:
            raise ImportError("no module 'cupy'")

    host = Host.load()
    host.register(Broken(), "mine", "my-package", "1.0")
    said = (
        r"Perhaps a plugin with a fault brings it; plugin 'mine' \(my-package 1\.0\): .* raised ImportError: no module"
    )
    with pytest.raises(ms.errors.UnknownNameError, match=said) as raised:
        host.estimator("mine")
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


def test_a_hook_that_is_marked_as_old_works_and_warns_with_the_line_of_the_plugin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @hookspecs.hookspec(warn_on_impl=DeprecationWarning("modelselect_candidate_scored since 0.2.0; removed in 0.3.0"))
    def modelselect_candidate_done(candidate: ms.Candidate) -> None: ...

    class Old:
        heard: ClassVar[list[str]] = []

        @ms.hookimpl
        def modelselect_candidate_done(self, candidate: ms.Candidate) -> None:
            self.heard.append(candidate.id)

    monkeypatch.setattr(hookspecs, "modelselect_candidate_done", modelselect_candidate_done, raising=False)
    host = Host()
    with pytest.warns(DeprecationWarning, match="removed in 0.3.0") as caught:
        record = host.register(Old(), "old")
    assert {warning.filename for warning in caught} == {__file__}
    host.notify("candidate_done", candidate=ms.Candidate("shelf", "tiny"))
    assert (record.faults, Old.heard) == ([], ["shelf:tiny"])
