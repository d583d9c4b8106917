"""`select()` leaves what it found to the history, and cuts a large pool by it before anything is loaded."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import modelselect as ms
from modelselect.cli import app
from modelselect.history import ACCURACY, History, Result, proxy
from modelselect.history.proxy import EMBEDDED_PROXY, choose_proxy
from modelselect.host.host import get_host
from modelselect.verification import FineTuning
from modelselect_plugins.zoos.embedded import EmbeddedZoo

Images = NDArray[np.uint8]


def images(seed: int, rows: int = 40) -> tuple[Images, list[int]]:
    """Two classes, one of them darker above; each seed another dataset."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (rows, 32, 32, 3), dtype=np.uint8)
    pixels[: rows // 2, :16] //= 3
    return pixels, [0] * (rows // 2) + [1] * (rows // 2)


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history.sqlite")


@pytest.fixture
def select(tmp_path: Path) -> Any:
    def run(dataset: Any, candidates: Any = "embedded:*", **settings: Any) -> ms.Leaderboard:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ms.errors.ScoreWarning)
            return ms.select(dataset, candidates, cache_dir=tmp_path / "cache", progress=False, **settings)

    return run


def known(history: History, candidates: list[ms.Candidate]) -> None:
    """The later in the list, the better on each of four datasets."""
    history.record(
        Result(c.id.split("@")[0], f"data{j}", ACCURACY, 0.3 + 0.05 * i + 0.001 * j)
        for i, c in enumerate(candidates)
        for j in range(4)
    )


# --- remembering


def test_every_run_is_remembered_and_the_same_run_once(select: Any, history: History) -> None:
    probe = ms.Probe.of(images(0), size=None)
    board = select(probe, estimators=["logme", "ncti"], history=history)
    results = history.results()
    assert {r.metric for r in results} == {"logme"}  # what is relative to a pool means nothing outside it
    assert {r.candidate: r.value for r in results} == {
        f"embedded:{row.candidate.name}": row.scores["logme"] for row in board.rows
    }
    assert {r.dataset for r in results} == {board.provenance["fingerprint"]}
    facts = history.datasets()[board.provenance["fingerprint"]]
    assert (facts["classes"], facts["samples"], facts["modality"]) == (2, 40, "image")
    resnet = history.candidates()["embedded:resnet.letters"]
    assert resnet["parameters"] == 38_794
    assert set(history.graphs()) == {r.candidate for r in results}
    (proxied,) = history.proxies().values()
    assert list(proxied) == [board.provenance["fingerprint"]]
    before = history.digest
    select(probe, estimators=["logme", "ncti"], history=history)
    assert history.digest == before


def test_measured_accuracies_are_remembered_with_how_they_were_measured(select: Any, history: History) -> None:
    quick = FineTuning(epochs=1)
    board = select(images(0), "embedded:resnet*", estimators="logme", top_k=1, fine_tuning=quick, history=history)
    (measured,) = history.results(metric=ACCURACY)
    assert measured.value == board.best.verified_accuracy
    assert measured.settings["fine_tuning"]["epochs"] == 1


def test_nothing_is_remembered_where_that_is_told(
    select: Any, history: History, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODELSELECT_HISTORY", str(history.path))
    select(images(0), "embedded:resnet*", estimators="logme", history=False)
    assert not history.path.exists()
    monkeypatch.setenv("MODELSELECT_HISTORY", "")
    select(images(0), "embedded:resnet*", estimators="logme")
    monkeypatch.setenv("MODELSELECT_HISTORY", str(history.path))
    select(images(0), "embedded:resnet*", estimators="logme")
    assert len(history.results()) == 2


def test_a_damaged_history_is_a_warning_and_the_ranking_goes_on(select: Any, history: History) -> None:
    history.path.write_text("no database at all, but long enough to be read as one " * 20)
    with pytest.warns(UserWarning, match="goes on without the transfer history.*is damaged"):
        board = select(images(0), "embedded:resnet*", estimators="logme", history=history)
    assert len(board.ranked) == 2
    with pytest.raises(ms.errors.HistoryError, match="is damaged"):
        select(images(0), recall=2, history=history)


def test_bare_modules_are_not_remembered(select: Any, history: History) -> None:
    import torch

    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 8))
    select(images(0), [module, "embedded:resnet*"], estimators="logme", history=history)
    assert {r.candidate.split(":")[0] for r in history.results()} == {"embedded"}


# --- recall


