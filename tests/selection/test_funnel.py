"""`select()` is the funnel: deterministic, resumable, and one bad candidate costs one row."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import modelselect as ms
from modelselect.errors import (
    DatasetError,
    EvidenceError,
    ExpressionError,
    InvalidInputError,
    NothingRankedError,
    UnknownNameError,
)
from modelselect.host.host import get_host
from tests.selection.material import QUICK, SOME, Flaky, rank

pytestmark = pytest.mark.usefixtures("cache")


def test_real_models_are_ranked_for_real_images(dataset: Path) -> None:
    board = rank(dataset, estimators=["logme", "leep", "ncti", "persistence"])
    assert [row.rank for row in board.ranked] == sorted(row.rank for row in board.ranked)  # type: ignore[type-var]
    assert len(board.rows) == 12
    assert all(row.scores["logme"] for row in board.ranked)
    assert all(row.parameters and row.macs and row.feature_dim for row in board.ranked)
    assert all(row.embedding and len(row.nearest) == 3 for row in board.ranked)
    assert {"parameters", "source_accuracy"} <= set(board.estimators)
    unsupervised = [row for row in board.rows if not row.candidate.metadata.get("source_classes")]
    assert all("leep" in row.failures and "source_probabilities" in row.status for row in unsupervised)


def test_two_runs_with_one_seed_are_identical(dataset: Path, tmp_path: Path) -> None:
    boards = [
        rank(dataset, SOME, estimators=["logme", "persistence", "knn"], cache_dir=tmp_path / name, seed=3)
        for name in ("first", "second")
    ]
    assert boards[0] == boards[1]
    assert boards[0].provenance["from_store"] == 0


def test_a_second_run_takes_everything_from_the_store(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = rank(dataset, SOME, top_k=1, fine_tuning=QUICK)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("loaded again")

    monkeypatch.setattr(type(get_host().zoo("embedded")), "load", refuse)
    second = rank(dataset, SOME, top_k=1, fine_tuning=QUICK)
    assert second == first
    assert second.provenance["from_store"] == len(second.rows)


def test_a_damaged_entry_is_computed_again(dataset: Path, cache: Path) -> None:
    first = rank(dataset, SOME)
    for path in cache.rglob("*.safetensors"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    second = rank(dataset, SOME)
    assert second == first
    assert second.provenance["from_store"] == 0


# --- one bad candidate costs one row ---------------------------------------------------------------------------------


def test_when_nothing_can_be_ranked_the_reasons_are_given(dataset: Path, flaky: None) -> None:
    with pytest.raises(NothingRankedError, match="its weights are missing") as caught:
        rank(dataset, "flaky:raises")
    assert isinstance(caught.value.leaderboard, ms.Leaderboard)
    assert caught.value.leaderboard.rows[0].status == "failed: its weights are missing"


def test_listeners_hear_of_every_candidate_and_of_the_end(dataset: Path) -> None:
    heard: list[tuple[str, Any]] = []

    class Listener:
        @ms.hookimpl
        def modelselect_candidate_scored(self, candidate: ms.Candidate, scores: Any) -> None:
            heard.append((candidate.id, scores))

        @ms.hookimpl
        def modelselect_candidate_failed(self, candidate: ms.Candidate, failure: Any) -> None:
            heard.append((candidate.id, failure))

        @ms.hookimpl
        def modelselect_selection_finished(self, leaderboard: ms.Leaderboard) -> None:
            heard.append(("finished", leaderboard))

    get_host.cache_clear()
    try:
        get_host().register(Listener(), "listener")
        board = rank(dataset, [*SOME, torch.nn.LazyLinear(3)], estimators=["logme", "knn"])
    finally:
        get_host.cache_clear()
    scored = {row.candidate.id: row.components for row in board.rows if row.failure is None}
    failed = {row.candidate.id: row.failure for row in board.rows if row.failure is not None}
    assert len(scored) >= 3
    assert len(failed) == 1
    assert all({"logme", "knn"} <= set(components) for components in scored.values())
    assert heard[-1] == ("finished", board)
    assert len(heard) == len(board.rows) + 1
    assert dict(heard[:-1]) == scored | failed


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"estimators": "logmee"}, UnknownNameError, "Did you mean 'logme'"),
        ({"candidates": "embeded:*"}, UnknownNameError, "Did you mean 'embedded'"),
        ({"candidates": "embedded:nothing-like-it*"}, ExpressionError, "no candidate matched"),
        ({"candidates": "resnet50"}, ExpressionError, "Did you mean timm:resnet50 or torchvision:resnet50"),
        ({"candidates": []}, ExpressionError, "no candidate matched"),
        ({"candidates": [42]}, InvalidInputError, "42 is not a candidate"),
        ({"estimators": []}, InvalidInputError, "estimators is empty"),
        ({"estimators": ["logme", "logme"]}, InvalidInputError, "given twice: logme"),
        ({"executor": "cloud"}, UnknownNameError, "executor 'cloud'"),
        ({"device": "abacus"}, InvalidInputError, "abacus"),
        ({"top_k": -1}, InvalidInputError, "top_k is -1"),
        ({"top_k": "2"}, InvalidInputError, "top_k is .2."),
        ({"top_k": True}, InvalidInputError, "top_k is True"),
        ({"top_k": 1, "fine_tuning": {"epochs": 1}}, InvalidInputError, "fine_tuning is .*; expected FineTuning"),
        ({"seed": True}, InvalidInputError, "seed is True"),
        ({"batch_size": True}, InvalidInputError, "batch_size is True"),
        ({"batch_size": 0}, InvalidInputError, "batch_size is 0"),
        ({"cache_dir": 7}, InvalidInputError, "cache_dir is 7; expected the path of a folder"),
        ({"executor": 3}, InvalidInputError, "executor is 3; expected a name"),
        ({"precision": "float8"}, InvalidInputError, "precision is 'float8'"),
        ({"max_corrupt": 2}, InvalidInputError, "max_corrupt is 2"),
    ],
)
def test_bad_settings_are_answered_with_what_to_do(
    dataset: Path, settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        rank(dataset, **{"candidates": SOME, **settings})


def test_bad_data_is_answered_with_what_to_do(tmp_path: Path) -> None:
    images = np.zeros((6, 8, 8, 3), np.uint8)
    empty, one_class, corrupt = tmp_path / "empty", tmp_path / "one", tmp_path / "corrupt"
    empty.mkdir()
    (one_class / "cats").mkdir(parents=True)
    Image.fromarray(images[0]).save(one_class / "cats" / "a.png")
    for name in ("cats", "dogs"):
        (corrupt / name).mkdir(parents=True)
        for index in range(3):
            (corrupt / name / f"{index}.jpg").write_bytes(b"not an image")
    for bad in (empty, one_class, corrupt, tmp_path / "missing", (images, [0, 1]), (images, [0] * 6)):
        with pytest.raises(DatasetError):
            rank(bad, SOME)
    with pytest.raises((DatasetError, EvidenceError)):
        rank((np.full((6, 4), np.nan), [0, 1] * 3), SOME)


def test_one_image_per_class_is_ranked_by_what_can_rank_it(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    board = rank((images, np.arange(5)), SOME, estimators=["logme", "linear_probe"])
    assert all(row.rank is not None for row in board.rows)


# --- killed at any point ---------------------------------------------------------------------------------------------


KILLS = 4
KILLER = """
import hashlib, json, os, random, signal, sys, time
from pathlib import Path
import torch
from modelselect.host import get_host
from modelselect import select

