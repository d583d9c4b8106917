"""Results reach an experiment tracker, in an order that every tracker takes; a tracker costs no result."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate import PartialState
from accelerate.tracking import GeneralTracker

import modelselect as ms
from modelselect.errors import InvalidInputError
from modelselect.leaderboard.leaderboard import Row
from modelselect.verification import trackers, tracking


class Notebook(GeneralTracker):  # type: ignore[misc]
    """Remembers what it is given."""

    name = "notebook"
    requires_logging_directory = False

    def __init__(self) -> None:
        super().__init__()
        self.configuration: dict[str, Any] = {}
        self.logged: list[tuple[int | None, dict[str, float]]] = []
        self.finished = False

    @property
    def tracker(self) -> Notebook:
        return self

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.configuration = values

    def log(self, values: dict[str, float], step: int | None = None, **_: Any) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished = True


def test_rows_and_learning_curves_are_written_once_each_and_in_order() -> None:
    rows = (
        Row(ms.Candidate("shelf", "models/a"), rank=1, score=1.0, verified_accuracy=0.9, latency_ms=2.0,
            learning_curve=((1, 0.7, 0.5), (2, 0.4, 0.8))),
        Row(ms.Candidate("shelf", "models/b?x=1"), rank=2, score=0.5, learning_curve=((1, 0.9, None),)),
    )  # fmt: skip
    recipe = {"epochs": 2, "method": "full", "patience": None}
    board = ms.Leaderboard(rows, provenance={"settings": {"seed": 3, "fine_tuning": recipe}})
    notebook, before = Notebook(), dict(PartialState._shared_state)
    tracking.track(board, notebook)
    assert [step for step, _ in notebook.logged] == [1, 2, 3]
    assert notebook.logged[0][1] == {"loss/a": 0.7, "accuracy/a": 0.5, "loss/b_x_1": 0.9}
    last = notebook.logged[2][1]
    assert (last["verified_accuracy/a"], last["latency_ms/a"], last["score/b_x_1"]) == (0.9, 2.0, 0.5)
    assert "verified_accuracy/b_x_1" not in last
    assert notebook.configuration["best"] == "shelf:models/a"
    assert (notebook.configuration["seed"], notebook.configuration["epochs"]) == (3, 2)
    assert notebook.finished
    assert PartialState._shared_state == before  # the caller's own accelerator keeps its state


def test_a_missing_library_and_an_unknown_tracker_are_refused_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda module: None)
    for given, words in (
        ("trackio", "its library is not installed. Install it with: pip install trackio"),
        ("trakio", "expected one of trackio, wandb, mlflow, tensorboard. Did you mean 'trackio'"),
        (7, "or a GeneralTracker of accelerate"),
    ):
        with pytest.raises(InvalidInputError, match=words):
            ms.select("no-such-folder", "embedded:*", track=given)


def test_a_run_is_tracked_and_a_tracker_that_fails_costs_no_result(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    data = images, [0, 1] * 12
    notebook = Notebook()
    board = ms.select(data, "embedded:plain*", estimators="centroid", track=notebook, progress=False)
    assert len([name for name in notebook.logged[-1][1] if name.startswith("score/")]) == len(board) == 2

    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(notebook, "log", fail)
    with pytest.warns(UserWarning, match="failed \\(ConnectionError: no network\\)"):
        again = ms.select(data, "embedded:plain*", estimators="centroid", track=notebook, progress=False)
    assert again == board

    def end(*_: Any, **__: Any) -> None:
        raise SystemExit(3)

    monkeypatch.setattr(notebook, "log", end)
    with pytest.warns(UserWarning, match="failed \\(SystemExit: 3\\)"):
        assert ms.select(data, "embedded:plain*", estimators="centroid", track=notebook, progress=False) == board


@pytest.mark.slow
@pytest.mark.filterwarnings("error:the tracker")
@pytest.mark.parametrize("name", trackers.TRACKERS)
def test_a_real_tracker_holds_the_results_of_a_fine_tuning(
    name: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not any(map(importlib.util.find_spec, trackers.TRACKERS[name])):
        pytest.skip(f"{name} is not installed")
    settings = {
        "TRACKIO_DIR": "kept",
        "WANDB_DIR": "kept",
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "MLFLOW_TRACKING_URI": (here / "kept").as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",
    }
    (here / "kept").mkdir()
    for variable, value in settings.items():
        monkeypatch.setenv(variable, value)
    images = np.random.default_rng(0).integers(0, 200, (40, 32, 32, 3), dtype=np.uint8)
    images[::2] //= 8
    board = ms.select(
        (images, [0, 1] * 20),
        "embedded:plain.letters",
        estimators="centroid",
        top_k=1,
        fine_tuning=ms.FineTuning(epochs=2),
        history=False,
        track=name,
        progress=False,
    )
    assert len(board.best.learning_curve) == 2
    files = [file for file in here.rglob("*") if file.is_file() and "cache" not in file.parts]
    for metric in ("loss/plain.letters", "verified_accuracy/plain.letters"):
        assert any(metric in str(file) or metric.encode() in file.read_bytes() for file in files), metric
