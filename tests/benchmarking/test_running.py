"""A benchmark computes each number once, and guesses none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect import verification
from modelselect.errors import InvalidInputError
from modelselect.evaluation import fine_tuning, gathering
from modelselect.evaluation.task import ScoringTask
from modelselect.history import HistoryView
from modelselect_plugins.estimators.fennec import Fennec
from tests.benchmarking.conftest import EXPRESSIONS, MODELS, folder, toy

pytestmark = pytest.mark.usefixtures("cache")


def test_scores_are_those_of_select_with_one_forward_pass_for_all_estimators(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    extracted = []
    choose = gathering.choose_extractor
    monkeypatch.setattr(gathering, "choose_extractor", lambda *a: extracted.append(1) or choose(*a))
    truth = {name: {model: 50 + index for index, model in enumerate(MODELS[:4])} for name in ("one", "two")}
    found = ms.benchmark(
        EXPRESSIONS, {"one": toy(1), "two": toy(2)}, truth, estimators=["logme", "knn", "ncti"], progress=False
    )
    assert len(extracted) == 2 * 4  # the fifth has no truth
    assert found.models == MODELS[:4]
    assert found.static >= {"parameters"}
    probe = ms.Probe.of(toy(2), size=None)  # a benchmark holds no rows out
    board = ms.select(probe, EXPRESSIONS[:4], estimators=["logme", "knn", "ncti"], history=False, progress=False)
    for row in board.rows:
        for name in ("logme", "knn", "ncti", "parameters"):
            assert found.scores[name]["two"][row.candidate.name] == pytest.approx(row.scores[name])
    assert len(extracted) == 2 * 4
    assert any("mixer.digits0to4" in note for note in found.notes)
    assert found.seconds["logme"] > 0
    assert (found.evidence_seconds or 0) > 0


def test_what_was_left_out_of_a_dataset_is_noted(tmp_path: Path) -> None:
    data = folder(tmp_path / "one", 1)
    (data / "class0" / "0.png").write_bytes(b"no image")
    truth = {"mine": {model: 50 + index for index, model in enumerate(MODELS[:3])}}
    found = ms.benchmark(EXPRESSIONS[:3], {"mine": data}, truth, estimators="logme", progress=False)
    (note,) = (note for note in found.notes if note.startswith("mine: "))
    assert "class0/0.png" in note
    assert note in found.table(resamples=0).to_markdown().replace("\\", "")


def test_what_cannot_be_scored_costs_its_cell_and_is_never_guessed() -> None:
    truth = {"one": dict.fromkeys(MODELS[:4], 0.5) | {MODELS[0]: 0.4}}
    found = ms.benchmark(EXPRESSIONS, {"one": toy(1)}, truth, estimators=["logme", "leep", "fennec"], progress=False)
    assert "plain.random" not in found.scores["leep"]["one"]  # without any pre-training it has no source classes
    table = found.table(resamples=10)
    leep = next(row for row in table.rows if row.estimator == "leep")
    assert leep.figures["one"].n < leep.figures["one"].of == 4
    text = table.to_markdown()
    assert "leep lacks" in text
    assert "Not in the table" in text
    assert "fennec" not in [row.estimator for row in table.rows]


@pytest.mark.filterwarnings("ignore::modelselect.errors.ScoreWarning")
def test_what_goes_by_results_is_shown_those_on_the_other_datasets_alone() -> None:
    data = {name: toy(seed) for seed, name in enumerate(("one", "two", "three"))}
    truth = {name: {m: 0.5 + 0.08 * i + 0.01 * seed for i, m in enumerate(MODELS)} for seed, name in enumerate(data)}
    settings: dict[str, Any] = {"estimators": "fennec", "progress": False}
    found = ms.benchmark(EXPRESSIONS, data, truth, **settings)
    turned = {**truth, "one": {model: 1 - value for model, value in truth["one"].items()}}
    other = ms.benchmark(EXPRESSIONS, data, turned, **settings)
    assert found.scores["fennec"]["one"] == other.scores["fennec"]["one"]
    assert found.scores["fennec"]["two"] != other.scores["fennec"]["two"]
    assert next(r for r in found.table("kendall").rows if r.estimator == "fennec").figures["one"].value > 0.5
    few = ms.benchmark(EXPRESSIONS, {"one": data["one"], "two": data["two"]}, truth, **settings)
    assert "other datasets" in few.table().absent["fennec"]


@pytest.mark.filterwarnings("ignore::modelselect.errors.ScoreWarning")
def test_fennec_in_its_papers_form_is_shown_scores_and_no_accuracy() -> None:
    data = {name: toy(seed) for seed, name in enumerate(("one", "two", "three"))}
    truth = {name: {m: 0.5 + 0.08 * i for i, m in enumerate(MODELS[:4])} for name in data}
    turned = {name: {model: 1 - value for model, value in by_model.items()} for name, by_model in truth.items()}
    settings: dict[str, Any] = {"estimators": [Fennec(form="paper"), "fda"], "progress": False}
    found, other = (ms.benchmark(EXPRESSIONS[:4], data, table, **settings) for table in (truth, turned))
    assert found.scores["fennec"]["one"].keys() == set(MODELS[:4])
    assert found.scores["fennec"] == other.scores["fennec"]


@pytest.mark.filterwarnings("ignore::modelselect.errors.ScoreWarning")
def test_a_benchmark_of_numbers_has_a_history_too() -> None:
    data = {}
    for seed, name in enumerate(("one", "two", "three")):
        images, _ = toy(seed)
        data[name] = images, np.asarray(images, dtype=float).reshape(len(images), -1).mean(axis=1) + seed
    truth = {name: {m: 0.5 + 0.08 * i for i, m in enumerate(MODELS[:4])} for name in data}
    found = ms.benchmark(EXPRESSIONS[:4], data, truth, task="regression", estimators="fennec", progress=False)
    assert found.scores["fennec"]["one"].keys() == set(MODELS[:4])


class SizeOfHistory(ms.Estimator):
    """Reads nothing but the history, and keeps what was shown."""

    name = "size_of_history"
    requires = frozenset({"history"})
    citation = "nobody"
    seen: dict[tuple[str, ...], HistoryView] = {}  # noqa: RUF012 - what the test looks at

    def score(self, evidence: ms.Evidence) -> Mapping[str, float]:
        view = evidence.history
        assert isinstance(view, HistoryView)
        self.seen[view.datasets] = view
        return {self.name: float(len(view.results))}


def test_the_truth_of_other_datasets_counts_as_measured_under_one_recipe_and_costs_no_proxy_and_no_tracing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(self: ScoringTask, candidate: ms.Candidate) -> Any:
        raise AssertionError(f"{candidate} is looked at")

    monkeypatch.setattr(ScoringTask, "features", never)
    monkeypatch.setattr(ScoringTask, "graph", never)
    data = {name: toy(seed) for seed, name in enumerate(("one", "two", "three"))}
    truth = {name: {m: 0.5 + 0.08 * i + 0.01 * seed for i, m in enumerate(MODELS)} for seed, name in enumerate(data)}
    ms.benchmark(EXPRESSIONS, data, truth, estimators=SizeOfHistory(), progress=False)
    assert set(SizeOfHistory.seen) == {("three", "two"), ("one", "three"), ("one", "two")}
    view = SizeOfHistory.seen["one", "two"]
    assert (view.recipe, view.leading_recipe) == ("truth", "truth")
    assert view.measured()[view.positions["embedded:plain.random"]].tolist() == [
        truth[dataset]["plain.random"] for dataset in view.datasets
    ]


def test_a_run_that_was_killed_fine_tunes_nothing_twice_and_measures_on_the_test_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = folder(tmp_path / "one", 1, test=True), folder(tmp_path / "two", 2)
    calls: list[tuple[str, int]] = []
    verify = verification.verify

    def counted(backbone: Any, training: Any, holdout: Any, *arguments: Any, **named: Any) -> Any:
        if len(calls) == 3:
            raise KeyboardInterrupt
        found = verify(backbone, training, holdout, *arguments, **named)
        calls.append((training.name, found.rows))
        return found

    monkeypatch.setattr(fine_tuning, "verify", counted)
    settings: dict[str, Any] = {
        "verify": "head",
        "fine_tuning": verification.FineTuning(epochs=2),
        "estimators": "logme",
        "progress": False,
    }
    with pytest.raises(KeyboardInterrupt):
        ms.benchmark(EXPRESSIONS[:2], [one, two], **settings)
    killed = list(calls)
    monkeypatch.setattr(fine_tuning, "verify", lambda *a, **n: calls.append((a[1].name, 0)) or verify(*a, **n))
    found = ms.benchmark(EXPRESSIONS[:2], [one, two], **settings)
    assert killed == [("one", 36), ("one", 36), ("two", 7)]  # the test split; a fifth where there is none
    assert calls[3:] == [("two", 0)]
    assert found.models == (EXPRESSIONS[0], EXPRESSIONS[1])
    again = ms.benchmark(EXPRESSIONS[:2], [one, two], **settings)
    assert len(calls) == 4
    assert again.truth == found.truth


def test_the_test_split_is_measured_on_where_it_has_labels_and_never_shown() -> None:
    (train, labels), (validation, _), (test, _) = (toy(seed) for seed in range(3))
    split: dict[str, Any] = {"train": (train, labels), "validation": (validation, labels), "test": (test, labels)}
    settings: dict[str, Any] = {"holdout": 0.2, "test_as_holdout": True}
    probe = ms.Probe.of(split, **settings)
    assert probe.holdout is not None
    assert probe.fingerprint == ms.Probe.of((train, labels)).fingerprint
    assert probe.holdout.fingerprint == ms.Probe.of((test, labels)).fingerprint
    unlabelled = ms.Probe.of({**split, "test": (test, [-1] * 36)}, **settings).holdout
    assert unlabelled is not None
    assert unlabelled.fingerprint == ms.Probe.of((validation, labels)).fingerprint
    usual = ms.Probe.of(split, holdout=0.2).holdout
    assert usual is not None
    assert usual.fingerprint == unlabelled.fingerprint


def test_two_datasets_of_one_name_need_names_of_their_own(tmp_path: Path) -> None:
    same = [folder(tmp_path / "a" / "data", 1), folder(tmp_path / "b" / "data", 2)]
    with pytest.raises(InvalidInputError, match="two datasets are called 'data'"):
        ms.benchmark(EXPRESSIONS[:2], same, {"data": {}}, progress=False)
    with pytest.raises(InvalidInputError, match="give one of both"):
        ms.benchmark(EXPRESSIONS[:2], same, progress=False)


def test_the_source_has_a_size_of_its_own_and_a_proxy_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = {"one": {model: 50 + index for index, model in enumerate(MODELS[:3])}}
    shown: set[tuple[str, int]] = set()
    original = gathering.Gatherer.forward

    def noted(self: Any, probe: Any, wanted: Any) -> Any:
        shown.add((self._loader.candidate.name, len(probe)))
        return original(self, probe, wanted)

    monkeypatch.setattr(gathering.Gatherer, "forward", noted)
    ms.benchmark(
        EXPRESSIONS[:3], {"one": toy(1)}, truth, estimators=["rsa", "persistence_source"], source=toy(2),
        source_size=12, proxy="embedded:mobilenet.shapes", progress=False,
    )  # fmt: skip
    assert {rows for name, rows in shown if name == MODELS[0]} == {36, 12}
    assert ("mobilenet.shapes", 36) in shown