def test_recall_keeps_what_the_history_expects_most_of_and_loads_nothing_else(
    select: Any, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates = ms.search("embedded:*")
    known(history, candidates)
    loaded = []
    load = EmbeddedZoo.load

    def watched(zoo: EmbeddedZoo, candidate: ms.Candidate, **given: Any) -> Any:
        loaded.append(candidate.name)
        return load(zoo, candidate, **given)

    monkeypatch.setattr(EmbeddedZoo, "load", watched)
    board = select(images(1), recall=3, estimators="logme", history=history)
    best = {candidate.name for candidate in candidates[-3:]}
    proxy = choose_proxy(ms.Probe.of(images(1)), history)
    assert proxy is not None
    assert {row.candidate.name for row in board.rows} == best
    assert set(loaded) <= best | {proxy.name}
    record = board.provenance["recall"]
    assert (record["pool"], record["kept"], record["proxy"]) == (12, 3, proxy.id)
    expected = [scores["kriging"] for scores in record["expected"].values()]
    assert expected == sorted(expected, reverse=True)


def test_unlabelled_data_are_ranked_end_to_end_by_the_history(select: Any, history: History) -> None:
    for seed in range(4):
        select(images(seed), estimators="logme", history=history)
    board = select((images(9)[0], None), estimators="fennec", history=history)
    assert len(board.ranked) == 12
    assert all(row.components["fennec"]["certainty"] == pytest.approx(0.8) for row in board.rows)
    assert all("logme" not in row.scores for row in board.rows)
    held = select(images(9), estimators="logme", history=False)
    measured = {row.candidate.id: row.scores["logme"] for row in held.rows}
    assert board.agreement(measured)["fennec"].weighted_kendall > 0.3


def test_fennec_alone_loads_no_candidate_that_has_a_skeleton(
    select: Any, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates = ms.search("embedded:*")
    known(history, candidates)
    proxy = choose_proxy(ms.Probe.of(images(1)), history)
    assert proxy is not None
    load = EmbeddedZoo.load

    def only_the_proxy(zoo: EmbeddedZoo, candidate: ms.Candidate, **given: Any) -> Any:
        assert candidate.name == proxy.name
        return load(zoo, candidate, **given)

    monkeypatch.setattr(EmbeddedZoo, "load", only_the_proxy)
    board = select(images(1), estimators="fennec", history=history)
    assert [row.candidate.name for row in board.rows] == [c.name for c in reversed(candidates)]


def test_a_history_that_grew_gives_new_scores(select: Any, history: History) -> None:
    candidates = ms.search("embedded:*")
    known(history, candidates)
    first = select(images(1), estimators="fennec", history=history).best.candidate
    assert first == candidates[-1]
    history.record(Result(candidates[0].id.split("@")[0], f"new{j}", ACCURACY, 0.99) for j in range(40))
    history.record(Result(c.id.split("@")[0], f"new{j}", ACCURACY, 0.1) for c in candidates[1:] for j in range(40))
    assert select(images(1), estimators="fennec", history=history).best.candidate == candidates[0]


def test_without_a_history_recall_says_what_is_missing(select: Any, history: History) -> None:
    with pytest.raises(ms.errors.NotApplicableError, match="holds no results"):
        select(images(0), recall=3, history=history)
    with pytest.raises(ms.errors.InvalidInputError, match="history is False"):
        select(images(0), recall=3, history=False)
    with pytest.raises(ms.errors.InvalidInputError, match="expected the number of candidates to keep"):
        select(images(0), recall=0, history=history)
    with pytest.raises(ms.errors.InvalidInputError, match="expected a path, a History"):
        select(images(0), history=3)


# --- a proxy to compare with


def test_estimators_that_compare_with_a_proxy_have_one_without_any_history(select: Any) -> None:
    names = ["embedded:resnet.letters", "embedded:plain.random"]
    board = select(images(0), names, estimators=["rsa", "dds"], proxy="embedded:resnet.letters", history=False)
    assert board.best.candidate.name == "resnet.letters"
    assert board.best.scores["rsa"] == pytest.approx(100)
    other = select(images(0), names, estimators="rsa", proxy="embedded:plain.random", history=False)
    assert other.best.candidate.name == "plain.random"  # scores by another proxy are not taken for these
    default = select(images(0), names, estimators="rsa", history=False)
    named = select(images(0), names, estimators="rsa", proxy=EMBEDDED_PROXY, history=False)
    assert [row.scores for row in default.rows] == [row.scores for row in named.rows]


def test_a_proxy_that_cannot_look_costs_what_needs_it_unless_it_was_asked_for(
    select: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "EMBEDDED_PROXY", "embedded:resnet.letters")
    zoo = get_host().zoos["embedded"]
    load = type(zoo).load

    def broken(self: ms.Zoo, candidate: ms.Candidate, **settings: Any) -> ms.Backbone:
        if candidate.name == "resnet.letters":
            raise RuntimeError("no weights today")
        return load(self, candidate, **settings)

    monkeypatch.setattr(type(zoo), "load", broken)
    with pytest.warns(UserWarning, match="the proxy embedded:resnet.letters.* cannot look at the dataset"):
        board = select(images(0), "embedded:plain.random", estimators=["knn", "rsa"], history=False)
    assert "knn" in board.best.scores
    assert "proxy_features" in board.best.failures["rsa"].reason
    with pytest.raises(ms.errors.CandidateError, match="no weights today"):
        select(images(0), "embedded:plain.random", proxy="embedded:resnet.letters", history=False)
    for given, message in (("embedded:*", "names 12 candidates"), (3, "expected one candidate")):
        with pytest.raises(ms.errors.InvalidInputError, match=message):
            select(images(0), "embedded:plain.random", proxy=given, history=False)


def test_the_command_line_recalls(
    tmp_path: Path, history: History, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    pixels, labels = images(0, 12)
    for row, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        folder = tmp_path / "data" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{row}.png")
    known(history, ms.search("embedded:*"))
    words = ["select", str(tmp_path / "data"), "-c", "embedded:*", "-e", "logme", "-q", "--json", "-"]
    words += ["--cache-dir", str(tmp_path / "cache"), "--history", str(history.path)]
    with pytest.raises(SystemExit) as stopped:
        app.main([*words, "--recall", "2"])
    captured = capsys.readouterr()
    assert not stopped.value.code, captured.err
    assert len(json.loads(captured.out)["rows"]) == 2
