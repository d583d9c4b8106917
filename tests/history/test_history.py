"""A history keeps each result once, and merges and travels without losing any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import HfApi
from hypothesis import given, settings
from hypothesis import strategies as st

import modelselect as ms
from modelselect.history import Added, History, Result
from modelselect.history.history import open_history
from tests.history.conftest import content, full_history
from tests.hub.server import Hub


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


def test_the_same_result_is_counted_once_and_another_value_is_another_result(history: History) -> None:
    result = Result("timm:a", "data", "accuracy", 0.5)
    assert history.record([result, result]) == Added(new=1, known=1)
    assert history.record([Result("timm:a", "data", "accuracy", 0.5, provenance={"note": "elsewhere"})]).new == 0
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


@settings(max_examples=10)
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
    with pytest.raises(ms.errors.HistoryError, match="does not exist on the Hub"):
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


@pytest.mark.parametrize("word", ["off", "Off", "none", "no", "false"])
def test_a_word_for_no_history_is_no_file(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_history(word) is None
    assert open_history(f"./{word}") is not None
