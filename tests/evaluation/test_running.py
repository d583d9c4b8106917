"""What a run says of each candidate, in this process and in workers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelselect as ms
from modelselect.errors import Failure, PluginError
from modelselect.evaluation.fine_tuning import VerificationTask
from modelselect.evaluation.results import TuningResult
from modelselect.evaluation.running import run
from modelselect.host.host import get_host
from modelselect.utils import progress, views
from modelselect.utils.measures import Measure
from modelselect.verification.results import Brief
from tests.selection.material import WorkersFor

pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", WorkersFor(VerificationTask)], ids=["local", "process"])
def test_a_log_says_scores_epochs_and_accuracies(
    dataset: Path, executor: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "SILENCE_SECONDS", 0.0)
    monkeypatch.setattr(views, "LINE_SECONDS", 0.02)
    recipe = ms.FineTuning(epochs=12)
    board = ms.select(dataset, "embedded:plain*", estimators="knn", top_k=1, fine_tuning=recipe, executor=executor)
    err = capsys.readouterr().err
    best = board.best.candidate.name
    assert "scoring 2/2: plain." in err
    assert " s, knn " in err
    assert f"fine-tuning 1/1: {best}, epoch " in err
    assert "/12, training accuracy " in err
    assert f"accuracy {board.best.verified_accuracy:.1%}" in err.split(f"fine-tuning 1/1: {best}, ")[-1]


def test_a_log_names_the_metric_of_the_task(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "SILENCE_SECONDS", 0.0)
    monkeypatch.setattr(views, "LINE_SECONDS", 0.02)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
    pixels[::2] //= 4
    data, recipe = (pixels, pixels.mean(axis=(1, 2, 3))), ms.FineTuning(epochs=2)
    for _ in range(2):  # the second time, the result is from the store
        ms.select(data, "embedded:plain.letters", top_k=1, verify="head", fine_tuning=recipe, device="cpu")
        err = capsys.readouterr().err
        assert re.search(r"held-out R² -?\d+\.\d{3}\n|held-out R² -?\d+\.\d{3}, from the store", err)
        assert "accuracy " not in err
    # a result of an epoch is no R²
    brief = Brief(accuracy=0.5, rows=8, training_loss=0.1, largest_part=8, seconds=1.0)
    with progress.Progress(True) as bars:
        given = TuningResult(brief, reused=False, measure=Measure("fit"))
        run(get_host().executor("local"), lambda _: given, ms.search("embedded:plain.letters"), bars.candidates("t", 1))
    assert "fit 50.0%" in capsys.readouterr().err


def test_a_failure_is_a_line_with_its_reason_and_the_same_reason_is_said_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    candidates = ms.search("embedded:plain*")

    def fail(candidate: ms.Candidate) -> Failure:
        return Failure("load", "the network that this model comes from cannot be reached at all: " + candidate.name)

    with progress.Progress(True) as bars:
        run(get_host().executor("local"), fail, candidates, bars.candidates("scoring", 2))
    _, first, second, last = capsys.readouterr().err.splitlines()
    assert first.endswith("failed: the network that this model comes from cannot be reached at all: plain.letters")
    assert second.endswith("failed for the same reason as another one")
    assert last.endswith(", 2 failed")


class Wild(ms.Executor):
    """Gives what it is told to give."""

    name = "wild"

    def __init__(self, give: Callable[[Callable[[Any], Any], list[Any]], Iterable[Any]]) -> None:
        self.give = give

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        yield from self.give(function, list(items))


def outcomes(executor: ms.Executor) -> dict[str, Any]:
    with progress.Progress(False) as bars:
        return run(executor, lambda c: Failure("load", c.name), ms.search("embedded:plain*"), bars.candidates("a", 2))


def exits(function: Callable[[Any], Any], items: list[Any]) -> Iterator[Any]:
    yield ms.Outcome.of(function, items[0])
    raise SystemExit(3)


def test_an_executor_that_loses_repeats_or_makes_up_outcomes_costs_the_rows_that_it_loses() -> None:
    good = outcomes(get_host().executor("local"))
    letters, random = good
    for give in (
        lambda function, items: [ms.Outcome.of(function, items[0])] * 3,
        lambda function, items: [ms.Outcome.of(function, items[0]), ms.Outcome(ms.Candidate("a", "other"), 5)],
        lambda function, items: [ms.Outcome.of(function, items[0]), ms.Outcome(items[1])],
        lambda function, items: [ms.Outcome.of(function, items[0]), ms.Outcome(7, 7)],
    ):
        found = outcomes(Wild(give))
        assert found[letters] == good[letters]
        assert found[random].reason == "the executor 'wild' gave no outcome for this candidate"
        assert len(found) == 2


@pytest.mark.parametrize(
    ("give", "words"),
    [
        (exits, "the executor 'wild' failed: SystemExit: 3"),
        (lambda function, items: [function(item) for item in items], "gave Failure; expected an Outcome"),
        (
            lambda function, items: [ms.Outcome(items[0], failure="no")],
            "gave an Outcome whose failure is of type str; expected a Failure or None",
        ),
        (lambda function, items: items[5], "the executor 'wild' failed: IndexError"),
    ],
)
def test_an_executor_that_fails_is_named(give: Any, words: str) -> None:
    with pytest.raises(PluginError, match=words):
        outcomes(Wild(give))


class Half:
    """A task whose results are numbers."""

    result = float

    def __call__(self, candidate: ms.Candidate) -> float:
        return 0.5


class Nameless:
    @property
    def id(self) -> str:
        raise ZeroDivisionError


def test_a_value_that_no_task_returns_costs_its_row() -> None:
    candidates = ms.search("embedded:plain*")
    executor = Wild(lambda function, items: [ms.Outcome(items[0], "5"), ms.Outcome.of(function, items[1])])
    with progress.Progress(False) as bars:
        wrong, right = run(executor, Half(), candidates, bars.candidates("a", 2)).values()
    assert isinstance(wrong, Failure)
    assert wrong.reason == "the executor 'wild' gave str as a result; expected float"
    assert right == 0.5


@pytest.mark.parametrize("item", [7, type("Listed", (), {"id": []})()], ids=["number", "list"])
def test_an_item_that_is_no_candidate_is_no_answer(item: Any) -> None:
    found = outcomes(Wild(lambda function, items: [ms.Outcome(item, 7)]))
    assert all("gave no outcome for this candidate" in failure.reason for failure in found.values())


def test_an_item_without_a_readable_id_is_the_executors_fault() -> None:
    with pytest.raises(PluginError, match="the executor 'wild' failed: ZeroDivisionError"):
        outcomes(Wild(lambda function, items: [ms.Outcome(Nameless(), 7)]))