get_host()
dataset, folder, kills = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
random.seed(0)

def run(name):
    pid = os.fork()  # the imports are done: what is killed is the work
    if pid == 0:
        board = select(dataset, "embedded:*", estimators=["logme", "knn"], cache_dir=folder / name, progress=False)
        board.save(folder / f"{name}.json")
        os._exit(0)
    return pid

def evidence(name):
    files = (folder / name).glob("entries/features/*/*.safetensors")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

assert os.waitpid(run("undisturbed"), 0)[1] == 0
killed, rounds = 0, [[]]
while killed < kills:
    name = f"killed{len(rounds)}"
    enough = len(evidence(name)) + random.randint(1, 3)
    child = run(name)
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        time.sleep(random.uniform(0, 0.01))
        if len(evidence(name)) >= enough:
            os.kill(child, signal.SIGKILL)
    if os.WIFSIGNALED(ended[1]):
        killed += 1
        rounds[-1].append(evidence(name))
    else:  # it was done before the kill: begin anew
        rounds.append([])
for index in range(len(rounds)):
    assert os.waitpid(run(f"killed{index + 1}"), 0)[1] == 0
    rounds[index].append(evidence(f"killed{index + 1}"))
print(json.dumps(rounds))
"""


@pytest.mark.slow
def test_a_killed_run_resumes_without_losing_what_was_finished(dataset: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLER, str(dataset), str(tmp_path), str(KILLS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    histories = json.loads(done.stdout.splitlines()[-1])
    assert sum(len(history) - 1 for history in histories) == KILLS
    assert any(0 < len(evidence) < 12 for history in histories for evidence in history), "no kill came half-way"
    undisturbed = ms.Leaderboard.load(tmp_path / "undisturbed.json")
    for number, history in enumerate(histories, start=1):
        for before, after in itertools.pairwise(history):
            assert before.items() <= after.items(), "finished evidence was lost or computed again"
        assert ms.Leaderboard.load(tmp_path / f"killed{number}.json") == undisturbed


def test_an_image_backbone_says_so_where_the_rows_are_no_images() -> None:
    with pytest.raises(NothingRankedError, match="takes images, but the probe's rows are arrays of"):
        rank((np.random.default_rng(0).normal(size=(8, 3, 32, 32)), [0, 1] * 4), SOME)
    with pytest.raises(NothingRankedError, match="rows are str"):
        rank((["good", "bad"] * 4, [0, 1] * 4), SOME)


# --- what goes wrong late costs little -------------------------------------------------------------------------------


def test_an_encoder_that_fails_costs_the_vectors_only(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ImportError("no doc2vec here")

    monkeypatch.setattr(type(get_host().encoder("graph2vec")), "encode", fail)
    with pytest.warns(UserWarning, match="no doc2vec here"):
        board = rank(dataset, SOME)
    assert board.ranked
    assert board.best.embedding is None


def test_a_zoo_that_cannot_be_searched_is_a_row_that_says_so(
    dataset: Path, flaky: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(self: ms.Zoo, pattern: str) -> Any:
        raise ConnectionError("network down")

    zoo = get_host().zoo("flaky")
    monkeypatch.setattr(type(zoo), "search", offline)
    board = rank(dataset, ["embedded:plain.*", "flaky:*"])
    assert len(board.ranked) == 2
    assert "network down" in board.rows[-1].status
    with pytest.raises(ms.errors.SearchError, match="plugin 'flaky'"):
        ms.search("flaky:*")


# --- what looks right and is not -------------------------------------------------------------------------------------


def test_every_expression_has_to_match(dataset: Path) -> None:
    with pytest.raises(ExpressionError, match="embedded:resnett"):
        rank(dataset, ["embedded:plain*", "embedded:resnett*"])


def test_a_seed_that_some_library_cannot_take_is_refused_at_once(dataset: Path) -> None:
    with pytest.raises(InvalidInputError, match="seed is"):
        rank(dataset, SOME, seed=2**40)


def test_a_device_may_be_torchs_own(dataset: Path) -> None:
    assert rank(dataset, SOME, device=torch.device("cpu")).ranked


def test_a_row_that_was_ranked_without_its_weights_can_be_loaded(dataset: Path, flaky: None) -> None:
    unrevised = ms.Candidate("flaky", "good", metadata={"parameters": 390})
    board = rank(dataset, unrevised, estimators="parameters")
    assert board.best.weights_key is None
    assert board.best.load().weights_key == "weights"
    assert rank(dataset, unrevised).best.weights_key == "weights"


def test_parameters_are_those_counted_wherever_there_is_something_to_count(dataset: Path, flaky: None) -> None:
    candidate = ms.Candidate("flaky", "good", "1", {"parameters": 390_000})  # with buffers and another tower, perhaps
    (row,) = rank(dataset, candidate, estimators=["knn", "parameters"]).rows
    counted = sum(parameter.numel() for parameter in Flaky().load(candidate).module.parameters())
    assert row.parameters == row.scores["parameters"] == counted


def test_rows_that_cannot_be_read_are_borne_as_far_as_they_are_allowed(dataset: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(dataset, tmp_path / "damaged")
    for path in sorted(damaged.glob("*/*"))[::3]:
        path.write_bytes(b"no image")
    with pytest.raises(DatasetError, match="max_corrupt"):
        rank(damaged, "embedded:plain.letters")
    assert rank(damaged, "embedded:plain.letters", max_corrupt=0.5).provenance["dataset"]["skipped"]
