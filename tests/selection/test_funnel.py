"""`select()` is the funnel: deterministic, resumable, and one bad candidate costs one row."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import rankdata

import modelselect as ms
from modelselect.candidates.backbone import Backbone
from modelselect.candidates.preprocessing import ImagePreprocessing
from modelselect.candidates.readers import HeadInput
from modelselect.errors import (
    CandidateError,
    DatasetError,
    EvidenceError,
    ExpressionError,
    InvalidInputError,
    NothingRankedError,
    UnknownNameError,
)
from modelselect.estimators.ranks import mean_rank
from modelselect.evaluation import description, keys
from modelselect.host.host import Host, get_host
from modelselect.verification import FineTuning
from tests.conftest import REPOSITORY

SOME = ["embedded:plain*", "embedded:resnet*", "embedded:vit*"]
QUICK = FineTuning(epochs=1, batch_size=16)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 images of three classes: stripes across, stripes down, and spots; easy for some backbones, not for all."""
    folder = tmp_path_factory.mktemp("stripes")
    rng = np.random.default_rng(0)
    for name in ("across", "down", "spots"):
        (folder / name).mkdir()
        for index in range(20):
            wave = 127 + 60 * np.sin(np.arange(32) * rng.uniform(0.5, 1.5) + rng.uniform(0, 6))
            pattern = {"across": wave[:, None] + 0 * wave, "down": wave + 0 * wave[:, None]}.get(
                name, np.where((wave[:, None] > 127) & (wave > 127), 190, 90)
            )
            pixels = np.clip(pattern[..., None] + rng.normal(0, 25, (32, 32, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{index}.png")
    return folder


pytestmark = pytest.mark.usefixtures("cache")


def rank(dataset: Any, candidates: Any = "embedded:*", **settings: Any) -> ms.Leaderboard:
    return ms.select(dataset, candidates, progress=False, **{"estimators": "logme", **settings})


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


def test_the_score_is_the_estimators_own_where_there_is_one(dataset: Path) -> None:
    board = rank(dataset, SOME)
    for row in board.rows:
        evidence = row.load()
        features, labels = _bare_loop(evidence, dataset)
        assert row.score == pytest.approx(ms.score(features, labels, "logme"), rel=1e-4)


def _bare_loop(backbone: Backbone, dataset: Path) -> tuple[np.ndarray, np.ndarray]:
    features, labels = [], []
    for label, folder in enumerate(sorted(dataset.iterdir())):
        for path in sorted(folder.iterdir()):
            batch = backbone.preprocessing.finish(backbone.preprocessing.prepare(Image.open(path))[None])
            with torch.no_grad():
                features.append(backbone.read(backbone.module, batch).features[0].numpy())
            labels.append(label)
    return np.array(features), np.array(labels)


def test_two_runs_with_one_seed_are_identical(dataset: Path, tmp_path: Path) -> None:
    boards = [
        rank(dataset, SOME, estimators=["logme", "persistence", "knn"], cache_dir=tmp_path / name, seed=3)
        for name in ("first", "second")
    ]
    assert boards[0] == boards[1]
    assert boards[0].provenance["from_store"] == 0


def test_the_executor_does_not_change_the_answer(dataset: Path, tmp_path: Path) -> None:
    local = rank(dataset, SOME, cache_dir=tmp_path / "local")
    isolated = rank(dataset, SOME, cache_dir=tmp_path / "process", executor="process")
    assert isolated == local


def test_a_second_run_takes_everything_from_the_store(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = rank(dataset, SOME, top_k=1, fine_tuning=QUICK)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("loaded again")

    monkeypatch.setattr(type(get_host().zoo("embedded")), "load", refuse)
    second = rank(dataset, SOME, top_k=1, fine_tuning=QUICK)
    assert second == first
    assert second.provenance["from_store"] == len(second.rows)


def test_a_further_estimator_needs_no_further_forward_pass(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rank(dataset, SOME, estimators="logme")
    monkeypatch.setattr(type(get_host().extractor("cpu")), "extract", None)
    assert rank(dataset, SOME, estimators=["logme", "knn"]).ranked


def test_a_damaged_entry_is_computed_again(dataset: Path, cache: Path) -> None:
    first = rank(dataset, SOME)
    for path in cache.rglob("*.safetensors"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    second = rank(dataset, SOME)
    assert second == first
    assert second.provenance["from_store"] == 0


def test_changed_rows_are_not_taken_for_the_old_ones(dataset: Path, tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(30) % 2
    before = rank((inputs, labels), SOME)
    changed = inputs.copy()
    changed[0] = 255 - changed[0]
    after = rank((changed, labels), SOME)
    assert before != after
    assert after.provenance["from_store"] == 0


def test_several_estimators_are_combined_by_mean_rank(dataset: Path) -> None:
    board = rank(dataset, "embedded:*", estimators=["logme", "knn"])
    n = len(board.rows)
    scores = np.array([[row.scores[name] for row in board.rows] for name in ("logme", "knn")])
    assert len(set(scores[1])) < n, "ties are part of the test"
    expected = ((rankdata(scores, axis=1) - 1) / (n - 1)).mean(0)  # ties share the mean of their ranks
    assert [row.score for row in board.rows] == pytest.approx(expected)
    assert np.argsort(-scores.mean(0), kind="stable").tolist() != list(range(n)), "raw scores would order them the same"


def test_the_top_k_are_fine_tuned_and_lead_in_the_order_of_their_accuracy(dataset: Path) -> None:
    board = rank(dataset, top_k=2, fine_tuning=QUICK)
    verified = [row for row in board.rows if row.verified_accuracy is not None]
    assert verified == list(board.rows[:2])
    assert {row.predicted_rank for row in verified} == {1, 2}
    assert verified[0].verified_accuracy >= verified[1].verified_accuracy  # type: ignore[operator]
    for row in verified:
        low, high = row.verified_interval  # type: ignore[misc]
        assert 0 <= low <= row.verified_accuracy <= high <= 1  # type: ignore[operator]
    ranks = [row.rank for row in board.rows]
    assert ranks == sorted(ranks)  # type: ignore[type-var]
    assert board.provenance["dataset"]["training_rows"] == 48


# --- one bad candidate costs one row ---------------------------------------------------------------------------------


class Flaky(ms.Zoo):
    """Candidates that go wrong in every way, between good ones."""

    name = "flaky"
    names = ("good", "raises", "killed", "segfault", "exits", "nan", "good-too")

    def search(self, pattern: str) -> Iterator[ms.Candidate]:
        for name in self.names if pattern == "*" else [pattern]:
            yield ms.Candidate(self.name, name, "1")

    def load(self, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> Backbone:
        if candidate.name == "raises":
            raise CandidateError("its weights\nare missing")
        if candidate.name == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if candidate.name == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if candidate.name == "exits":
            os._exit(7)
        torch.manual_seed(len(candidate.name))
        head = torch.nn.Linear(12, 4)
        module = torch.nn.Sequential(torch.nn.Conv2d(3, 12, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), head)
        if candidate.name == "nan":
            torch.nn.init.constant_(module[0].weight, float("nan"))  # type: ignore[arg-type]
        return Backbone(candidate, module.eval(), ImagePreprocessing((32, 32), 32), HeadInput("3"), "weights")


PLUGIN = """
import modelselect
from tests.selection.test_funnel import Flaky

@modelselect.hookimpl
def modelselect_register_zoos():
    return [Flaky()]
"""


@pytest.fixture
def flaky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The flaky zoo as an installed plugin, so that worker processes find it, too."""
    site = tmp_path / "site"
    info = site / "flaky-1.dist-info"
    info.mkdir(parents=True)
    (site / "flaky_plugin.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: flaky\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[modelselect]\nflaky = flaky_plugin\n")
    paths = [str(site), str(REPOSITORY)]
    for path in paths:
        monkeypatch.syspath_prepend(path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    get_host.cache_clear()
    yield
    get_host.cache_clear()


@pytest.mark.slow
def test_a_candidate_that_crashes_costs_its_row_only(dataset: Path, flaky: None) -> None:
    board = rank(dataset, "flaky:*", executor="process")
    status = {row.candidate.name: row.status for row in board.rows}
    assert status["good"] == status["good-too"] == "ok"
    assert status["raises"] == "failed: its weights are missing"
    assert "SIGKILL" in status["killed"]
    assert "SIGSEGV" in status["segfault"]
    assert "7" in status["exits"]
    assert "NaN" in status["nan"]
    assert [row.rank for row in board.rows] == [1, 2, None, None, None, None, None]


def test_a_candidate_that_raises_costs_its_row_only(dataset: Path, flaky: None) -> None:
    board = rank(dataset, ["flaky:good", "flaky:raises", "flaky:nan"])
    assert [row.rank is None for row in board.rows] == [False, True, True]


def test_when_nothing_can_be_ranked_the_reasons_are_given(dataset: Path, flaky: None) -> None:
    with pytest.raises(NothingRankedError, match="its weights are missing") as caught:
        rank(dataset, "flaky:raises")
    assert isinstance(caught.value.leaderboard, ms.Leaderboard)
    assert caught.value.leaderboard.rows[0].status == "failed: its weights are missing"


def test_an_estimator_that_raises_costs_its_column_only(dataset: Path) -> None:
    class Broken(ms.Estimator):
        name = "broken"
        requires = frozenset({"features"})
        citation = "Nobody: Nothing, 2026."

        def score(self, evidence: ms.Evidence) -> dict[str, float]:
            raise ZeroDivisionError("of all things")

    board = rank(dataset, SOME, estimators=["logme", Broken()])
    assert all(row.rank is not None and "ZeroDivisionError" in row.status for row in board.rows)


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
        ({"candidates": "resnet50"}, ExpressionError, "not a candidate expression"),
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


def test_the_wrong_number_of_labels_is_refused_by_score() -> None:
    with pytest.raises(EvidenceError, match="the numbers of rows differ"):
        ms.score(np.zeros((4, 2)), [0, 1, 1], "logme")
    with pytest.raises(EvidenceError, match="NaN"):
        ms.score([[0.0], [np.nan]], [0, 1], "logme")
    with pytest.raises(EvidenceError, match="one class"):
        ms.score([[0.0], [1.0]], [1, 1], "logme")


# --- bare modules ----------------------------------------------------------------------------------------------------


class Small(torch.nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        torch.manual_seed(width)
        self.conv = torch.nn.Conv2d(3, width, 3)
        self.head = torch.nn.Linear(width, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).relu().mean((2, 3)))


def to_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.resize((16, 16)))).permute(2, 0, 1).float() / 255


def test_bare_modules_rank_with_the_zoos(dataset: Path) -> None:
    board = rank(dataset, [Small(4), (Small(8), to_tensor), "embedded:plain*"], estimators=["logme", "nce"])
    rows = {row.candidate.name: row for row in board.rows}
    assert rows["Small"].feature_dim == 4
    assert rows["Small-2"].feature_dim == 8
    assert rows["Small"].candidate.zoo == "module"
    assert all("nce" in row.scores for name, row in rows.items() if name.startswith("Small"))


def test_arrays_reach_a_bare_module_as_they_are() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    features = rng.normal(size=(40, 6)) + 2 * labels[:, None]
    board = rank((features, labels), torch.nn.Identity())
    assert board.best.score == pytest.approx(ms.score(features.astype(np.float32), labels, "logme"), rel=1e-6)


# --- killed at any point ---------------------------------------------------------------------------------------------

KILLS = 20

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

begun = time.monotonic()
assert os.waitpid(run("undisturbed"), 0)[1] == 0
whole = time.monotonic() - begun
killed, rounds = 0, [[]]
while killed < kills:
    name = f"killed{len(rounds)}"
    child = run(name)
    time.sleep(random.uniform(0, whole / 2))
    os.kill(child, signal.SIGKILL)
    if os.WIFSIGNALED(os.waitpid(child, 0)[1]):
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
    with pytest.raises(NothingRankedError, match="takes images, but the probe's rows are ndarray"):
        rank((np.random.default_rng(0).normal(size=(8, 3, 32, 32)), [0, 1] * 4), SOME)
    with pytest.raises(NothingRankedError, match="rows are str"):
        rank((["good", "bad"] * 4, [0, 1] * 4), SOME)


# --- what changes a number changes its key ---------------------------------------------------------------------------


def test_another_version_of_a_library_computes_anew(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rank(dataset, "embedded:plain.*")
    assert rank(dataset, "embedded:plain.*").provenance["from_store"] == 2
    known = keys.numeric_versions
    monkeypatch.setattr(keys, "numeric_versions", lambda *given: {**known(*given), "torch": "0.0"})
    assert rank(dataset, "embedded:plain.*").provenance["from_store"] == 0


def test_another_version_of_a_plugin_computes_anew(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rank(dataset, "embedded:plain.*")
    for kind, name in (("zoos", "embedded"), ("estimators", "logme"), ("extractors", "cpu")):
        monkeypatch.setattr(get_host().owner(kind, name), "version", f"99 of {name}")
        assert rank(dataset, "embedded:plain.*").provenance["from_store"] == 0
        assert rank(dataset, "embedded:plain.*").provenance["from_store"] == 2


def test_another_seed_probe_or_source_computes_anew(dataset: Path) -> None:
    other = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8), np.arange(20) % 2
    rank(dataset, "embedded:plain.*", estimators="persistence_source")
    for changed in ({"seed": 1}, {"probe_size": 30}, {"source": other}):
        board = rank(dataset, "embedded:plain.*", estimators="persistence_source", **changed)
        assert board.provenance["from_store"] == 0, changed


def test_an_estimator_that_was_edited_does_not_find_its_old_scores(dataset: Path, tmp_path: Path) -> None:
    source = """
import modelselect
class Mine(modelselect.Estimator):
    name = "mine"
    requires = frozenset({"features"})
    citation = "Me, today."
    def score(self, evidence):
        return {"mine": float(evidence.features.%s())}
"""
    boards = []
    for number, method in enumerate(("std", "mean")):
        namespace: dict[str, Any] = {"__name__": "__main__"}
        path = tmp_path / f"script{number}.py"
        path.write_text(source % method)
        exec(compile(path.read_text(), str(path), "exec"), namespace)
        boards.append(rank(dataset, "embedded:plain.*", estimators=namespace["Mine"]()))
    assert boards[0].best.score != boards[1].best.score


def test_parameters_that_differ_make_another_estimator() -> None:
    class Weighted(ms.Estimator):
        name = "weighted"
        requires = frozenset({"features"})
        citation = "Nobody, 2026."

        def __init__(self, weights: Any) -> None:
            self.weights = weights

        def score(self, evidence: ms.Evidence) -> dict[str, float]:
            return {"weighted": 0.0}

    many = np.zeros(2000)
    other = many.copy()
    other[1000] = 5
    keys = {Weighted(w).key for w in (many, other, [0, 1], {"a"}, {"b"}, None)}
    assert len(keys) == 6
    assert Weighted(many.copy()).key == Weighted(many).key


def test_estimators_in_any_order_of_runs_share_what_was_computed(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = rank(dataset, SOME, estimators=["logme", "leep"])
    monkeypatch.setattr(type(get_host().extractor("cpu")), "extract", None)
    alone = rank(dataset, SOME, estimators="logme")
    assert {r.candidate.id: r.feature_dim for r in alone.rows} == {r.candidate.id: r.feature_dim for r in both.rows}
    assert rank(dataset, SOME, estimators="knn").ranked


# --- what goes wrong late costs little -------------------------------------------------------------------------------


class Late(ms.Estimator):
    name = "late"
    requires = frozenset({"features"})
    citation = "Nobody, 2026."

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def score(self, evidence: ms.Evidence) -> dict[str, float]:
        return {"late": 1.0}

    def combine(self, scores: Any) -> Any:
        if self.answer == "raise":
            raise ZeroDivisionError("at the very end")
        return np.full(len(scores), self.answer)


@pytest.mark.parametrize(("answer", "words"), [("raise", "at the very end"), (float("inf"), "finite")])
def test_an_estimator_that_cannot_combine_costs_its_column_only(dataset: Path, answer: Any, words: str) -> None:
    board = rank(dataset, SOME, estimators=["logme", Late(answer)])
    assert all(row.rank is not None and "late" not in row.scores and words in row.status for row in board.rows)


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


def test_a_trace_that_failed_for_want_of_a_module_is_tried_again(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError("for now")

    with monkeypatch.context() as patched:
        patched.setattr(description.Describer, "_example", broken)
        assert all(row.macs is None for row in rank(dataset, SOME).rows)
    assert all(row.macs for row in rank(dataset, SOME).rows)


# --- what looks right and is not -------------------------------------------------------------------------------------


def test_equal_mean_ranks_are_equal_in_whatever_order_the_estimators_are_named(dataset: Path) -> None:
    names = ["etran", "knn", "logme"]
    ranks = [{r.candidate.id: r.rank for r in rank(dataset, estimators=order).rows} for order in (names, names[::-1])]
    assert ranks[0] == ranks[1]
    thirds = {str(i): np.array(values) for i, values in enumerate([[0.1, 0.4], [0.4, 0.3], [0.5, 0.3]])}
    assert len(set(mean_rank(thirds).tolist())) == 1


class Halving(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)[::2]


def test_features_of_fewer_rows_than_were_given_are_not_scored(dataset: Path) -> None:
    with pytest.raises(NothingRankedError, match="features of"):
        rank(dataset, Halving(4))


def test_every_expression_has_to_match(dataset: Path) -> None:
    with pytest.raises(ExpressionError, match="embedded:resnett"):
        rank(dataset, ["embedded:plain*", "embedded:resnett*"])


def test_a_seed_that_some_library_cannot_take_is_refused_at_once(dataset: Path) -> None:
    with pytest.raises(InvalidInputError, match="seed is"):
        rank(dataset, SOME, seed=2**40)


def test_a_device_may_be_torchs_own(dataset: Path) -> None:
    assert rank(dataset, SOME, device=torch.device("cpu")).ranked


def test_neighbours_say_so_where_no_class_has_two_rows() -> None:
    with pytest.raises(ms.errors.NotApplicableError, match="no class has two"):
        ms.score(np.eye(4), [0, 1, 2, 3], "knn")


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


def test_another_precision_is_another_number(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    full = rank(dataset, "embedded:plain.letters")
    half = rank(dataset, "embedded:plain.letters", precision="bfloat16")
    assert half.provenance["from_store"] == 0
    assert half.best.score != full.best.score
    assert half.best.score == pytest.approx(full.best.score, rel=0.2)
    assert rank(dataset, "embedded:plain.letters", precision="bfloat16").provenance["from_store"] == 1


class Slow(ms.Zoo):
    """Its networks wait, in their first forward pass, until the next candidate is being loaded."""

    name = "slow"

    def __init__(self, revision: str | None = "1") -> None:
        self.loading = {name: threading.Event() for name in "abcd"}
        self.revision = revision
        self.overlapped: dict[str, bool] = {}

    def search(self, pattern: str) -> Iterator[ms.Candidate]:
        for name in "abc":
            yield ms.Candidate(self.name, name, self.revision)

    def load(self, candidate: ms.Candidate, *, trust_remote_code: bool = False) -> Backbone:
        self.loading[candidate.name].set()
        if candidate.name == "b":
            raise CandidateError("its weights are missing")
        torch.manual_seed(ord(candidate.name))
        module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 8), torch.nn.Linear(8, 4))

        def wait(*_: Any) -> None:
            following = chr(ord(candidate.name) + 1)
            if candidate.name not in self.overlapped:
                self.overlapped[candidate.name] = following == "d" or self.loading[following].wait(10)

        module.register_forward_pre_hook(wait)
        return Backbone(candidate, module.eval(), ImagePreprocessing((32, 32), 32), HeadInput("2"), candidate.name)


@pytest.mark.parametrize("revision", ["1", None])
def test_the_next_candidate_is_loaded_while_one_computes_and_its_failure_stays_its_own(
    dataset: Path, use_host: Callable[[Host], None], revision: str | None
) -> None:
    zoo = Slow(revision)
    host = Host.load()

    class Brought:
        @ms.hookimpl
        def modelselect_register_zoos(self) -> list[ms.Zoo]:
            return [zoo]

    host.register(Brought(), "brought")
    use_host(host)
    board = rank(dataset, "slow:*")
    assert zoo.overlapped == {"a": True, "c": True}
    status = {row.candidate.name: row.status for row in board.rows}
    assert status == {"a": "ok", "c": "ok", "b": "failed: its weights are missing"}
    assert all(event.is_set() for name, event in zoo.loading.items() if name != "d")
    if revision:  # what is in the store is not loaded again, ahead or otherwise
        for event in zoo.loading.values():
            event.clear()
        rank(dataset, "slow:*")
        assert [name for name, event in zoo.loading.items() if event.is_set()] == ["b"]
