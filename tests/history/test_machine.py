"""Whatever is done to a history, in whatever order: nothing is lost but what was damaged, and nothing counts twice."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import warnings
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from modelselect.history import History, Result

handles = st.integers(0, 1)
results = st.builds(
    Result,
    st.sampled_from(["zoo:a", "zoo:b", "zoo:ü"]),
    st.sampled_from(["x", "hub:y"]),
    st.sampled_from(["accuracy", "logme", "evidence:probe"]),
    st.sampled_from([0.0, 0.25, 1.0]),
    st.sampled_from([{}, {"fine_tuning": {"recipe": "ours"}}]),
)
impossible = st.builds(
    Result,
    st.sampled_from(["", "zoo:a"]),
    st.just("x"),
    st.just("accuracy"),
    st.sampled_from([-1.0, 2.0, float("nan"), float("inf"), 1e308]),
)


class HistoryMachine(RuleBasedStateMachine):
    """Two handles on one file, another history, and what either should hold."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.histories = [History(self.folder / "history.sqlite") for _ in range(2)]
        self.other = History(self.folder / "other.sqlite")
        self.known: dict[str, Result] = {}
        self.facts: dict[str, dict[str, Any]] = {}
        self.datasets: dict[str, dict[str, Any]] = {}
        self.proxies: dict[str, list[list[float]]] = {}
        self.elsewhere: dict[str, Result] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule(handle=handles, given=st.lists(results, max_size=5), bad=st.lists(impossible, max_size=2))
    def record(self, handle: int, given: list[Result], bad: list[Result]) -> None:
        new = {result.id: result for result in given}
        added = self.histories[handle].record([*given, *bad])
        assert added.new == len(new.keys() - self.known.keys())
        assert sum(added.rejected.values()) == len(bad)
        self.known |= new

    @rule(given=st.lists(results, max_size=5))
    def record_elsewhere(self, given: list[Result]) -> None:
        self.other.record(given)
        self.elsewhere |= {result.id: result for result in given}

    @rule(handle=handles)
    def merge(self, handle: int) -> None:
        if self.other.path.exists():
            added = self.histories[handle].merge(self.other)
            assert (added.new, added.rejected) == (len(self.elsewhere.keys() - self.known.keys()), {})
            self.known |= self.elsewhere

    @rule(handle=handles, candidate=st.sampled_from(["zoo:a", "zoo:c"]), parameters=st.integers(1, 9))
    def describe_candidate(self, handle: int, candidate: str, parameters: int) -> None:
        self.histories[handle].describe_candidate(candidate, {"parameters": parameters})
        self.facts.setdefault(candidate, {})["parameters"] = parameters

    @rule(handle=handles, classes=st.integers(1, 9))
    def describe_dataset(self, handle: int, classes: int) -> None:
        self.histories[handle].describe_dataset("x", {"classes": classes})
        self.datasets.setdefault("x", {})["classes"] = classes

    @rule(handle=handles, mean=st.integers(-3, 3))
    def keep_proxy(self, handle: int, mean: int) -> None:
        self.histories[handle].keep_proxy("x", "hub:clip", [[mean, 1.0], [mean, 1.0]])
        self.proxies["x"] = [[mean, 1.0], [0.0, 0.0]]

    @rule(column=st.sampled_from(["candidate", "metric", "value", "settings", "provenance", "recorded"]))
    def damage_a_result(self, column: str) -> None:
        if self.known:
            [spoilt, *_] = sorted(self.known)
            self.change(f"UPDATE results SET {column} = x'ff00' WHERE id = ?", spoilt)
            self.known.pop(spoilt)
            self.change("DELETE FROM results WHERE id = ?", spoilt, look=True)

    @rule(cell=st.sampled_from(["{", b"\xff", "-5", '"many"', "NaN"]))
    def damage_a_fact(self, cell: str | bytes) -> None:
        if self.facts:
            [spoilt, *_] = sorted(self.facts)
            self.change("UPDATE candidates SET value = ? WHERE id = ?", cell, spoilt)
            self.facts.pop(spoilt)
            self.change("DELETE FROM candidates WHERE id = ?", spoilt, look=True)

    @rule(handle=handles)
    def open_again(self, handle: int) -> None:
        self.histories[handle] = History(self.folder / "history.sqlite")

    @rule()
    def all_is_deleted(self) -> None:
        for path in self.folder.glob("history.sqlite*"):
            path.unlink()
        for known in (self.known, self.facts, self.datasets, self.proxies):
            known.clear()

    def change(self, statement: str, *values: Any, look: bool = False) -> None:
        """Changes the file behind the history's back; with `look`, first compares what can still be read."""
        if look:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                self.all_is_there()
            assert any("damaged and were passed over" in str(warning.message) for warning in said)
        connection = sqlite3.connect(self.folder / "history.sqlite")
        connection.execute(statement, values)
        connection.commit()
        connection.close()

    @invariant()
    def all_is_there(self) -> None:
        for history in self.histories:
            assert {result.id: result.value for result in history.results()} == {
                result.id: result.value for result in self.known.values()
            }
            assert history.candidates() == self.facts
            assert history.datasets() == self.datasets
            found = {name: summary.tolist() for name, summary in history.proxies().get("hub:clip", {}).items()}
            assert found == self.proxies
        view = self.histories[0].view("hub:clip").about({"zoo:a": {}}, {"classes": 2})
        assert view.performance().shape == view.measured().shape
        assert self.histories[0].digest == self.histories[1].digest


TestHistoryMachine = HistoryMachine.TestCase
TestHistoryMachine.settings = settings(max_examples=6, stateful_step_count=15, suppress_health_check=list(HealthCheck))
