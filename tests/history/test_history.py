"""The transfer history keeps what it is given, whoever else writes, dies or damages it."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import sqlite3
import time
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import HfApi
from hypothesis import given, settings
from hypothesis import strategies as st

import modelselect as ms
from modelselect.history import Added, History, Result, database
from modelselect.history.records import TABLES, row_of
from tests.hub.server import Hub

SPAWN = multiprocessing.get_context("spawn")


def some_results(count: int, writer: int = 0) -> list[Result]:
    return [Result(f"timm:model{i}", f"data{writer}", "accuracy", i / count) for i in range(count)]


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history.sqlite")


# --- what is kept


def test_what_is_recorded_is_read_back(history: History) -> None:
    result = Result("timm:resnet18", "hub:food101", "accuracy", 0.825, {"seed": 0}, {"source": "a paper"})
    assert history.record([result]) == Added(new=1)
    (found,) = history.results()
    assert (found.candidate, found.dataset, found.metric, found.value) == (
        "timm:resnet18",
        "hub:food101",
        "accuracy",
        0.825,
    )
    assert found.settings == {"seed": 0}
    assert found.provenance == {"source": "a paper"}
    assert found.id == result.id


def test_a_history_that_nothing_was_written_to_makes_no_file_and_is_empty(history: History) -> None:
    assert history.results() == []
    assert history.summary()["results"] == 0
    assert not history.path.exists()


def test_the_same_result_is_counted_once_and_another_value_is_another_result(history: History) -> None:
    result = Result("timm:a", "data", "accuracy", 0.5)
    assert history.record([result, result]) == Added(new=1, known=1)
    assert history.record([Result("timm:a", "data", "accuracy", 0.5, provenance={"told": "elsewhere"})]).new == 0
    assert history.record([Result("timm:a", "data", "accuracy", 0.5, {"seed": 1})]).new == 1
    assert history.record([Result("timm:a", "data", "accuracy", 0.6)]).new == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.2, "high"])
def test_impossible_values_are_rejected_and_counted(history: History, value: float) -> None:
    added = history.record([Result("timm:a", "data", "accuracy", value), Result("timm:b", "data", "logme", -3.0)])
    assert added.new == 1
    assert sum(added.rejected.values()) == 1


def test_of_a_fact_the_latest_is_kept_and_facts_accumulate(history: History) -> None:
    history.describe_candidate("timm:a", {"parameters": 10, "license": None})
    history.describe_candidate("timm:a", {"downloads": 5})
    history.describe_candidate("timm:a", {"downloads": 7})
    assert history.candidates() == {"timm:a": {"parameters": 10, "downloads": 7}}


def test_architectures_are_shared_and_proxy_features_summarised(history: History) -> None:
    for name in ("timm:a", "timm:b"):
        history.describe_candidate(name, {}, graph='{"nodes":[]}')
    rows = np.random.default_rng(0).normal(size=(50, 7))
    history.keep_proxy("data", "hub:clip", rows)
    assert history.graphs() == {"timm:a": '{"nodes":[]}', "timm:b": '{"nodes":[]}'}
    assert history.summary()["architectures"] == 1
    np.testing.assert_allclose(history.proxies()["hub:clip"]["data"], [rows.mean(0), rows.std(0)], rtol=1e-5, atol=1e-6)


def test_the_default_place_is_the_users_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MODELSELECT_HISTORY", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert ms.History().path == tmp_path / "modelselect" / "history.sqlite"
    monkeypatch.setenv("MODELSELECT_HISTORY", str(tmp_path / "mine.sqlite"))
    assert ms.History().path == tmp_path / "mine.sqlite"


# --- many writers, and what kills them


def write(path: Path, writer: int) -> None:
    history = History(path)
    for result in some_results(15, writer):
        history.record([result])
        history.describe_candidate(result.candidate, {"writer": writer})


def test_concurrent_writers_lose_nothing(history: History) -> None:
    processes = [SPAWN.Process(target=write, args=(history.path, number)) for number in range(3)]
    for process in processes:
        process.start()  # none of them finds the file there: they also make it together
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 3
    assert {result.id for result in history.results()} == {r.id for w in range(3) for r in some_results(15, w)}


def write_until_killed(path: Path) -> None:
    for number in range(10_000):
        History(path).record(some_results(20, number))


def test_a_killed_writer_leaves_whole_transactions_and_a_file_that_goes_on(history: History) -> None:
    process = SPAWN.Process(target=write_until_killed, args=(history.path,))
    process.start()
    until = time.monotonic() + 30
    while len(history.results()) < 100 and time.monotonic() < until:
        time.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    by_dataset = [len(history.results(dataset=dataset)) for dataset in {r.dataset for r in history.results()}]
    assert len(by_dataset) >= 5
    assert set(by_dataset) == {20}
    assert history.record([Result("timm:after", "data", "accuracy", 0.5)]).new == 1
    with sqlite3.connect(history.path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_reader_does_not_wait_for_a_writer(history: History) -> None:
    history.record(some_results(3))
    writer = sqlite3.connect(history.path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    assert len(history.results()) == 3
    assert time.monotonic() - begun < 1
    writer.close()


def test_a_writer_that_waits_too_long_says_for_whom(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.1)
    history.record(some_results(1))
    other = sqlite3.connect(history.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ms.errors.HistoryError, match=r"another process has been writing.*MODELSELECT_HISTORY"):
        history.record(some_results(2))
    other.close()


# --- files that are not as they should be


def test_a_file_of_an_old_schema_is_brought_up_to_date_with_all_it_holds(history: History) -> None:
    with sqlite3.connect(history.path) as connection:
        connection.executescript(database._MIGRATIONS[0])
        connection.execute(f"PRAGMA application_id = {database._APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute(database._INSERTS["results"], row_of(Result("timm:a", "data", "accuracy", 0.5)))
    connection.close()
    assert [result.value for result in history.results()] == [0.5]
    history.keep_proxy("data", "proxy", [[1.0, 2.0]])  # what only the new schema has
    assert history.record([Result("timm:a", "data", "accuracy", 0.5)]).known == 1


def test_a_file_of_a_later_version_is_left_alone(history: History) -> None:
    history.record(some_results(1))
    with sqlite3.connect(history.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ms.errors.HistoryError, match=r"later version of modelselect.*Update"):
        history.results()


def test_another_programs_database_is_refused_unchanged(history: History) -> None:
    with sqlite3.connect(history.path) as connection:
        connection.execute("CREATE TABLE notes (text)")
    connection.close()
    before = history.path.read_bytes()
    with pytest.raises(ms.errors.HistoryError, match="another program"):
        history.record(some_results(1))
    assert history.path.read_bytes() == before


@pytest.mark.parametrize("damage", ["no database", "torn"])
def test_a_damaged_file_is_one_clear_error(history: History, damage: str) -> None:
    if damage == "no database":
        history.path.write_text("this is no database, and long enough to be looked at " * 10)
    else:
        history.record(some_results(2000))
        with sqlite3.connect(history.path) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        content = bytearray(history.path.read_bytes())
        content[4096 : len(content)] = os.urandom(len(content) - 4096)
        history.path.write_bytes(content)
    with pytest.raises(ms.errors.HistoryError, match=r"is damaged.*Move it away"):
        history.results()


def test_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ms.errors.HistoryError, match="cannot be used"):
        History(tmp_path / "file" / "history.sqlite").record(some_results(1))


# --- merging and travelling

RESULTS = st.lists(
    st.builds(
        Result,
        st.sampled_from(["timm:a", "timm:b"]),
        st.sampled_from(["x", "y"]),
        st.just("accuracy"),
        st.sampled_from([0.25, 0.5]),
        provenance=st.dictionaries(st.just("source"), st.sampled_from(["p", "q"])),
        recorded=st.sampled_from(["2026-01-01", "2026-01-02"]),
    ),
    max_size=6,
)
FACTS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("kl"), st.integers(0, 2)), max_size=4)


def filled(path: Path, results: list[Result], facts: list[tuple[str, str, int]]) -> History:
    history = History(path)
    history.record(results)
    for subject, key, value in facts:
        history.describe_candidate(subject, {key: value})
        history.keep_proxy(subject, key, [[float(value)]])
    return history


def content(history: History) -> list[list[tuple[object, ...]]]:
    return [history.rows(table) for table in TABLES]


@settings(max_examples=10, deadline=None)
@given(left=st.tuples(RESULTS, FACTS), right=st.tuples(RESULTS, FACTS))
def test_merging_is_idempotent_and_commutative_and_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory,
    left: tuple[list[Result], list[tuple[str, str, int]]],
    right: tuple[list[Result], list[tuple[str, str, int]]],
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    a, b = filled(folder / "a", *left), filled(folder / "b", *right)
    for history in (a, b):
        history.record([Result("timm:both", "x", "accuracy", 1.0, recorded="2026")])
    a_then_b, b_then_a = History(folder / "ab"), History(folder / "ba")
    for merged, parts in ((a_then_b, (a, b)), (b_then_a, (b, a))):
        for part in parts:
            merged.merge(part)
    assert content(a_then_b) == content(b_then_a)
    ids = {result.id for result in (*left[0], *right[0])}
    assert {r.id for r in a_then_b.results()} == ids | {Result("timm:both", "x", "accuracy", 1.0).id}
    before = content(a_then_b)
    again = a_then_b.merge(a) + a_then_b.merge(a_then_b)
    assert again.new == 0
    assert content(a_then_b) == before


GRAPH = '{"nodes":[{"id":0,"operation":"Relu"}],"edges":[]}'


def full_history(path: Path) -> History:
    history = History(path)
    history.record(some_results(5))
    history.describe_candidate("timm:model0", {"parameters": 3, "license": "MIT"}, graph=GRAPH)
    history.describe_dataset("data0", {"classes": 4})
    history.keep_proxy("data0", "hub:clip", [[1.0, 2.0], [3.0, 5.0]])
    return history


def test_what_is_exported_comes_back_whole(tmp_path: Path) -> None:
    history = full_history(tmp_path / "a.sqlite")
    folder = history.export(tmp_path / "parquet")
    copy = History(tmp_path / "b.sqlite")
    assert copy.load(folder) == Added(new=5)
    assert content(copy) == content(history)
    assert copy.digest == history.digest
    assert copy.load(folder) == Added(known=5)


def test_an_exported_file_that_is_damaged_or_forged_is_refused(tmp_path: Path) -> None:
    import pandas as pd

    folder = full_history(tmp_path / "a.sqlite").export(tmp_path / "parquet")
    frame = pd.read_parquet(folder / "results.parquet")
    frame.assign(value=[0.1, 0.2, float("nan"), 7.0, 0.3], id="forged").to_parquet(folder / "results.parquet")
    copy = History(tmp_path / "b.sqlite")
    added = copy.load(folder)
    assert (added.new, sum(added.rejected.values())) == (3, 2)
    assert all(result.id != "forged" for result in copy.results())
    frame.drop(columns="metric").to_parquet(folder / "results.parquet")
    with pytest.raises(ms.errors.InvalidInputError, match="lacks metric"):
        copy.load(folder)
    (folder / "results.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(ms.errors.InvalidInputError, match="no Parquet file"):
        copy.load(folder)
    with pytest.raises(ms.errors.InvalidInputError, match="holds no results"):
        copy.load(tmp_path)


def digest_of(graph: bytes) -> str:
    return hashlib.sha256(graph).hexdigest()


SPOILT: dict[str, tuple[str, dict[str, Any]]] = {
    "settings that are no object": ("results", {"settings": "[1]"}),
    "settings that never end": ("results", {"settings": "[" * 100_000}),
    "a time that is no text": ("results", {"recorded": None}),
    "a fact that is no JSON": ("candidates", {"value": "no JSON"}),
    "a fact that is not there": ("candidates", {"value": None}),
    "a number that is not finite": ("candidates", {"value": "NaN"}),
    "a number that no float can hold": ("candidates", {"value": "1" + "0" * 400}),
    "a fact of the far future": ("datasets", {"value": '"poison"', "recorded": "9999-01-01"}),
    "a graph of another name": ("candidates", {"key": 5}),
    "a graph that is no archive": ("graphs", {"graph": b"no archive"}),
    "a graph that is cut off": ("graphs", {"graph": zlib.compress(GRAPH.encode())[:-5]}),
    "a graph that is no graph": ("graphs", {"graph": zlib.compress(b"[1]")}),
    "a graph without nodes": ("graphs", {"graph": zlib.compress(b'{"nodes":[],"edges":[]}')}),
    "a graph that unpacks to a great deal": ("graphs", {"graph": zlib.compress(b" " * 60_000_000)}),
    "features that are cut off": ("proxies", {"features": b"123"}),
    "features that are not finite": ("proxies", {"features": np.full(4, np.nan, "<f4").tobytes()}),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_others_wrote_wrongly_is_rejected_and_spoils_nothing(what: str, tmp_path: Path) -> None:
    import pandas as pd

    table, changed = SPOILT[what]
    folder = full_history(tmp_path / "theirs.sqlite").export(tmp_path / "parquet")
    file = folder / f"{table}.parquet"
    frame = pd.read_parquet(file)
    # Recorded after ours, so that it would win.
    later = {"recorded": (datetime.now(UTC) + timedelta(hours=1)).isoformat()} if "recorded" in frame else {}
    new = later | changed | ({"id": digest_of(changed["graph"])} if "graph" in changed else {})
    frame.assign(**{column: [value] * len(frame) for column, value in new.items()}).to_parquet(file)

    ours = full_history(tmp_path / "ours.sqlite")
    before = ours.digest
    added = ours.load(folder)
    assert sum(added.rejected.values()) == len(frame)
    assert ours.digest == before
    view = ours.view("hub:clip").about({"timm:model0": {}}, {"classes": 4})
    assert np.isfinite(view.performance()).all()
    assert np.isfinite(view.architectures[0]).all()
    assert np.isfinite(view.sizes[0]).all()
    assert ours.candidates()["timm:model0"]["parameters"] == 3


def test_a_graph_is_found_by_its_content_and_not_by_what_others_call_it(tmp_path: Path) -> None:
    import pandas as pd

    folder = full_history(tmp_path / "theirs.sqlite").export(tmp_path / "parquet")
    forged = '{"nodes":[{"id":0,"operation":"Sigmoid"}],"edges":[]}'
    frame = pd.read_parquet(folder / "graphs.parquet")
    frame.assign(graph=[zlib.compress(forged.encode())]).to_parquet(folder / "graphs.parquet")
    ours = History(tmp_path / "ours.sqlite")
    ours.load(folder)
    assert forged not in ours.graphs().values()


def test_a_proxy_that_others_give_another_width_is_left_aside(tmp_path: Path) -> None:
    history = full_history(tmp_path / "a.sqlite")
    for dataset in ("data1", "data2"):
        history.record([Result("timm:model0", dataset, "accuracy", 0.5)])
        history.keep_proxy(dataset, "hub:clip", np.ones((3, 2 if dataset == "data1" else 7)))
    assert set(history.view("hub:clip").proxies) == {"data0", "data1"}


@pytest.fixture
def writer(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    return hub


def test_a_history_travels_through_a_dataset_repository_and_adds_to_what_is_there(writer: Hub, tmp_path: Path) -> None:
    mine, yours = full_history(tmp_path / "mine.sqlite"), History(tmp_path / "yours.sqlite")
    yours.record([Result("timm:yours", "data", "accuracy", 0.5)])
    mine.publish("lab/history")
    yours.publish("lab/history")
    whole = History(tmp_path / "whole.sqlite")
    assert whole.fetch("lab/history").new == 6
    assert {r.id for r in whole.results()} == {r.id for h in (mine, yours) for r in h.results()}
    assert whole.graphs() == mine.graphs()
    with pytest.raises(ms.errors.HistoryError, match="no dataset repository"):
        whole.fetch("lab/nothing")


def test_who_publishes_at_the_same_time_is_not_overwritten(
    writer: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, yours = full_history(tmp_path / "mine.sqlite"), History(tmp_path / "yours.sqlite")
    yours.record([Result("timm:yours", "data", "accuracy", 0.5)])
    upload, others = HfApi.upload_folder, [yours]

    def forestalled(api: HfApi, **given: Any) -> Any:
        if others:
            others.pop().publish("lab/history")
        return upload(api, **given)

    monkeypatch.setattr(HfApi, "upload_folder", forestalled)
    mine.publish("lab/history")
    assert History(tmp_path / "whole.sqlite").fetch("lab/history").new == 6


def test_publishing_without_a_token_says_what_to_do(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ms.errors.HistoryError, match="hf auth login"):
        full_history(tmp_path / "mine.sqlite").publish("lab/history")
